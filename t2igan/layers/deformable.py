"""A modulated convolution that chooses where it reads: every tap moves, and weighs, at every place.

Zhu et al. 2019 (arXiv:1811.11168), section 3.2; in Zhu et al. 2023 (arXiv:2309.03904).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.modulation import AdaptiveConv2d

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
        from torchvision.ops import deform_conv2d  # torchvision takes three seconds to load, which every other command is spared

        found = (self.where(x, style) * self.scales + self.shifts).float()
        moves, weights = found[:, : 2 * TAPS], 2 * found[:, 2 * TAPS :].sigmoid()

        def conv(y: Tensor, kernel: Tensor) -> Tensor:
            moved = deform_conv2d(y.float(), moves, kernel.float(), padding=1, mask=weights)
            return moved.to(y.dtype)

        return super().forward(x, style, conv)
