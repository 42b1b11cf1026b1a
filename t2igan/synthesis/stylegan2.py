"""Styles to an image by modulated convolutions with demodulation, pixel noise, and an image at every stage that the next one adds to.

Karras et al. 2020 (arXiv:1912.04958), section 2, Fig. 2d and Fig. 7: skip connections (configuration F), a residual network, or neither;
and in configurations B to D a network that grows as StyleGAN's does, of which only the image of the last side is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.blur import UpsamplingAdaptiveConv2d
from t2igan.layers.equalized import EqualizedConv2d, lrelu
from t2igan.layers.fir import upsample_binomial
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.progressive import nearest_up
from t2igan.layers.stages import FIRST, check_stages, resolutions
from t2igan.ranges import Count, Positive
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.types import CheckContext, ImagePyramid, Stage, TextDescriptors

Architecture = Literal["skip", "residual", "original"]


@dataclass(frozen=True)
class StyleGAN2SynthesisConfig(SynthesisConfig):
    """`channels` has one entry per stage, 4 px first. The defaults are configuration F at 1024 px."""

    channels: tuple[Count, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)  # of the maps
    architecture: Literal["skip", "residual", "original", "growing"] = "skip"  # section 4; growing: StyleGAN's way, configurations B to D
    clamp: Positive | None = 256.0  # of activations and images, by their absolute value (arXiv:2006.06676, appendix D); none: unbounded

    @property
    def grows(self) -> bool:
        return self.architecture == "growing"

    def check(self, context: CheckContext) -> None:
        check_stages(self, ("channels",), resolutions(context.resolution))

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "StyleGAN2Synthesis":
        return StyleGAN2Synthesis(self, style_dim)


def clamped(x: Tensor, bound: float | None) -> Tensor:
    return x if bound is None else F.hardtanh(x, -bound, bound)  # a clamp whose backward pass is one kernel


class StyledLayer(nn.Module):
    """A modulated convolution, noise of a learned strength, a bias, the activation (Fig. 2c)."""

    convs = AdaptiveConv2d, UpsamplingAdaptiveConv2d  # to a map of the same side, and to one of twice the side

    def __init__(self, in_channels: int, channels: int, style_dim: int, side: int, up: bool, clamp: float | None):
        super().__init__()
        self.conv = self.convs[up](in_channels, channels, style_dim, bias=False)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.register_buffer("noise", torch.randn(1, side, side))  # outside training
        self.side, self.clamp = side, clamp

    def forward(
        self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b style_dim"], draws: Draws | None, gain: float = 1.0
    ) -> Float[Tensor, "b o side side"]:
        noise = self.noise if draws is None else draws.normal("noise", 1, self.side, self.side)
        y = self.conv(x, style)
        y = y + (noise * self.noise_strength).to(y.dtype) + self.bias.to(y.dtype)
        return clamped(lrelu(y, math.sqrt(2) * gain), None if self.clamp is None else self.clamp * gain)


class SynthesisStage(nn.Module):
    """A map to one of twice the side (at 4 px, of the same side), and the image so far to the image there.

    Args:
        side: px of its output.
        to_rgb: whether it makes an image, which is added to the image so far.
    """

    def __init__(self, in_channels: int, channels: int, style_dim: int, side: int, to_rgb: bool, config: StyleGAN2SynthesisConfig):
        super().__init__()
        first, residual = side == FIRST, config.architecture == "residual" and side > FIRST
        self.up = None if first else StyledLayer(in_channels, channels, style_dim, side, True, config.clamp)
        self.conv = StyledLayer(channels, channels, style_dim, side, False, config.clamp)
        self.skip = EqualizedConv2d(in_channels, channels, kernel_size=1, bias=False) if residual else None
        self.to_rgb = AdaptiveConv2d(channels, 3, style_dim, kernel_size=1, demodulate=False) if to_rgb else None
        self.num_convs = 1 if first else 2
        self.clamp = config.clamp

    def forward(
        self, x: Tensor, image: Float[Tensor, "b 3 h w"] | None, styles: Sequence[Float[Tensor, "b style_dim"]], draws: Draws | None
    ) -> tuple[Tensor, Float[Tensor, "b 3 side side"] | None]:
        """`styles`: one per convolution, and then that of the image."""
        skipped = None if self.skip is None else upsample_binomial(self.skip(x)) * math.sqrt(0.5)
        if self.up is not None:
            x = self.up(x, styles[0], None if draws is None else draws.scoped("up"))
        gain = 1.0 if skipped is None else math.sqrt(0.5)
        x = self.conv(x, styles[self.num_convs - 1], None if draws is None else draws.scoped("conv"), gain)
        x = x if skipped is None else skipped + x
        image = None if image is None else upsample_binomial(image)
        if self.to_rgb is not None:
            rgb = clamped(self.to_rgb(x, styles[self.num_convs]), self.clamp).float()
            image = rgb if image is None else image + rgb
        return x, image


class StyleGAN2Synthesis(SynthesisNetwork):
    """A style per convolution and one for the last image. The image of a stage takes the style of the next stage's first convolution."""

    def __init__(self, config: StyleGAN2SynthesisConfig, style_dim: int):
        c = config.channels
        super().__init__(2 * len(c), style_dim)
        self.constant = nn.Parameter(torch.randn(c[0], FIRST, FIRST))
        sides = resolutions(FIRST * 2 ** (len(c) - 1))
        self.stages = nn.ModuleList(
            SynthesisStage(before, after, style_dim, side, config.architecture in ("skip", "growing") or side == sides[-1], config)
            for before, after, side in zip((c[0], *c), c, sides, strict=False)
        )
        self.grows = config.grows

    def num_styles_at(self, stage: Stage | None) -> int:
        return self.num_styles if stage is None else 2 * len(resolutions(stage.side))

    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: None = None,
        draws: Draws | None = None,
        stage: Stage | None = None,
    ) -> ImagePyramid:
        each = styles.unbind(1)
        x = self.constant.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        image, before, place = None, None, 0
        for part in self.stages[: self.num_styles_at(stage) // 2]:
            own, scope = each[place : place + part.num_convs + 1], None if draws is None else draws.scoped(f"{part.conv.side} px")
            before = image
            x, image = part(x, None if self.grows else before, own, scope)
            place += part.num_convs
        fade = 1.0 if stage is None else stage.fade
        if fade < 1:
            image = torch.lerp(nearest_up(before), image, fade)
        return ImagePyramid((image,), fade)
