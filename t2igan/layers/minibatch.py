"""How much a batch varies, as one more feature map.

Karras et al. 2018 (arXiv:1710.10196), section 3.
"""

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.precision import widen

EPS = 1e-8


class MinibatchStd(nn.Module):
    """Appends a map with the standard deviation over groups of `group` pictures, averaged over features and pixels."""

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c+1 h w"]:
        group = self.group if len(x) % self.group == 0 else len(x)
        grouped = rearrange(widen(x), "(m g) c h w -> g m c h w", g=group)
        centred = grouped - grouped.mean(0)
        std = (centred.square().mean(0) + EPS).sqrt().mean((1, 2, 3))
        map_ = repeat(std, "m -> (m g) 1 h w", g=group, h=x.shape[2], w=x.shape[3])
        return torch.cat([x, map_.to(x.dtype)], 1)
