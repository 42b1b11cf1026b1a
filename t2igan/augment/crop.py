"""A crop for discriminators that read images at a side of their own: of large images, they see some parts at full size.

In the release of Sauer et al. 2023 (arXiv:2301.09515). Ours: each image has its own coin and place (there a batch shares them).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.augment.base import Augment, AugmentConfig
from t2igan.draws import Draws
from t2igan.layers.crop import crop_squares
from t2igan.ranges import Count, Share
from t2igan.types import CheckContext, ImagePyramid, TrainingTime, Verdict


def others() -> dict[str, type]:
    """The kinds that may come before the crop."""
    from t2igan.augment import KINDS

    return {name: kind for name, kind in KINDS.items() if kind is not CropConfig}


@dataclass(frozen=True, kw_only=True)
class CropConfig(AugmentConfig):
    side: Count = 224  # px; smaller images stay as they are
    probability: Share = 0.5  # that an image is cut; otherwise it is reduced to that side
    first: Any = field(metadata={"kinds": others})  # the augmentation before

    def check(self, context: CheckContext) -> None:
        if len(context.levels) > 1:
            raise ValueError(f"side: images of one side are cut, and generator.synthesis makes {len(context.levels)}; leave the crop out")
        if context.resolution > self.side and not context.any_side:
            raise ValueError(f"side: images become {self.side} px, and discriminator.network takes {context.resolution} px; leave it out")
        self.first.check(context)

    @property
    def reads_sign(self) -> bool:
        return self.first.reads_sign

    def build(self) -> "Crop":
        return Crop(self)


class Crop(Augment):
    """Images to augmented ones of a side of at most `side`."""

    def __init__(self, config: CropConfig):
        super().__init__()
        self.side, self.probability, self.first = config.side, config.probability, config.first.build()

    def forward(self, pyramid: ImagePyramid, draws: Draws, now: TrainingTime) -> ImagePyramid:
        return self.first(pyramid, draws, now).map(lambda images: self.cut(images, draws.uniform("crop", 3)))

    def cut(self, images: Float[Tensor, "b 3 r r"], uniform: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 s s"]:
        """The crops that these numbers from [0, 1) choose: a coin and a place."""
        if images.shape[-1] <= self.side:
            return images
        whole = F.interpolate(images, size=(self.side, self.side), mode="area")
        coin = (uniform[:, 0] < self.probability)[:, None, None, None]
        return torch.where(coin, crop_squares(images, uniform[:, 1:], self.side), whole)

    def observe(self, real: Verdict) -> None:
        self.first.observe(real)

    def update(self, now: TrainingTime, batch: int, sum_over_processes: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return self.first.update(now, batch, sum_over_processes)
