"""Layers of the systems that grow: convolutions by He's rule at run time, doubled and halved sides, pixelwise normalisation.

Karras et al. 2018 (arXiv:1710.10196), section 4 and appendix A.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.equalized import LRELU_GAIN, EqualizedConv2d, EqualizedLinear
from t2igan.layers.precision import widen

EPS = 1e-8


class HeConv2d(EqualizedConv2d):
    """An equalised convolution whose weights, and not the activation after it, carry the gain sqrt 2."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)
        self.gain *= LRELU_GAIN


class HeLinear(EqualizedLinear):
    """An equalised linear layer with the gain sqrt 2, times `gain`."""

    def __init__(self, in_dim: int, out_dim: int, bias: bool = True, gain: float = 1.0, lr_multiplier: float = 1.0):
        super().__init__(in_dim, out_dim, bias=bias, lr_multiplier=lr_multiplier)
        self.gain *= LRELU_GAIN * gain


def pixel_norm(x: Float[Tensor, "b c *place"]) -> Float[Tensor, "b c *place"]:
    """Each pixel's features, or a vector, to mean square 1 (section 4.2)."""
    wide = widen(x)
    return (wide * (wide.square().mean(1, keepdim=True) + EPS).rsqrt()).to(x.dtype)


def nearest_up(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def box_down(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.avg_pool2d(x, 2)
