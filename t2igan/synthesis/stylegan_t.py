"""Styles to an image by residual blocks of modulated convolutions: StyleGAN2's, made deep, with Fourier features as the input.

Sauer et al. 2023 (arXiv:2301.09515), section 3.1 and Fig. 2: GroupNorm and LayerScale in every second convolution, styles of second order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.blur import upsampling_conv
from t2igan.layers.equalized import EqualizedLinear
from t2igan.layers.fir import upsample_binomial
from t2igan.layers.fourier import FourierInput
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.precision import full_precision
from t2igan.layers.stages import checkpoint_stage
from t2igan.ranges import Count, Positive
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.synthesis.stylegan2 import StyledLayer, clamped
from t2igan.types import CheckContext, ImagePyramid, Stage, TextDescriptors

FIRST = 8  # px, the side of the coarsest stage
BANDWIDTH = 2.0  # of the Fourier features, per width of the image
HALF = math.sqrt(0.5)
LAYER_SCALE = 1e-5
TO_RGB_INIT = 0.1


@dataclass(frozen=True)
class StyleGANTSynthesisConfig(SynthesisConfig):
    """A stage of side s has channel_base / s channels, at most channel_max. The defaults are the release's for sizes of one's own."""

    channel_base: Count = 32768  # see above
    channel_max: Count = 512  # see above
    blocks: Count = 2  # residual blocks of every stage, of two convolutions each
    groups: Count = 32  # of GroupNorm; fewer where a stage has fewer channels
    clamp: Positive | None = 256.0  # of activations and images, by their absolute value; none: unbounded
    activation_checkpointing: bool = False  # stages are computed again in the backward pass, instead of kept

    def check(self, context: CheckContext) -> None:
        for side, width in zip(sides_to(context.resolution), self.widths(context.resolution), strict=True):
            if width % min(self.groups, width):
                raise ValueError(f"groups is {self.groups}, and the stage of {side} px has {width} channels; choose a divisor")

    def widths(self, resolution: int) -> list[int]:
        """Channels of the stages, coarsest first."""
        return [min(self.channel_base // side, self.channel_max) for side in sides_to(resolution)]

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "StyleGANTSynthesis":
        return StyleGANTSynthesis(self, resolution, style_dim)


def sides_to(resolution: int) -> list[int]:
    """8, 16, ... px."""
    return [FIRST << i for i in range(resolution.bit_length() - FIRST.bit_length() + 1)]


class SecondOrderStyle(nn.Module):
    """A style to scales: the product of two linear functions, plus a third one."""

    def __init__(self, style_dim: int, channels: int):
        super().__init__()
        self.linear = EqualizedLinear(style_dim, 3 * channels, bias_init=1.0)

    def forward(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b channels"]:
        first, second, third = self.linear(style).chunk(3, dim=1)
        return first * second + third


class SecondOrderConv2d(AdaptiveConv2d):
    def __init__(self, in_channels: int, out_channels: int, style_dim: int, kernel_size: int = 3, **options):
        super().__init__(in_channels, out_channels, style_dim, kernel_size, **options)
        self.modulate = SecondOrderStyle(style_dim, in_channels)


class SecondOrderUpConv2d(SecondOrderConv2d):
    conv = staticmethod(upsampling_conv)


class SecondOrderLayer(StyledLayer):
    convs = SecondOrderConv2d, SecondOrderUpConv2d


class ResidualLayer(nn.Module):
    """sqrt 2 (u + gamma f(u)) of normalised features u: at initialisation the features themselves, whatever the depth."""

    def __init__(self, channels: int, style_dim: int, side: int, config: StyleGANTSynthesisConfig):
        super().__init__()
        self.norm = nn.GroupNorm(min(config.groups, channels), channels)
        self.layer = SecondOrderLayer(channels, channels, style_dim, side, False, config.clamp)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))

    def forward(
        self, x: Float[Tensor, "b c s s"], style: Float[Tensor, "b style_dim"], draws: Draws | None, gain: float
    ) -> Float[Tensor, "b c s s"]:
        with full_precision(x.device):  # statistics
            u = F.group_norm(x.float(), self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps).to(x.dtype)
        return math.sqrt(2) * (self.scale.to(x.dtype) * self.layer(u, style, draws, gain) + u)


class SynthesisStage(nn.Module):
    """Waves, or a map of half the side, to a map; the image so far to the image there. The last style is the image's."""

    def __init__(self, in_channels: int, channels: int, style_dim: int, side: int, config: StyleGANTSynthesisConfig):
        super().__init__()
        first = side == FIRST
        self.input = FourierInput(style_dim, channels, side, side, BANDWIDTH) if first else None
        self.up = None if first else SecondOrderLayer(in_channels, channels, style_dim, side, True, config.clamp)
        pairs = (
            (SecondOrderLayer(channels, channels, style_dim, side, False, config.clamp), ResidualLayer(channels, style_dim, side, config))
            for _ in range(config.blocks)
        )
        self.layers = nn.ModuleList(layer for pair in pairs for layer in pair)
        self.to_rgb = SecondOrderConv2d(channels, 3, style_dim, kernel_size=1, demodulate=False, weight_init=TO_RGB_INIT)
        self.num_convs, self.clamp, self.side = 1 + len(self.layers), config.clamp, side

    def forward(
        self,
        x: Float[Tensor, "b i h w"] | None,
        image: Float[Tensor, "b 3 h w"] | None,
        styles: Sequence[Float[Tensor, "b style_dim"]],
        draws: Draws | None,
    ) -> tuple[Float[Tensor, "b o side side"], Float[Tensor, "b 3 side side"]]:
        if self.input is not None:
            x = self.input(styles[0]).contiguous(memory_format=torch.channels_last)
        else:
            x = self.up(x, styles[0], None if draws is None else draws.scoped("up"))
        for number, layer in enumerate(self.layers):
            x = layer(x, styles[1 + number], None if draws is None else draws.scoped(f"conv {number}"), HALF)
        rgb = clamped(self.to_rgb(x, styles[self.num_convs]), self.clamp).float()
        return x, rgb if image is None else upsample_binomial(image) + rgb


class StyleGANTSynthesis(SynthesisNetwork):
    """A style for the input and for every convolution, and one for the last image; other images take the next stage's first style."""

    def __init__(self, config: StyleGANTSynthesisConfig, resolution: int, style_dim: int):
        sides, widths = sides_to(resolution), config.widths(resolution)
        super().__init__(len(sides) * (1 + 2 * config.blocks) + 1, style_dim)
        self.stages = nn.ModuleList(
            SynthesisStage(before, after, style_dim, side, config)
            for before, after, side in zip((widths[0], *widths), widths, sides, strict=False)
        )
        self.activation_checkpointing = config.activation_checkpointing

    @property
    def fourier_input(self) -> FourierInput:
        return self.stages[0].input

    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: None = None,
        draws: Draws | None = None,
        stage: Stage | None = None,
    ) -> ImagePyramid:
        each = styles.unbind(1)
        x = image = None
        place = 0
        for part in self.stages:
            own, scope = each[place : place + part.num_convs + 1], None if draws is None else draws.scoped(f"{part.side} px")
            x, image = checkpoint_stage(part, self.activation_checkpointing, x, image, own, scope)
            place += part.num_convs
        return ImagePyramid((image,))
