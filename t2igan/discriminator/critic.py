"""D behind its augmentation: what losses and penalties are functions of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from t2igan.augment.base import Augment
from t2igan.draws import Draws
from t2igan.pyramid import build_pyramid, select_levels
from t2igan.types import ImagePyramid, ImageSet, Stage, TextDescriptors, TrainingTime, Verdict


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
    fade: float = 1.0  # of real images, while the finest side grows

    def at(self, stage: Stage | None) -> Critic:
        """The critic of a system that has grown so far."""
        return self if stage is None else replace(self, levels=(stage.side,), fade=stage.fade)

    def pyramid(self, images: Float[Tensor, "b 3 r r"]) -> ImagePyramid:
        """Real images as it takes them."""
        return build_pyramid(images, self.levels, self.fade)

    def __call__(
        self, sets: Sequence[ImageSet], text: TextDescriptors, draws: Draws, now: TrainingTime, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        augmented = [replace(images, pyramid=self.look(images, draws, now)) for images in sets]
        return self.network(augmented, text, twice_differentiable)

    def look(self, images: ImageSet, draws: Draws, now: TrainingTime):
        """The pyramid that D receives of a set."""
        return self.augment(select_levels(images.pyramid, self.levels), draws.scoped(f"view of {images.view}"), now)
