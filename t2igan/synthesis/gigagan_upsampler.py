"""A small image, styles and words to a large image: a U-Net that goes down a little and up far.

Kang et al. 2023 (arXiv:2303.05511), section 3.4: three blocks down, six up, maps of equal resolution joined, the same adaptive
convolutions and attention as the base generator. Blocks and banks per stage are not published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.attention import Backend
from t2igan.layers.equalized import LRELU_GAIN, EqualizedConv2d, plain_lrelu
from t2igan.layers.modulation import AdaptiveConv2d, Strategy
from t2igan.layers.resample import downsample, resize_bicubic, upsample
from t2igan.layers.stages import check_stages, checkpoint_stage
from t2igan.ranges import Amount, Count, Positive, Whole
from t2igan.synthesis.base import SynthesisConfig, UpsamplingNetwork
from t2igan.synthesis.gigagan import PER_STAGE, ResidualBlock, SynthesisStage, UpBlock, check_synthesis
from t2igan.types import CheckContext, ImagePyramid, TextDescriptors


@dataclass(frozen=True)
class GigaGANUpsamplerConfig(SynthesisConfig):
    """One entry per stage of the way up, coarsest first. The defaults are the paper's 64 to 512 px text-conditioned upsampler."""

    low_resolution: Count = 64  # px, the side of the images that it starts from
    num_downsamples: Count = 3  # blocks on the way down, each to half the side
    noise: Amount = 0.1  # largest standard deviation of the noise on them in training, for images in [-1, 1]
    channels: tuple[Count, ...] = (512, 512, 512, 512, 256, 128, 64)  # the way down has those of its sides
    blocks: tuple[Count, ...] = (3, 2, 2, 1, 1, 1, 1)  # of two 3x3 adaptive convolutions each
    num_kernels: tuple[Count, ...] = (2, 4, 8, 8, 8, 8, 8)  # the size of each convolution's bank
    self_attention: tuple[Whole, ...] = (2, 2, 1, 1, 0, 0, 0)  # depth
    cross_attention: tuple[Whole, ...] = (2, 2, 1, 1, 0, 0, 0)  # depth
    head_dim: Count = 32  # width of a head of attention
    mlp_ratio: Count = 4  # width inside the network after attention, in widths of the map
    conv_gain: Positive = 0.4  # of what a block adds to the map
    attention_gain: Positive = 0.3  # of what attention adds to the map
    strategy: Strategy | None = None  # how kernels are mixed; none: the cheapest for each layer
    backend: Backend = "auto"  # attention kernels
    activation_checkpointing: bool = False  # the backward pass computes each stage again, for less memory

    starts_from_image: ClassVar[bool] = True

    def levels(self, resolution: int) -> tuple[int, ...]:
        sides = [max(self.low_resolution, 1)]
        while sides[0] < resolution:
            sides.insert(0, 2 * sides[0])
        return tuple(sides)

    def input_resolution(self, resolution: int) -> int:
        return self.low_resolution

    def check(self, context: CheckContext) -> None:
        low, resolution = self.low_resolution, context.resolution
        if low < 8 or low & (low - 1) or low >= resolution:
            raise ValueError(f"low_resolution is {low}, needs a power of two from 8 px to below the resolution {resolution}")
        coarsest = low >> self.num_downsamples
        if coarsest < 2:
            raise ValueError(f"num_downsamples is {self.num_downsamples}, needs stages of 2 px or more, from low_resolution {low} px")
        sides = [coarsest]
        while sides[-1] < resolution:
            sides.append(2 * sides[-1])
        check_stages(self, PER_STAGE, sides)
        check_synthesis(self)

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "GigaGANUpsampler":
        return GigaGANUpsampler(self, style_dim, token_dim)


