"""Images of one caption as far from each other as real images of it are.

Yang et al. 2019 (arXiv:1901.09024), section 3, and Mao et al. 2019 (arXiv:1903.05628), section 3.2, reward a conditional generator for
images that differ where their latents do. Ours: the real images of the same captions in the batch (`data.images_per_caption`) say how far
is enough, in place of a bound that is chosen.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.objective.reconstruction import check_sides, real_and_fake
from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.ranges import Count
from t2igan.types import CheckContext

LEAST = 1e-3  # the mean difference of real pixels, in [-1, 1], below which a batch holds copies only and asks for nothing


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
    """max(0, 1 - d(generated) / d(real)): 0 where images are as far apart as real ones, 1 where G ignores z.

    d is the mean absolute difference of pixels of two images of one caption, over all such pairs of the batch and over levels. It is a mean
    before it is compared: pair by pair, images as diverse as real ones would still be driven apart. Captions left out (`caption_dropout`)
    make no pairs.
    """

    def __init__(self, config: DiversityConfig):
        super().__init__()
        self.sides = config.sides

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        captions = inputs.batch.captions
        pairs = [(i, j) for i, j in combinations(range(len(captions)), 2) if captions[i] and captions[i] == captions[j]]
        nothing = inputs.fake.pyramid.finest.new_zeros(())
        if not pairs:
            return nothing
        first, second = map(list, zip(*pairs, strict=True))
        real, fake = (sum((x[first] - x[second]).abs().mean() for x in levels) for levels in real_and_fake(inputs, self.sides))
        return torch.where(real > LEAST, (1 - fake / real.clamp(min=LEAST)).clamp(min=0), nothing)
