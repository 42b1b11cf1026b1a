"""A modulated convolution that chooses where it reads: every tap moves, and weighs, at every place.

Zhu et al. 2019 (arXiv:1811.11168), section 3.2; in Zhu et al. 2023 (arXiv:2309.03904).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.precision import widen

TAPS = 9


class DeformableConv2d(AdaptiveConv2d):
    """3x3 kernels whose taps are moved and weighed by another convolution; at initialisation they stay where they are and weigh 1."""

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, num_kernels: int = 1):
        strategy = "output_mix" if num_kernels > 1 else "dense"  # kernels act on moved places, so they are mixed in what they make
        super().__init__(in_channels, out_channels, style_dim, num_kernels=num_kernels, strategy=strategy)
        self.where = AdaptiveConv2d(in_channels, 3 * TAPS, style_dim, bias=False)
        self.scales = nn.Parameter(torch.zeros(3 * TAPS, 1, 1))
        self.shifts = nn.Parameter(torch.zeros(3 * TAPS, 1, 1))

    def forward(self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b o h w"]:
        found = widen(self.where(x, style) * self.scales + self.shifts)
        moves, weights = found[:, : 2 * TAPS].unflatten(1, (TAPS, 2)), 2 * found[:, 2 * TAPS :].sigmoid()

        def conv(y: Tensor, kernel: Tensor) -> Tensor:
            read = (read_moved(widen(y), moves) * weights[:, None]).to(y.dtype)
            return F.conv2d(read.flatten(1, 2), kernel.flatten(1)[..., None, None])

        return super().forward(x, style, conv)


def read_moved(x: Float[Tensor, "b c h w"], moves: Float[Tensor, "b n 2 h w"]) -> Float[Tensor, "b c n h w"]:
    """What each of the nine taps (row by row) reads at each place, `moves` (down, right) px from where it is at rest.

    Between pixels by bilinear interpolation; outside the map are zeros. torchvision's deform_conv2d computes the same. It keeps less for
    the backward pass (not the nine maps), and is much slower there on a CPU.
    """
    height, width = x.shape[2:]
    rest = torch.arange(3, device=x.device) - 1
    down = moves[:, :, 0] + rest.repeat_interleave(3)[:, None, None] + torch.arange(height, device=x.device)[:, None]
    right = moves[:, :, 1] + rest.repeat(3)[:, None, None] + torch.arange(width, device=x.device)
    places = torch.stack([(2 * right + 1) / width - 1, (2 * down + 1) / height - 1], -1)  # of pixels' centres, edges at -1 and 1
    return F.grid_sample(x, places.flatten(1, 2), align_corners=False).unflatten(2, (TAPS, height))
