"""Differentiable colour, translation and cutout.

Zhao et al. 2020 (arXiv:2006.10738), section 3.2: applied to real and generated images alike, so that gradients reach G.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.augment.base import Augment, AugmentConfig
from t2igan.draws import Draws
from t2igan.ranges import Amount, Share, ShareOverTime
from t2igan.schedule import constant
from t2igan.types import ImagePyramid, TrainingTime

NUMBERS = 10  # uniform numbers per image: three coins, three amounts of colour, two of translation, the two coordinates of the square


@dataclass(frozen=True)
class DiffAugmentConfig(AugmentConfig):
    probability: ShareOverTime = constant(1.0)  # of each of the three groups, per image
    brightness: Amount = 1.0  # added, uniformly in +- half of this range
    saturation: Amount = 1.0  # factor 1 +- this
    contrast: Amount = 0.5  # factor 1 +- this
    translation: Share = 0.125  # of the side, either way
    fill: Literal["zeros", "edge"] = "zeros"  # what a translation uncovers: grey, or (Ours) the image's own edge
    cutout: Share = 0.5  # side of the grey square, of the image's side

    def build(self) -> "DiffAugment":
        return DiffAugment(self)


class DiffAugment(Augment):
    """A pyramid to the pyramid that D receives; every level of an image gets the same transforms."""

    def __init__(self, config: DiffAugmentConfig):
        super().__init__()
        self.config = config

    def forward(self, pyramid: ImagePyramid, draws: Draws, now: TrainingTime) -> ImagePyramid:
        return self.transform(pyramid, draws.uniform("diffaugment", NUMBERS), self.config.probability(now.images))

    def transform(self, pyramid: ImagePyramid, uniform: Float[Tensor, "b 10"], probability: float) -> ImagePyramid:
        """The transforms that these numbers from [0, 1) choose."""
        if probability == 0:
            return pyramid
        on = (uniform[:, :3] < probability).float()[:, :, None, None, None]
        signed = 2 * uniform[:, 3:8] - 1
        color, shift, center = signed[:, :3, None, None, None], signed[:, 3:], uniform[:, 8:]

        def level(x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 3 r r"]:
            x = self._color(x, on[:, 0].to(x.dtype), color.to(x.dtype))
            x = self._translate(x, shift * on[:, 1, :, 0, 0])
            return self._cutout(x, on[:, 2].to(x.dtype), center)

        return pyramid.map(level)

    def _color(self, x: Float[Tensor, "b 3 r r"], on: Tensor, amount: Tensor) -> Float[Tensor, "b 3 r r"]:
        x = x + on * amount[:, 0] * self.config.brightness / 2
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (1 + on * amount[:, 1] * self.config.saturation)
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + (x - mean) * (1 + on * amount[:, 2] * self.config.contrast)

    def _translate(self, x: Float[Tensor, "b 3 r r"], shift: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3 r r"]:
        """Whole-pixel shifts by gathering rows and columns: exact and cheap to differentiate."""
        side = x.shape[-1]
        pixels = (shift * self.config.translation * side).round().long()
        place = torch.arange(side, device=x.device) + pixels[:, :, None]
        index = place.clamp(0, side - 1)
        x = x.gather(2, index[:, 0, None, :, None].expand(-1, x.shape[1], -1, side))
        x = x.gather(3, index[:, 1, None, None, :].expand(-1, x.shape[1], side, -1))
        if self.config.fill == "edge":
            return x
        inside = (place == index).to(x.dtype)
        return x * (inside[:, 0, :, None] * inside[:, 1, None, :])[:, None]

    def _cutout(self, x: Float[Tensor, "b 3 r r"], on: Tensor, center: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3 r r"]:
        side = x.shape[-1]
        along = (torch.arange(side, device=x.device) + 0.5) / side
        inside = (along - center[:, :, None]).abs() < self.config.cutout / 2
        square = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].to(x.dtype)
        return x * (1 - square * on)
