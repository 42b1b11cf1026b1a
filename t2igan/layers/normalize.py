"""Normalisations by the root mean square."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.precision import widen

EPS = 1e-8


def unit_rms(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """Vectors scaled to mean square 1 (Karras et al. 2018, arXiv:1710.10196, section 4.2)."""
    x = widen(x)
    return x * (x.square().mean(-1, keepdim=True) + EPS).rsqrt()


class RMSNorm(nn.Module):
    """Vectors to mean square 1, times a learned gain per feature. Zhang and Sennrich 2019 (arXiv:1910.07467)."""

    def __init__(self, dim: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return (unit_rms(x) * self.gain).to(x.dtype)
