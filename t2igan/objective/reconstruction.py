"""Generated pictures near the real picture of their caption, at coarse levels.

Isola et al. 2017 (arXiv:1611.07004), section 3.1, add such a term to a conditional GAN. It suits small data sets with few pictures per
caption: it tells G at once what belongs where. With `training.latents.candidates` above 1 it is the loss of implicit maximum likelihood
estimation (Li and Malik 2018, arXiv:1809.09087): each real picture pulls at the latents that are nearest to it, not at their mean.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from t2igan.objective.round import Round, Term
from t2igan.pyramid import build_pyramid, select


@dataclass(frozen=True)
class ReconstructionConfig:
    sides: tuple[int, ...] = (8,)  # px, finest first; finer details are D's


class Reconstruction(Term):
    """Mean squared difference from the real picture, averaged over levels."""

    def __init__(self, config: ReconstructionConfig):
        self.sides = config.sides

    def generator(self, round: Round) -> Float[Tensor, ""]:
        real, fake = build_pyramid(round.images, self.sides), select(round.fake.pyramid, self.sides)
        return sum((f - r).square().mean() for f, r in zip(fake.levels, real.levels, strict=True)) / len(self.sides)
