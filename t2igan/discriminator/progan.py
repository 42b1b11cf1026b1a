"""An image to a logit by plain convolutions, in a network that grows with the generator: its mirror image.

Karras et al. 2018 (arXiv:1710.10196), section 2, Table 2, and section 3 (minibatch statistics). A class label is predicted beside the logit
(Odena et al. 2017, arXiv:1610.09585), or a text joins by projection (ours).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.base import DiscriminatorNetwork, DiscriminatorNetworkConfig, rows_of
from t2igan.layers.equalized import EqualizedLinear, plain_lrelu
from t2igan.layers.minibatch import MinibatchStd
from t2igan.layers.precision import full_precision
from t2igan.layers.progressive import HeConv2d, HeLinear, box_down
from t2igan.layers.stages import FIRST, check_stages, resolutions
from t2igan.ranges import Count
from t2igan.types import CheckContext, ImagePyramid, ImageSet, TextDescriptors, TextDims, Verdict


@dataclass(frozen=True)
class ProGANDiscriminatorConfig(DiscriminatorNetworkConfig):
    """`channels` has one entry per side, 4 px first. The defaults are the paper's at 1024 px."""

    grows: ClassVar[bool] = True
    channels: tuple[Count, ...] = (512, 512, 512, 512, 256, 128, 64, 32, 16)  # of the maps
    minibatch_std: Count = 4  # images per group
    condition: Literal["projection", "classes"] = "projection"  # classes: a logit for each class of a label, as AC-GAN has them

    def check(self, context: CheckContext) -> None:
        check_stages(self, ("channels",), resolutions(context.resolution))
        if self.condition != "projection" and not context.num_classes:
            raise ValueError(f"condition is {self.condition}, needs class labels, text: {{kind: label}}; a text joins by projection")
        super().check(context)

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "ProGANDiscriminator":
        return ProGANDiscriminator(self, resolution, adapter, text.pooled if adapter is None else adapter.width)


class Side(nn.Module):
    """A map to one of half the side."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv, self.down = HeConv2d(in_channels, in_channels), HeConv2d(in_channels, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return plain_lrelu(box_down(self.down(plain_lrelu(self.conv(x)))))


class ProGANDiscriminator(DiscriminatorNetwork):
    """Scores images; where they fade in, the features of the new side are mixed with those of the side before."""

    side = Side

    def __init__(self, config: ProGANDiscriminatorConfig, resolution: int, adapter: nn.Module | None, text_dim: int):
        super().__init__((resolution,), config.minibatch_std)
        c = config.channels
        self.adapter = adapter
        self.from_rgb = nn.ModuleList(HeConv2d(3, width, kernel_size=1) for width in c)
        self.sides = nn.ModuleList(self.side(b, a) for a, b in zip(c, c[1:], strict=False))  # the coarsest first, as in the generator
        self.minibatch_std = MinibatchStd(config.minibatch_std)
        self.conv, self.linear = HeConv2d(c[0] + 1, c[0]), HeLinear(c[0] * FIRST * FIRST, c[0])
        self.classes = text_dim if config.condition == "classes" else 0
        self.out = EqualizedLinear(c[0], 1 + self.classes)
        self.embed = EqualizedLinear(text_dim, c[0]) if text_dim and not self.classes else None

    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        """The sets, which fade alike, are stacked; minibatch statistics stay inside each."""
        pyramid = sets[0].pyramid
        stacked = replace(pyramid, levels=(torch.cat([images.pyramid.finest for images in sets]),))
        features = self.features(stacked, len(sets))
        with full_precision(features.device):
            logits = self.out(features)
            embedded = self.embedded(text)
            return tuple(
                tuple(self.verdict(features[rows], logits[rows], embedded, captions) for captions in images.captions)
                for images, rows in zip(sets, rows_of(sets), strict=True)
            )

    def features(self, pyramid: ImagePyramid, sets: int = 1) -> Float[Tensor, "b d"]:
        image = pyramid.finest.contiguous(memory_format=torch.channels_last)
        last = resolutions(image.shape[-1]).index(image.shape[-1])
        x = plain_lrelu(self.from_rgb[last](image))
        for number in reversed(range(last)):
            x = self.sides[number](x)
            if pyramid.fade < 1 and number == last - 1:
                x = torch.lerp(plain_lrelu(self.from_rgb[number](box_down(image))), x, pyramid.fade)
        with full_precision(x.device):
            x = plain_lrelu(self.conv(self.minibatch_std(x.float(), sets)))
            return plain_lrelu(self.linear(x.flatten(1)))

    def embedded(self, text: TextDescriptors) -> Float[Tensor, "p d"] | None:
        """What a caption's features are projected on; None where captions do not enter."""
        if self.embed is None:
            return None
        return self.embed((text if self.adapter is None else self.adapter(text)).pooled.float())

    def verdict(self, features: Tensor, logits: Tensor, embedded: Float[Tensor, "p d"] | None, captions: Tensor) -> Verdict:
        logit = logits[:, :1]
        if embedded is not None:
            logit = logit + (features * embedded[captions]).sum(1, keepdim=True) / math.sqrt(features.shape[1])
        return Verdict((logit,), (1.0,), classes=logits[:, 1:] if self.classes else None)

    def parts(self) -> dict[str, nn.Module]:
        return {} if self.adapter is None else {"adapter": self.adapter}
