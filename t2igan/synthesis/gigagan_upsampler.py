"""A small picture, styles and words to a large picture: a U-Net that goes down a little and up far.

Kang et al. 2023 (arXiv:2303.05511), section 3.4: three blocks down, six up, maps of equal resolution joined, the same adaptive
convolutions and attention as the base generator. Blocks and banks per stage are not published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.attention import Backend
from t2igan.layers.equalized import EqualizedConv2d, lrelu
from t2igan.layers.modulation import AdaptiveConv2d, Strategy
from t2igan.layers.resample import downsample, upsample
from t2igan.layers.stages import check_stages, checkpoint_stage
from t2igan.synthesis.gigagan import PER_STAGE, SynthesisStage, check_synthesis
from t2igan.types import ImagePyramid, PartConfig, Stage, TextDescriptors


@dataclass(frozen=True)
class GigaGANUpsamplerConfig(PartConfig):
    """One entry per stage of the way up, coarsest first. The defaults are the paper's 64 to 512 px text-conditioned upsampler."""

    starts_from_image: ClassVar[bool] = True
    low: int = 64  # px, the side of the pictures that come in
    downs: int = 3  # blocks on the way down, each to half the side
    noise: float = 0.1  # largest standard deviation of the noise on them in training, for pictures in [-1, 1]
    channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64)  # the way down has those of its sides
    blocks: tuple[int, ...] = (3, 2, 2, 1, 1, 1, 1)
    kernels: tuple[int, ...] = (2, 4, 8, 8, 8, 8, 8)
    self_attention: tuple[int, ...] = (2, 2, 1, 1, 0, 0, 0)
    cross_attention: tuple[int, ...] = (2, 2, 1, 1, 0, 0, 0)
    head_dim: int = 32
    mlp_ratio: int = 4
    conv_gain: float = 0.4
    attention_gain: float = 0.3
    strategy: Strategy | None = None
    backend: Backend = "auto"
    activation_checkpointing: bool = False

    def check(self, resolution: int) -> None:
        if self.low < 8 or self.low & (self.low - 1) or self.low >= resolution:
            raise ValueError(f"low is {self.low}, needs a power of two from 8 px to below the resolution {resolution}")
        coarsest = self.low >> self.downs
        if self.downs < 1 or coarsest < 2:
            raise ValueError(f"downs is {self.downs}, needs at least 1 and stages of 2 px or more, from low {self.low} px")
        sides = [coarsest]
        while sides[-1] < resolution:
            sides.append(2 * sides[-1])
        check_stages(self, PER_STAGE, sides)
        check_synthesis(self)
        if self.noise < 0:
            raise ValueError(f"noise is {self.noise}, needs 0 or more")


class AdaptiveDownBlock(nn.Module):
    """A map to one of half the side: two 3x3 adaptive convolutions, the mean of 2x2 between them, beside a pooled 1x1 skip."""

    def __init__(self, in_channels: int, channels: int, style_dim: int, kernels: int, strategy: Strategy | None):
        super().__init__()
        self.conv1 = AdaptiveConv2d(in_channels, in_channels, style_dim, 3, kernels, strategy=strategy)
        self.bias1 = nn.Parameter(torch.zeros(in_channels, 1, 1))
        self.conv2 = AdaptiveConv2d(in_channels, channels, style_dim, 3, kernels, strategy=strategy)
        self.bias2 = nn.Parameter(torch.zeros(channels, 1, 1))
        self.skip = EqualizedConv2d(in_channels, channels, kernel=1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = lrelu(self.conv1(x, style) + self.bias1)
        y = lrelu(self.conv2(downsample(y), style) + self.bias2, gain=1.0)  # sqrt 2 of the activation times sqrt 1/2 of the residual sum
        return y + self.skip(downsample(x)) * 0.5**0.5


class GigaGANUpsampler(nn.Module):
    """A small picture of `low` px, styles and local descriptors (one of each per stage of the way up) to pictures at `low` px and above.

    Ours: the small picture itself is the first of the pictures that add up, so that the network draws what it lacks.
    """

    def __init__(self, config: GigaGANUpsamplerConfig, style_dim: int, token_dim: int):
        super().__init__()
        self.low, self.noise, self.activation_checkpointing = config.low, config.noise, config.activation_checkpointing
        self.style_dim, self.stages_count = style_dim, len(config.channels)
        self.downs, self.multiple = config.downs, 2**config.downs  # what the sides of a small picture must be divisible by
        channels, downs = config.channels, config.downs
        sides = [(config.low >> downs) * 2**i for i in range(self.stages_count)]
        self.from_rgb = EqualizedConv2d(3, channels[downs])
        self.down = nn.ModuleDict(
            {
                str(sides[i]): AdaptiveDownBlock(channels[i], channels[i - 1], style_dim, config.kernels[i - 1], config.strategy)
                for i in range(downs, 0, -1)
            }
        )
        previous = (channels[0], *channels)
        self.stages = nn.ModuleDict()
        for i, side in enumerate(sides):
            skip = channels[i] if 0 < i <= downs else 0
            self.stages[str(side)] = SynthesisStage(
                i, previous[i], style_dim, token_dim, config, up=i > 0, skip=skip, draws=side >= config.low
            )

    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        stage: Stage | None = None,
        low: Float[Tensor, "b 3 h w"] | None = None,
    ) -> ImagePyramid:
        """Pictures of once, twice, ... the size of `low`, finest first; any size that the way down can halve.

        Raises:
            ValueError: no small picture, or one whose sides are not multiples of 2 to the number of blocks down.
        """
        if low is None or low.shape[2] % self.multiple or low.shape[3] % self.multiple:
            got = "none" if low is None else f"{low.shape[3]} x {low.shape[2]}"
            raise ValueError(f"the upsampler needs a small picture with sides that are multiples of {self.multiple} px, got {got}")
        x, skips = self.way_down(low, styles[:, 0])
        picture, pyramid = None, []
        for index, block in enumerate(self.stages.values()):
            if stage is not None and index > self.downs and self.low * 2 ** (index - self.downs) > stage.resolution:
                break
            x, rgb = checkpoint_stage(block, self.activation_checkpointing, x, styles[:, index], texts[index], skips.pop() if index and skips else None)
            if rgb is not None:
                picture = low + rgb if picture is None else upsample(picture) + rgb
                pyramid.insert(0, picture)
        return ImagePyramid(tuple(pyramid))

    def way_down(self, low: Float[Tensor, "b 3 h w"], style: Float[Tensor, "b style_dim"]) -> tuple[Tensor, list[Tensor]]:
        """The coarsest map, and the maps before each halving, finest first."""
        x, skips = lrelu(self.from_rgb(low.contiguous(memory_format=torch.channels_last))), []
        for block in self.down.values():
            skips.append(x)
            x = checkpoint_stage(block, self.activation_checkpointing, x, style)
        return x, skips
