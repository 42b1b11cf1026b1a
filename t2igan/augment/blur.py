"""A blur of what D sees, which fades away as training goes on: early, D shall not judge details that G cannot place yet.

Karras et al. 2021 (arXiv:2106.12423), appendix F (for configuration R); also in StyleGAN-XL and StyleGAN-T.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.augment.base import Augment, AugmentConfig
from t2igan.draws import Draws
from t2igan.layers.fir import separable
from t2igan.ranges import AmountOverTime
from t2igan.types import CheckContext, ImagePyramid, TrainingTime, Verdict


def others() -> dict[str, type]:
    """The kinds that may follow the blur."""
    from t2igan.augment import KINDS

    return {name: kind for name, kind in KINDS.items() if kind is not BlurConfig}


@dataclass(frozen=True)
class BlurConfig(AugmentConfig):
    sigma: AmountOverTime  # px of the finest images, at which the filter has fallen to a half; below a third of a pixel nothing is blurred
    then: Any = field(metadata={"kinds": others})  # the augmentation of blurred images

    def check(self, context: CheckContext) -> None:
        self.then.check(context)

    @property
    def reads_sign(self) -> bool:
        return self.then.reads_sign

    def build(self) -> "Blur":
        return Blur(self)


class Blur(Augment):
    """A pyramid to the pyramid that D receives: blurred, coarser levels less, and then augmented."""

    def __init__(self, config: BlurConfig):
        super().__init__()
        self.sigma, self.then = config.sigma, config.then.build()

    def forward(self, pyramid: ImagePyramid, draws: Draws, now: TrainingTime) -> ImagePyramid:
        sigma, side = self.sigma(now.images), pyramid.finest.shape[-1]
        blurred = pyramid.map(lambda level: blur(level, sigma * level.shape[-1] / side))
        return self.then(blurred, draws, now)

    def observe(self, real: Verdict) -> None:
        self.then.observe(real)

    def update(self, now: TrainingTime, batch: int, sum_over_processes: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return self.then.update(now, batch, sum_over_processes) | {"augment/blur": torch.tensor(self.sigma(now.images))}


def blur(images: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """By the filter 2^-(x / sigma)^2 up to 3 sigma, along both axes, with zeros around."""
    reach = math.floor(3 * sigma)
    if reach < 1:
        return images
    place = torch.arange(-reach, reach + 1, dtype=torch.float32, device=images.device)
    taps = torch.exp2(-((place / sigma) ** 2))
    return separable(images, taps / taps.sum(), F.conv2d, padding=reach)
