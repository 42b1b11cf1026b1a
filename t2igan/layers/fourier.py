"""A map of Fourier features, rotated and moved by the style: the input of networks without a grid of their own.

Karras et al. 2021 (arXiv:2106.12423), section 3.2, "Fourier features" and "transformed Fourier features".
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedLinear
from t2igan.layers.precision import full_precision, widen


class FourierInput(nn.Module):
    """A style to a map of `channels` mixed Fourier features.

    `transform`, a matrix in the plane, moves and turns the map from outside: in units of the image's width, a translation by (x, y) moves
    the features, and the image that a network makes of them, by (-x, -y).

    Args:
        size: px, the side of the map, whose margin reaches beyond the image.
        rate: samples per width of the image.
        bandwidth: the highest frequency, per width of the image.
    """

    def __init__(self, style_dim: int, channels: int, size: int, rate: int, bandwidth: float):
        super().__init__()
        self.size, self.rate, self.bandwidth = size, rate, bandwidth
        frequencies = torch.randn(channels, 2)
        radii = frequencies.square().sum(1, keepdim=True).sqrt()
        self.register_buffer("frequencies", frequencies / (radii * radii.square().exp().pow(0.25)) * bandwidth)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualizedLinear(style_dim, 4, weight_init=0.0)  # the style's own transform: cosine, sine, and a translation
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c s s"]:
        with full_precision(style.device):  # a phase is as exact as a place
            whole = self.own_transform(widen(style)) @ self.transform
            phases = self.phases + (self.frequencies @ whole[:, :2, 2:]).squeeze(2)
            frequencies = self.frequencies @ whole[:, :2, :2]
            norms = frequencies.norm(dim=2)
            amplitudes = (1 - (norms - self.bandwidth) / (self.rate / 2 - self.bandwidth)).clamp(0, 1)  # none above what the grid holds
            place = (torch.arange(self.size, device=style.device) * 2 + 1 - self.size) / (2 * self.rate)
            across, down = (frequencies[:, :, i, None] * place for i in (0, 1))
            waves = (2 * math.pi * (across[:, :, None, :] + down[..., None] + phases[..., None, None])).sin()
            weight = self.weight / math.sqrt(len(self.weight))
            return torch.einsum("bcyx,oc->boyx", waves * amplitudes[..., None, None], weight)

    def own_transform(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b 3 3"]:
        """The rotation and the translation that the style chooses."""
        t = self.affine(style)
        cosine, sine, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rotation = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], 1).unflatten(1, (3, 3))
        translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).unflatten(1, (3, 3))
        return rotation @ translation
