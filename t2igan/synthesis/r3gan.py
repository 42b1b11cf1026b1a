"""A latent to an image by grouped residual blocks alone: no style modulation, no noise, no normalisation.

Huang et al. 2024 (arXiv:2501.05441), section 3 and Fig. 3 (generator).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.fir import upsample_binomial
from t2igan.layers.precision import full_precision
from t2igan.layers.residual_grouped import GroupedResidualBlock, PlainConv2d, PlainLinear
from t2igan.layers.stages import FIRST, check_stages, resolutions
from t2igan.ranges import Count, Whole
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.types import CheckContext, ImagePyramid, TextDescriptors


@dataclass(frozen=True)
class R3GANSynthesisConfig(SynthesisConfig):
    """One entry per stage, 4 px first. The defaults are the paper's FFHQ 64 px generator."""

    channels: tuple[Count, ...] = (768, 768, 768, 768, 384)  # of the maps
    groups: tuple[Count, ...] = (96, 96, 96, 96, 48)  # of the 3x3 convolutions, which have twice the channels
    blocks: Count = 2  # per stage
    half_precision_stages: Whole = 4  # the finest so many stages compute in bf16 where training does; the coarser ones in fp32

    def check(self, context: CheckContext) -> None:
        check_grouped(self, context)

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "R3GANSynthesis":
        return R3GANSynthesis(self, style_dim)


def check_grouped(config, context: CheckContext) -> None:
    """Raises ValueError where stages of grouped residual blocks cannot be built."""
    check_stages(config, ("channels", "groups"), resolutions(context.resolution))
    for channels, groups in zip(config.channels, config.groups, strict=True):
        if 2 * channels % groups:
            raise ValueError(f"groups has {groups} where channels has {channels}, needs a divisor of {2 * channels}")


class InputStage(nn.Module):
    """The style to a 4x4 map: a learned basis, scaled channel by channel by a linear function of the style."""

    def __init__(self, style_dim: int, channels: int):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, FIRST, FIRST))
        self.scale = PlainLinear(style_dim, channels)

    def forward(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c 4 4"]:
        return self.basis * self.scale(style)[:, :, None, None]


class UpTransition(nn.Module):
    """A map to one of twice the side: a 1x1 convolution where the width changes, then the binomial filter."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.project = PlainConv2d(in_channels, channels) if in_channels != channels else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = x if self.project is None else self.project(x)
        return upsample_binomial(x)


class R3GANSynthesis(SynthesisNetwork):
    """A style (z and the embedded text) to an image. The one style enters at 4 px."""

    def __init__(self, config: R3GANSynthesisConfig, style_dim: int):
        super().__init__(1, style_dim)
        c, depth = config.channels, config.blocks * len(config.channels)
        self.input = InputStage(style_dim, c[0])
        self.transitions = nn.ModuleList(UpTransition(a, b) for a, b in zip(c, c[1:], strict=False))
        self.stages = nn.ModuleList(
            nn.Sequential(*[GroupedResidualBlock(width, groups, depth) for _ in range(config.blocks)])
            for width, groups in zip(c, config.groups, strict=True)
        )
        self.to_rgb = PlainConv2d(c[-1], 3)
        self.full_precision_stages = max(len(c) - config.half_precision_stages, 0)

    def forward(
        self,
        styles: Float[Tensor, "b 1 style_dim"],
        texts: Sequence[TextDescriptors],
        condition: None = None,
        draws: Draws | None = None,
        stage: None = None,
    ) -> ImagePyramid:
        with full_precision(styles.device):
            x = self.input(styles[:, 0].float()).contiguous(memory_format=torch.channels_last)
            for stage in range(self.full_precision_stages):
                x = self.grow(x, stage)
        for stage in range(self.full_precision_stages, len(self.stages)):
            x = self.grow(x, stage)
        return ImagePyramid((self.to_rgb(x).float(),))

    def grow(self, x: Tensor, stage: int) -> Tensor:
        return self.stages[stage](self.transitions[stage - 1](x) if stage else x)
