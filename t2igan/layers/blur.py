"""Convolutions that change the side by two, with StyleGAN2's low-pass filter where it belongs.

Karras et al. 2020 (arXiv:1912.04958), appendix B: the filter [1, 3, 3, 1] after a transposed convolution, before a strided one.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedConv2d
from t2igan.layers.fir import binomial
from t2igan.layers.modulation import AdaptiveConv2d


def upsampling_conv(x: Float[Tensor, "b i h w"], kernel: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "b o h2 w2"]:
    """Zeros between the values and a true convolution with the kernel (which a correlation would turn by 180 degrees), then the filter."""
    return 4 * binomial(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2), 4, padding=1)


class UpsamplingAdaptiveConv2d(AdaptiveConv2d):
    """A modulated 3x3 convolution to twice the side."""

    conv = staticmethod(upsampling_conv)


class DownsamplingConv2d(nn.Module):
    """The filter, then a 3x3 convolution to half the side."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = EqualizedConv2d(in_channels, out_channels, stride=2, padding=0)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        return self.conv(binomial(x, 4, padding=2))