class AdaptiveDownBlock(nn.Module):
    """A map to one of half the side: two 3x3 adaptive convolutions, the mean of 2x2 between them, beside a pooled 1x1 skip."""

    def __init__(self, in_channels: int, channels: int, style_dim: int, num_kernels: int, strategy: Strategy | None):
        super().__init__()
        options = {"num_kernels": num_kernels, "strategy": strategy}
        self.conv1 = AdaptiveConv2d(in_channels, in_channels, style_dim, **options, output_gain=LRELU_GAIN)
        self.conv2 = AdaptiveConv2d(in_channels, channels, style_dim, **options)  # gain 1: sqrt 2 of lrelu, sqrt 1/2 of the sum
        self.skip = EqualizedConv2d(in_channels, channels, kernel_size=1, bias=False, output_gain=0.5**0.5)

    def forward(self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = plain_lrelu(self.conv1(x, style))
        return plain_lrelu(self.conv2(downsample(y), style)) + self.skip(downsample(x))


class GigaGANUpsampler(UpsamplingNetwork):
    """A small image, styles and local descriptors (one of each per stage of the way up) to images of its size and above, finest first.

    Ours: the small image itself is the first of the images that add up, so that the network makes what it lacks.
    """

    def __init__(self, config: GigaGANUpsamplerConfig, style_dim: int, token_dim: int):
        super().__init__(len(config.channels), style_dim, config.low_resolution, 2**config.num_downsamples)
        self.noise = config.noise
        self.activation_checkpointing = config.activation_checkpointing
        c, downs = config.channels, config.num_downsamples
        sides = [(config.low_resolution >> downs) * 2**i for i in range(self.num_styles)]
        self.from_rgb = EqualizedConv2d(3, c[downs], output_gain=LRELU_GAIN)
        self.down = nn.ModuleDict(
            {
                str(sides[i]): AdaptiveDownBlock(c[i], c[i - 1], style_dim, config.num_kernels[i - 1], config.strategy)
                for i in range(downs, 0, -1)
            }
        )
        self.stages = nn.ModuleDict()
        for i, (side, n) in enumerate(zip(sides, config.num_kernels, strict=True)):
            if i == 0:
                block = ResidualBlock(c[0], style_dim, n, config.conv_gain, config.strategy)
            else:
                block = UpBlock(c[i - 1], c[i], style_dim, n, config.strategy, skip=c[i] if i <= downs else 0)
            self.stages[str(side)] = SynthesisStage(i, block, style_dim, token_dim, config, to_image=side >= config.low_resolution)

    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: Float[Tensor, "b 3 h w"] | None = None,
        draws: Draws | None = None,
        stage: None = None,
    ) -> ImagePyramid:
        """Images of once, twice, ... the size of the small ones, of any size that the way down can halve.

        Raises:
            ValueError: no small image, or one whose sides are not multiples of 2 to the number of blocks down.
        """
        if condition is None or condition.shape[2] % self.multiple or condition.shape[3] % self.multiple:
            got = "none" if condition is None else f"{condition.shape[3]} x {condition.shape[2]}"
            raise ValueError(f"the upsampler needs a small image with sides that are multiples of {self.multiple} px, got {got}")
        x, skips = self.way_down(condition, styles[:, 0])
        image, pyramid = None, []
        for index, stage in enumerate(self.stages.values()):
            skip = skips.pop() if index and skips else None
            x, rgb = checkpoint_stage(stage, self.activation_checkpointing, x, styles[:, index], texts[index], skip)
            if rgb is not None:
                image = condition + rgb if image is None else upsample(image) + rgb
                pyramid.insert(0, image)
        return ImagePyramid(tuple(pyramid))

    def way_down(self, low_res: Float[Tensor, "b 3 h w"], style: Float[Tensor, "b style_dim"]) -> tuple[Tensor, list[Tensor]]:
        """The coarsest map, and the maps before each halving, finest first."""
        x, skips = plain_lrelu(self.from_rgb(low_res.contiguous(memory_format=torch.channels_last))), []
        for block in self.down.values():
            skips.append(x)
            x = checkpoint_stage(block, self.activation_checkpointing, x, style)
        return x, skips

    def condition(self, images: Float[Tensor, "b 3 r r"], draws: Draws) -> Float[Tensor, "b 3 h w"]:
        """The real images made small, with noise of a random strength. Kang et al. 2023, section 3.4."""
        strength = self.noise * draws.uniform("noise strength", 1, 1, 1)
        noise = draws.normal("noise", 3, self.low_resolution, self.low_resolution)
        return resize_bicubic(images, self.low_resolution) + strength * noise
