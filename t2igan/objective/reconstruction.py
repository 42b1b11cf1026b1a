"""Generated pictures near the real picture of their caption, at coarse levels.

Isola et al. 2017 (arXiv:1611.07004), section 3.1, add such a term to a conditional GAN. It suits small data sets with few pictures per
caption: it tells G at once what belongs where. Of several pictures with one caption it would draw the mean; `training.drawings` gives
each its own part of the latents.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from t2igan.layers.stages import resolutions
from t2igan.objective.term import Round, Term
from t2igan.pyramid import build_pyramid, select
from t2igan.types import PartConfig


@dataclass(frozen=True)
class ReconstructionConfig(PartConfig):
    sides: tuple[int, ...] = (8,)  # px, finest first; finer details are D's

    def check(self, resolution: int) -> None:
        sides = resolutions(resolution)[::-1]
        if not self.sides or list(self.sides) != [side for side in sides if side in self.sides]:
            raise ValueError(f"sides is {list(self.sides)}, needs some of {sides}, finest first")


class Reconstruction(Term):
    """Mean squared difference from the real picture, averaged over levels."""

    def __init__(self, config: ReconstructionConfig):
        self.sides = config.sides

    def generator(self, round: Round) -> Float[Tensor, ""]:
        real, fake = build_pyramid(round.images, self.sides), select(round.fake.pyramid, self.sides)
        return sum((f - r).square().mean() for f, r in zip(fake.levels, real.levels, strict=True)) / len(self.sides)
