"""Images of one caption as far from each other as real images of it are.

Yang et al. 2019 (arXiv:1901.09024), section 3, and Mao et al. 2019 (arXiv:1903.05628), section 3.2, reward a conditional generator for
images that differ where their latents do. Ours: the real images of the caption in the same batch (`data.images_per_caption`) say how far is
enough, in place of a bound that is chosen; beyond it there is no reward.
"""

from dataclasses import dataclass
from itertools import combinations

from jaxtyping import Float
from torch import Tensor

from t2igan.objective.reconstruction import check_sides, real_and_fake
from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.ranges import Count
from t2igan.types import CheckContext

LEAST = 1e-3  # of the mean difference of two real pixels, in [-1, 1]: closer images are copies, and ask for nothing


@dataclass(frozen=True)
class DiversityConfig(TermOptions):
    sides: tuple[Count, ...] = (8,)  # px, finest first, at which images are compared: coarse ones ask for other shapes and colours

    def check(self, context: CheckContext) -> None:
        check_sides(self.sides, context)
        if context.images_per_caption == 1:
            raise ValueError("kind is diversity, which compares images of one caption; set data.images_per_caption to 2 or more")

    def build(self) -> "Diversity":
        return Diversity(self)


class Diversity(Term):
    """Mean over pairs of one caption of max(0, 1 - the distance of the generated images / that of the real ones).

    A distance is the mean absolute difference of pixels, averaged over levels. 0: as far apart as real images; 1: G ignores z.
    """

    def __init__(self, config: DiversityConfig):
        super().__init__()
        self.sides = config.sides

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        captions = inputs.batch.captions
        pairs = [(i, j) for i, j in combinations(range(len(captions)), 2) if captions[i] == captions[j]]
        if not pairs:
            return inputs.fake.pyramid.finest.new_zeros(())
        first, second = map(list, zip(*pairs, strict=True))
        between = [[(x[first] - x[second]).abs().flatten(1).mean(1) for x in level] for level in real_and_fake(inputs, self.sides)]
        real, fake = (sum(distances) for distances in zip(*between, strict=True))
        return (1 - fake / real.clamp(min=LEAST * len(between))).clamp(min=0).mean()
