"""Generated images near the real image of their caption, at coarse levels.

Isola et al. 2017 (arXiv:1611.07004), section 3.1, add such a term to a conditional GAN. It suits small data sets with few images per
caption: it teaches G at once what belongs where. If several images share a caption, this loss alone would produce their mean; cluster
labels (`training.cluster_features`) give each its own part of the latents.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.pyramid import build_pyramid, select_levels
from t2igan.ranges import Count
from t2igan.types import CheckContext


@dataclass(frozen=True)
class ReconstructionConfig(TermOptions):
    sides: tuple[Count, ...] = (8,)  # px, finest first; finer details are left to D

    def check(self, context: CheckContext) -> None:
        check_sides(self.sides, context)

    def build(self) -> "Reconstruction":
        return Reconstruction(self)


class Reconstruction(Term):
    """Mean squared difference from the real image, averaged over levels."""

    def __init__(self, config: ReconstructionConfig):
        super().__init__()
        self.sides = config.sides

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        levels = real_and_fake(inputs, self.sides)
        return sum((f - r).square().mean() for r, f in zip(*levels, strict=True)) / len(levels[0])


def check_sides(sides: tuple[int, ...], context: CheckContext) -> None:
    """Raises ValueError unless G makes these sides."""
    if not sides or list(sides) != [side for side in context.levels if side in sides]:
        raise ValueError(f"sides is {list(sides)}, needs some of {list(context.levels)}, which G makes, finest first")


def real_and_fake(inputs: LossInputs, sides: tuple[int, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Real images and generated ones at each of the sides; while images grow, at those of the sides that G makes, or at its finest."""
    pyramid = inputs.fake.pyramid
    made = [level.shape[-1] for level in pyramid.levels]
    sides = tuple(side for side in sides if side in made) or (made[0],)
    real, fake = build_pyramid(inputs.batch.images, sides, pyramid.fade), select_levels(pyramid, sides)
    return real.levels, fake.levels
