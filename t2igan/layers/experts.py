"""A mixture of experts over the places of a map: each place goes through one of several networks, as style and map decide.

Zhu et al. 2023 (arXiv:2309.03904); losses of Fedus et al. 2021 (arXiv:2101.03961, Eq. 4) and Zoph et al. 2022 (arXiv:2202.08906, Eq. 5).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from t2igan.layers.equalized import lrelu
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.precision import full_precision, widen


class Experts(nn.Module):
    """Tokens of a square map to tokens; beside them the router's losses.

    Args:
        experts: how many networks there are.
        ratio: how many times as wide each is inside.
    """

    def __init__(self, dim: int, style_dim: int, experts: int, ratio: int):
        super().__init__()
        self.router = AdaptiveConv2d(dim, experts, style_dim, kernel_size=1)
        self.inner = nn.Parameter(torch.randn(experts, 2 * ratio * dim, dim))
        self.inner_bias = nn.Parameter(torch.zeros(experts, 2 * ratio * dim))
        self.outer = nn.Parameter(torch.randn(experts, dim, ratio * dim))
        self.outer_bias = nn.Parameter(torch.zeros(experts, dim))
        self.gains = 1 / math.sqrt(dim), 1 / math.sqrt(ratio * dim)

    def forward(self, x: Float[Tensor, "b t c"], style: Float[Tensor, "b style_dim"]) -> tuple[Float[Tensor, "b t c"], Float[Tensor, ""]]:
        side = math.isqrt(x.shape[1])
        with full_precision(x.device):
            logits = lrelu(self.router(widen(x).transpose(1, 2).unflatten(2, (side, side)), style)).flatten(2).transpose(1, 2)
            shares = logits.softmax(2)
            share, chosen = shares.max(2)
            loss = routing_loss(logits, shares, chosen)
        order = chosen.flatten().argsort(stable=True)
        parts = [self.expert(number, rows) for number, rows in enumerate(x.flatten(0, 1)[order].split(self.counts(chosen)))]
        found = torch.cat(parts)[order.argsort()].view_as(x)
        return found * share[..., None].to(x.dtype), loss

    def counts(self, chosen: Int[Tensor, "b t"]) -> list[int]:
        """How many places go to each expert; on the meta device, where nobody knows, as if to the first: the arithmetic is the same."""
        if chosen.is_meta:
            return [chosen.numel()] + [0] * (len(self.inner) - 1)
        return chosen.flatten().bincount(minlength=len(self.inner)).tolist()

    def expert(self, number: int, x: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """GEGLU (Shazeer 2020, arXiv:2002.05202) between two layers."""
        inner = F.linear(x, (self.inner[number] * self.gains[0]).to(x.dtype), self.inner_bias[number].to(x.dtype))
        value, gate = inner.chunk(2, dim=1)
        return F.linear(value * F.gelu(gate), (self.outer[number] * self.gains[1]).to(x.dtype), self.outer_bias[number].to(x.dtype))


def routing_loss(logits: Float[Tensor, "b t e"], shares: Float[Tensor, "b t e"], chosen: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
    """The mean squared logsumexp of the logits, plus E sum_e (part of the places that go to e) x (mean share of e): 1 where all are even.

    Over the places of the whole pass, so that it depends on how a batch is cut into passes.
    """
    experts = logits.shape[2]
    parts = F.one_hot(chosen, experts).float().mean((0, 1))
    return logits.logsumexp(2).square().mean() + experts * (parts * shares.mean((0, 1))).sum()
