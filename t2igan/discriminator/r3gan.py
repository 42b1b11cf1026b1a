"""An image to a logit by grouped residual blocks alone, with the text by projection.

Huang et al. 2024 (arXiv:2501.05441), section 3 and Fig. 3 (discriminator); projection as in Miyato and Koyama 2018 (arXiv:1802.05637).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.base import DiscriminatorNetwork, DiscriminatorNetworkConfig, rows_of
from t2igan.layers.fir import downsample_binomial
from t2igan.layers.precision import full_precision
from t2igan.layers.residual_grouped import GroupedResidualBlock, PlainConv2d, PlainLinear
from t2igan.layers.stages import FIRST
from t2igan.ranges import Count, Whole
from t2igan.synthesis.r3gan import check_grouped
from t2igan.types import CheckContext, ImageSet, TextDescriptors, TextDims, Verdict


@dataclass(frozen=True)
class R3GANDiscriminatorConfig(DiscriminatorNetworkConfig):
    """One entry per stage, 4 px first. The defaults are the paper's FFHQ 64 px discriminator."""

    channels: tuple[Count, ...] = (768, 768, 768, 768, 384)  # of the maps
    groups: tuple[Count, ...] = (96, 96, 96, 96, 48)  # of the 3x3 convolutions
    blocks: Count = 2  # per stage
    half_precision_stages: Whole = 4  # the finest so many stages compute in bf16 where training does; the coarser ones in fp32

    def check(self, context: CheckContext) -> None:
        check_grouped(self, context)
        super().check(context)

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "R3GANDiscriminator":
        return R3GANDiscriminator(self, resolution, adapter, text.pooled if adapter is None else adapter.width)


class DownTransition(nn.Module):
    """A map to one of half the side: the binomial filter, then a 1x1 convolution where the width changes."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.project = PlainConv2d(in_channels, channels) if in_channels != channels else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = downsample_binomial(x)
        return x if self.project is None else self.project(x)


class OutputStage(nn.Module):
    """A 4x4 map to a vector: each channel's inner product with a learned basis, then a linear layer."""

    def __init__(self, channels: int, out_dim: int):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, FIRST, FIRST) / FIRST)
        self.linear = PlainLinear(channels, out_dim)

    def forward(self, x: Float[Tensor, "b c 4 4"]) -> Float[Tensor, "b out_dim"]:
        return self.linear((x * self.basis).sum((2, 3)))


class R3GANDiscriminator(DiscriminatorNetwork):
    """Scores images against captions: <features, a linear function of the pooled text>; without text, a linear function of the features."""

    def __init__(self, config: R3GANDiscriminatorConfig, resolution: int, adapter: nn.Module | None, text_dim: int):
        super().__init__((resolution,))
        c, depth = config.channels[::-1], config.blocks * len(config.channels)
        self.adapter = adapter
        self.from_rgb = PlainConv2d(3, c[0])
        self.stages = nn.ModuleList(
            nn.Sequential(*[GroupedResidualBlock(width, groups, depth) for _ in range(config.blocks)])
            for width, groups in zip(c, config.groups[::-1], strict=True)
        )
        self.transitions = nn.ModuleList(DownTransition(a, b) for a, b in zip(c, c[1:], strict=False))
        self.output = OutputStage(c[-1], c[-1] if text_dim else 1)
        self.embed = PlainLinear(text_dim, c[-1], gain=1 / math.sqrt(c[-1])) if text_dim else None
        self.half_precision_stages = min(config.half_precision_stages, len(c))

    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        """Nothing joins the images of a batch, so the sets are stacked."""
        features = self.features(torch.cat([images.pyramid.finest for images in sets]))
        with full_precision(features.device):
            embedded = self.embedded(text)
            return tuple(
                tuple(self.verdict(features[rows], embedded, captions) for captions in images.captions)
                for images, rows in zip(sets, rows_of(sets), strict=True)
            )

    def features(self, x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        x = self.from_rgb(x.contiguous(memory_format=torch.channels_last))
        for stage in range(self.half_precision_stages):
            x = self.refine(x, stage)
        with full_precision(x.device):
            x = x.float()
            for stage in range(self.half_precision_stages, len(self.stages)):
                x = self.refine(x, stage)
            return self.output(x)

    def refine(self, x: Tensor, stage: int) -> Tensor:
        x = self.stages[stage](x)
        return self.transitions[stage](x) if stage < len(self.transitions) else x

    def embedded(self, text: TextDescriptors) -> Float[Tensor, "b d"] | None:
        if self.embed is None:
            return None
        return self.embed((text if self.adapter is None else self.adapter(text)).pooled.float())

    def verdict(self, features: Float[Tensor, "b d"], embedded: Float[Tensor, "p d"] | None, captions: Tensor) -> Verdict:
        logit = features if embedded is None else (features * embedded[captions]).sum(1, keepdim=True)
        return Verdict((logit,), (1.0,))

    def parts(self) -> dict[str, nn.Module]:
        return {} if self.adapter is None else {"adapter": self.adapter}
