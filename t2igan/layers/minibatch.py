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
    """Appends a map with the standard deviation over groups of `group` images, averaged over features and pixels.

    As in the releases, image i of a group is image i * (n / group) + (group's number) of its set: groups are strided. Ours: without
    `strided`, a group's images lie next to each other. The sets of images that lie one after the other on the batch axis (real ones,
    generated ones) never share a group.
    """

    def __init__(self, group: int = 4, strided: bool = True):
        super().__init__()
        self.group, self.axes = group, "g m" if strided else "m g"

    def forward(self, x: Float[Tensor, "b c h w"], sets: int = 1) -> Float[Tensor, "b c+1 h w"]:
        per_set = len(x) // sets
        group = self.group if per_set % self.group == 0 else per_set
        grouped = rearrange(widen(x), f"(s {self.axes}) c h w -> s g m c h w", s=sets, g=group)
        centred = grouped - grouped.mean(1, keepdim=True)
        std = (centred.square().mean(1) + EPS).sqrt().mean((2, 3, 4))
        map_ = repeat(std, f"s m -> (s {self.axes}) 1 h w", g=group, h=x.shape[2], w=x.shape[3])
        return torch.cat([x, map_.to(x.dtype)], 1)
