"""Adaptive instance normalisation: the style as the mean and the deviation of every map.

Huang and Belongie 2017 (arXiv:1703.06868), Eq. 8; in Karras et al. 2019 (arXiv:1812.04948), Eq. 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedLinear
from t2igan.layers.precision import full_precision, widen

EPS = 1e-8


class AdaIN(nn.Module):
    """Each map of each image to mean 0 and variance 1, times 1 + scale, plus shift, both linear functions of the style."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.modulate = EqualizedLinear(style_dim, 2 * channels)  # the scales, then the shifts

    def forward(self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c h w"]:
        with full_precision(x.device):
            scale, shift = self.modulate(widen(style))[:, :, None, None].chunk(2, 1)
            wide = widen(x)
            centred = wide - wide.mean((2, 3), keepdim=True)
            y = centred * (centred.square().mean((2, 3), keepdim=True) + EPS).rsqrt()
            return torch.addcmul(shift, y, scale + 1).to(x.dtype)
