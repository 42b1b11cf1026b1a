"""D behind its augmentation: what losses and penalties are functions of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from t2igan.augment.base import Augment
from t2igan.draws import Draws
from t2igan.pyramid import select_levels
from t2igan.types import ImageSet, TextDescriptors, TrainingTime, Verdict


@dataclass(frozen=True)
class Critic:
    """Unaugmented images to verdicts, so that penalties differentiate at the image, through the augmentation.

    StyleGAN2-ADA and R3GAN take their penalties so. Sets with the same `view` get the same random transforms.

    Args:
        network: a DiscriminatorNetwork, or the wrapper that synchronises its gradients.
        levels: the sides of the images that it takes.
    """

    network: nn.Module
    augment: Augment
    levels: tuple[int, ...]

    def __call__(
        self, sets: Sequence[ImageSet], text: TextDescriptors, draws: Draws, now: TrainingTime, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        augmented = [replace(images, pyramid=self.look(images, draws, now)) for images in sets]
        return self.network(augmented, text, twice_differentiable)

    def look(self, images: ImageSet, draws: Draws, now: TrainingTime):
        """The pyramid that D receives of a set."""
        return self.augment(select_levels(images.pyramid, self.levels), draws.scoped(f"view of {images.view}"), now)
