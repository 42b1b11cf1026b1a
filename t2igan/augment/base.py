"""What every augmentation promises: the images that D receives, a differentiable function of images and of random numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.types import ImagePyramid, PartConfig, TrainingTime, Verdict


@dataclass(frozen=True)
class AugmentConfig(PartConfig):
    """The section `augment`. Generic code reads nothing of it but this."""

    @property
    def reads_sign(self) -> bool:
        """Whether it adapts to the sign of D's logits on real images."""
        return False

    def build(self) -> "Augment":
        raise TypeError(f"{type(self).__name__} builds no augmentation")


class Augment(nn.Module, ABC):
    """Real and generated images to what D receives. State (an adaptive probability) is in buffers, and so in checkpoints."""

    @abstractmethod
    def forward(self, pyramid: ImagePyramid, draws: Draws, now: TrainingTime) -> ImagePyramid:
        """Augmented images: a differentiable function of the images; every level of an image gets the same augmentation."""

    def observe(self, real: Verdict) -> None:
        """Takes note of D's logits on (augmented) real images; called for every micro-batch of D's half."""

    def update(self, now: TrainingTime, batch: int, sum_over_processes: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Adapts the state after a step of `batch` images over all processes; returns figures for the log."""
        return {}


@dataclass(frozen=True)
class NoAugmentConfig(AugmentConfig):
    """D receives the images as they are."""

    def build(self) -> "NoAugment":
        return NoAugment()


class NoAugment(Augment):
    """The images as they are."""

    def forward(self, pyramid: ImagePyramid, draws: Draws, now: TrainingTime) -> ImagePyramid:
        return pyramid
