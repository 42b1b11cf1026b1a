"""Styles to an image by adaptive instance normalisation and noise for every pixel, in a network that grows.

Karras et al. 2019 (arXiv:1812.04948), section 2 and Fig. 1b: configuration F, and C to E, which lack some of its parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.adain import AdaIN
from t2igan.layers.equalized import EqualizedConv2d, plain_lrelu
from t2igan.layers.fir import binomial
from t2igan.layers.progressive import HeConv2d, HeLinear, nearest_up
from t2igan.layers.stages import FIRST, check_stages, resolutions
from t2igan.ranges import Count
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.types import CheckContext, ImagePyramid, Stage, TextDescriptors


@dataclass(frozen=True)
class StyleGANSynthesisConfig(SynthesisConfig):
    """`channels` has one entry per side, 4 px first. The defaults are the paper's at 1024 px."""

    grows: ClassVar[bool] = True
    channels: tuple[Count, ...] = (512, 512, 512, 512, 256, 128, 64, 32, 16)  # of the maps
    input: Literal["constant", "style"] = "constant"  # style: a fully connected layer makes the first map of the style (configuration C)
    noise: bool = True  # added to every map, at every pixel

    def check(self, context: CheckContext) -> None:
        check_stages(self, ("channels",), resolutions(context.resolution))

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "StyleGANSynthesis":
        return StyleGANSynthesis(self, style_dim)


class StyledEnd(nn.Module):
    """What follows a convolution: noise, a bias, the activation, the style."""

    def __init__(self, channels: int, style_dim: int, side: int, noise: bool):
        super().__init__()
        self.noise_weight = nn.Parameter(torch.zeros(channels, 1, 1)) if noise else None
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.style = AdaIN(channels, style_dim)
        self.register_buffer("noise", torch.randn(1, side, side) if noise else None)  # outside training
        self.side = side

    def forward(self, x: Float[Tensor, "b c s s"], style: Float[Tensor, "b style_dim"], draws: Draws | None) -> Float[Tensor, "b c s s"]:
        if self.noise_weight is not None:
            noise = self.noise if draws is None else draws.normal("noise", 1, self.side, self.side)
            x = x + (noise * self.noise_weight).to(x.dtype)
        return self.style(plain_lrelu(x + self.bias.to(x.dtype)), style)


class FirstMap(nn.Module):
    """A learned constant."""

    def __init__(self, channels: int):
        super().__init__()
        self.constant = nn.Parameter(torch.ones(channels, FIRST, FIRST))

    def forward(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c 4 4"]:
        return self.constant.expand(len(style), -1, -1, -1).contiguous(memory_format=torch.channels_last)


class FirstMapOfStyle(nn.Module):
    """ProGAN's first layer, of the style."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.linear = HeLinear(style_dim, channels * FIRST * FIRST, bias=False, gain=1 / 4)

    def forward(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c 4 4"]:
        return self.linear(style).unflatten(1, (-1, FIRST, FIRST)).contiguous(memory_format=torch.channels_last)


def first_map(channels: int, style_dim: int, config: StyleGANSynthesisConfig) -> nn.Module:
    return FirstMap(channels) if config.input == "constant" else FirstMapOfStyle(channels, style_dim)


class Side(nn.Module):
    """The first map, or one of half the side, to a map; two styles."""

    def __init__(self, in_channels: int, channels: int, style_dim: int, side: int, config: StyleGANSynthesisConfig):
        super().__init__()
        self.first = first_map(channels, style_dim, config) if side == FIRST else None
        self.up = None if side == FIRST else HeConv2d(in_channels, channels, bias=False)
        self.end_of_up = StyledEnd(channels, style_dim, side, config.noise)
        self.conv = HeConv2d(channels, channels, bias=False)
        self.end = StyledEnd(channels, style_dim, side, config.noise)

    def forward(self, x: Tensor | None, styles: Float[Tensor, "b 2 style_dim"], draws: Draws | None) -> Tensor:
        x = self.first(styles[:, 0]) if x is None else binomial(self.up(nearest_up(x)), 3, padding=1)
        x = self.end_of_up(x, styles[:, 0], None if draws is None else draws.scoped("up"))
        return self.end(self.conv(x), styles[:, 1], None if draws is None else draws.scoped("conv"))


class StyleGANSynthesis(SynthesisNetwork):
    """Two styles per side. The image of a side that fades in is mixed with the enlarged image of the side before."""

    def __init__(self, config: StyleGANSynthesisConfig, style_dim: int):
        c = config.channels
        super().__init__(2 * len(c), style_dim)
        sides = resolutions(FIRST * 2 ** (len(c) - 1))
        self.sides = nn.ModuleList(Side(a, b, style_dim, side, config) for a, b, side in zip((c[0], *c), c, sides, strict=False))
        self.to_rgb = nn.ModuleList(EqualizedConv2d(width, 3, kernel_size=1) for width in c)

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
        last, fade = self.num_styles_at(stage) // 2 - 1, 1.0 if stage is None else stage.fade
        x, before = None, None
        for number, side in enumerate(self.sides[: last + 1]):
            before, x = x, side(x, styles[:, 2 * number : 2 * number + 2], None if draws is None else draws.scoped(f"side {number}"))
        image = self.to_rgb[last](x)
        if fade < 1:
            image = torch.lerp(nearest_up(self.to_rgb[last - 1](before)), image, fade)
        return ImagePyramid((image.float(),), fade)
