"""Batch normalisation over a few images, without running statistics: the same in training and outside.

Sauer et al. 2023 (arXiv:2301.09515), section 3.2 and the release; groups as of virtual batches.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.errors import UserError

EPS = 1e-5


class LocalBatchNorm(nn.Module):
    """Each channel to mean 0 and variance 1 over the tokens of `group` images that follow each other, fewer where a pass has fewer."""

    def __init__(self, channels: int, group: int = 8):
        super().__init__()
        self.group = group
        self.weight, self.bias = nn.Parameter(torch.ones(channels, 1)), nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        groups = -(-len(x) // self.group)
        if len(x) % groups:
            raise UserError(f"a pass of {len(x)} images makes no {groups} equal groups of at most {self.group}; choose another micro_batch")
        wide = x.float().unflatten(0, (groups, -1))
        mean = wide.mean((1, 3), keepdim=True)
        variance = (wide - mean).square().mean((1, 3), keepdim=True)
        normalised = ((wide - mean) * (variance + EPS).rsqrt()).flatten(0, 1)
        return (normalised * self.weight + self.bias).to(x.dtype)
