"""A latent to an image by plain convolutions, in a network that grows: each side ends in an image of its own, and the next one fades in.

Karras et al. 2018 (arXiv:1710.10196), section 2, Fig. 2 and Table 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.equalized import EqualizedConv2d, plain_lrelu
from t2igan.layers.fir import binomial
from t2igan.layers.progressive import HeConv2d, HeLinear, nearest_up, pixel_norm
from t2igan.layers.stages import FIRST, check_stages, resolutions
from t2igan.ranges import Count
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.types import CheckContext, ImagePyramid, Stage, TextDescriptors


@dataclass(frozen=True)
class ProGANSynthesisConfig(SynthesisConfig):
    """`channels` has one entry per side, 4 px first. The defaults are the paper's at 1024 px."""

    grows: ClassVar[bool] = True
    channels: tuple[Count, ...] = (512, 512, 512, 512, 256, 128, 64, 32, 16)  # of the maps
    upsampling: Literal["nearest", "bilinear"] = "nearest"  # bilinear: configuration B of StyleGAN (Karras et al. 2019, arXiv:1812.04948)

    def check(self, context: CheckContext) -> None:
        check_stages(self, ("channels",), resolutions(context.resolution))

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "ProGANSynthesis":
        return ProGANSynthesis(self, style_dim)


def normalised(x: Tensor) -> Tensor:
    return pixel_norm(plain_lrelu(x))


class FirstSide(nn.Module):
    """The latent to a 4x4 map."""

    def __init__(self, style_dim: int, channels: int):
        super().__init__()
        self.linear = HeLinear(style_dim, channels * FIRST * FIRST, bias=False, gain=1 / 4)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))  # of whole channels
        self.conv = HeConv2d(channels, channels)

    def forward(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c 4 4"]:
        x = self.linear(style).unflatten(1, (-1, FIRST, FIRST)).contiguous(memory_format=torch.channels_last)
        return normalised(self.conv(normalised(x + self.bias.to(x.dtype))))


class NextSide(nn.Module):
    """A map to one of twice the side; with `filtered`, a low-pass filter makes nearest neighbours bilinear."""

    def __init__(self, in_channels: int, channels: int, filtered: bool):
        super().__init__()
        self.up, self.conv = HeConv2d(in_channels, channels, bias=not filtered), HeConv2d(channels, channels)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1)) if filtered else None  # after the filter

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = self.up(nearest_up(x))
        x = x if self.bias is None else binomial(x, 3, padding=1) + self.bias.to(x.dtype)
        return normalised(self.conv(normalised(x)))


class ProGANSynthesis(SynthesisNetwork):
    """The one style is the latent. The image of a side that fades in is mixed with the enlarged image of the side before."""

    def __init__(self, config: ProGANSynthesisConfig, style_dim: int):
        super().__init__(1, style_dim)
        c = config.channels
        self.first = FirstSide(style_dim, c[0])
        self.sides = nn.ModuleList(NextSide(a, b, config.upsampling == "bilinear") for a, b in zip(c, c[1:], strict=False))
        self.to_rgb = nn.ModuleList(EqualizedConv2d(width, 3, kernel_size=1) for width in c)

    def forward(
        self,
        styles: Float[Tensor, "b 1 style_dim"],
        texts: Sequence[TextDescriptors],
        condition: None = None,
        draws: Draws | None = None,
        stage: Stage | None = None,
    ) -> ImagePyramid:
        last = len(self.sides) if stage is None else resolutions(stage.side).index(stage.side)
        fade = 1.0 if stage is None else stage.fade
        x, before = self.first(styles[:, 0]), None
        for side in self.sides[:last]:
            before, x = x, side(x)
        image = self.to_rgb[last](x)
        if fade < 1:
            image = torch.lerp(nearest_up(self.to_rgb[last - 1](before)), image, fade)
        return ImagePyramid((image.float(),), fade)
