"""An image to a logit by residual blocks, with minibatch statistics, and a condition by projection through a mapping network of its own.

Karras et al. 2020 (arXiv:1912.04958), section 4.1 and Fig. 7: residual (configuration F), skip connections, or neither; the conditional
form is that of arXiv:2006.06676, appendix.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.base import DiscriminatorNetwork, DiscriminatorNetworkConfig, rows_of
from t2igan.layers.blur import DownsamplingConv2d
from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear, lrelu
from t2igan.layers.fir import downsample_binomial
from t2igan.layers.minibatch import MinibatchStd
from t2igan.layers.normalize import unit_rms
from t2igan.layers.precision import full_precision
from t2igan.layers.stages import FIRST, check_stages, resolutions
from t2igan.ranges import Count, Positive
from t2igan.synthesis.stylegan2 import Architecture, clamped
from t2igan.types import CheckContext, ImageSet, TextDescriptors, TextDims, Verdict

HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class StyleGAN2DiscriminatorConfig(DiscriminatorNetworkConfig):
    """`channels` has one entry per stage, 4 px first. The defaults are configuration F at 1024 px."""

    channels: tuple[Count, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)  # of the maps
    architecture: Architecture = "residual"  # section 4
    minibatch_std: Count = 4  # images per group
    mapping_depth: Count = 8  # layers of the condition's mapping network
    clamp: Positive | None = 256.0  # of activations, by their absolute value; none: unbounded

    def check(self, context: CheckContext) -> None:
        check_stages(self, ("channels",), resolutions(context.resolution))
        super().check(context)

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "StyleGAN2Discriminator":
        return StyleGAN2Discriminator(self, resolution, adapter, text.pooled if adapter is None else adapter.width)


class Activated(nn.Module):
    """A layer, then the activation and the clamp."""

    def __init__(self, layer: nn.Module, clamp: float | None, gain: float = 1.0):
        super().__init__()
        self.layer, self.gain, self.clamp = layer, math.sqrt(2) * gain, None if clamp is None else clamp * gain

    def forward(self, x: Tensor) -> Tensor:
        return clamped(lrelu(self.layer(x), self.gain), self.clamp)


class DownStage(nn.Module):
    """A map to one of half the side; with `from_rgb`, the image at this side joins it first."""

    def __init__(self, in_channels: int, channels: int, from_rgb: bool, residual: bool, clamp: float | None):
        super().__init__()
        self.from_rgb = Activated(EqualizedConv2d(3, in_channels, kernel_size=1), clamp) if from_rgb else None
        self.conv = Activated(EqualizedConv2d(in_channels, in_channels), clamp)
        self.down = Activated(DownsamplingConv2d(in_channels, channels), clamp, HALF if residual else 1.0)
        self.skip = EqualizedConv2d(in_channels, channels, kernel_size=1, bias=False) if residual else None

    def forward(self, x: Float[Tensor, "b c h w"] | None, image: Float[Tensor, "b 3 _ _"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = join(x, image, self.from_rgb)
        y = self.down(self.conv(x))
        return y if self.skip is None else self.skip(downsample_binomial(x)) * HALF + y


def join(x: Tensor | None, image: Tensor, from_rgb: nn.Module | None) -> Tensor:
    if from_rgb is None:
        return x
    return from_rgb(image) if x is None else x + from_rgb(image)


class ConditionMapping(nn.Module):
    """The condition to the vector that features are projected on."""

    def __init__(self, text_dim: int, width: int, depth: int):
        super().__init__()
        self.embed = EqualizedLinear(text_dim, width)
        self.layers = nn.ModuleList(EqualizedLinear(width, width, lr_multiplier=0.01) for _ in range(depth))

    def forward(self, pooled: Float[Tensor, "p text_dim"]) -> Float[Tensor, "p width"]:
        x = unit_rms(self.embed(pooled))
        for layer in self.layers:
            x = lrelu(layer(x))
        return x


class StyleGAN2Discriminator(DiscriminatorNetwork):
    """Scores images against captions: <features, mapped condition> / sqrt(width); without text, a linear function of the features."""

    def __init__(self, config: StyleGAN2DiscriminatorConfig, resolution: int, adapter: nn.Module | None, text_dim: int):
        super().__init__((resolution,), config.minibatch_std)
        c, skip = config.channels[::-1], config.architecture == "skip"
        self.adapter = adapter
        self.stages = nn.ModuleList(
            DownStage(before, after, skip or i == 0, config.architecture == "residual", config.clamp)
            for i, (before, after) in enumerate(zip(c, c[1:], strict=False))
        )
        self.from_rgb = Activated(EqualizedConv2d(3, c[-1], kernel_size=1), config.clamp) if skip or not self.stages else None
        self.minibatch_std = MinibatchStd(config.minibatch_std)
        self.conv = Activated(EqualizedConv2d(c[-1] + 1, c[-1]), config.clamp)
        self.linear = EqualizedLinear(c[-1] * FIRST * FIRST, c[-1])
        self.out = EqualizedLinear(c[-1], c[-1] if text_dim else 1)
        self.mapping = ConditionMapping(text_dim, c[-1], config.mapping_depth) if text_dim else None
        self.skip = skip

    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        """The sets are stacked; minibatch statistics stay inside each."""
        features = self.features(torch.cat([images.pyramid.finest for images in sets]), len(sets))
        with full_precision(features.device):
            mapped = self.mapped(text)
            return tuple(
                tuple(self.verdict(features[rows], mapped, captions) for captions in images.captions)
                for images, rows in zip(sets, rows_of(sets), strict=True)
            )

    def features(self, image: Float[Tensor, "b 3 r r"], sets: int = 1) -> Float[Tensor, "b d"]:
        image = image.contiguous(memory_format=torch.channels_last)
        x = None
        for stage in self.stages:
            x = stage(x, image)
            image = downsample_binomial(image) if self.skip else image
        x = join(x, image, self.from_rgb)
        with full_precision(x.device):
            x = self.conv(self.minibatch_std(x.float(), sets))
            return self.out(lrelu(self.linear(x.flatten(1))))

    def mapped(self, text: TextDescriptors) -> Float[Tensor, "p d"] | None:
        if self.mapping is None:
            return None
        return self.mapping((text if self.adapter is None else self.adapter(text)).pooled.float())

    def verdict(self, features: Float[Tensor, "b d"], mapped: Float[Tensor, "p d"] | None, captions: Tensor) -> Verdict:
        if mapped is None:
            return Verdict((features,), (1.0,))
        return Verdict(((features * mapped[captions]).sum(1, keepdim=True) / math.sqrt(features.shape[1]),), (1.0,))

    def parts(self) -> dict[str, nn.Module]:
        return {} if self.adapter is None else {"adapter": self.adapter}
