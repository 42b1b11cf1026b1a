"""Pictures with the caption of another picture count as fake.

Kang et al. 2023 (arXiv:2303.05511), section 3.2, Eq. 8; first in Reed et al. 2016 (arXiv:1605.05396), section 4.2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from t2igan.objective.term import Round, Term
from t2igan.types import PartConfig


@dataclass(frozen=True)
class MatchingConfig(PartConfig):
    generated: bool = True  # D also sees generated pictures with a wrong caption as fake


class Matching(Term):
    """D: softplus(D(real, c')) (+ softplus(D(G(c), c'))); G, read literally from Eq. 6: softplus(-D(G(c), c'))."""

    needs_mismatched = True

    def __init__(self, config: MatchingConfig = MatchingConfig()):  # the choice is D's
        self.generated = config.generated

    def discriminator(self, round: Round) -> Float[Tensor, ""]:
        loss = round.real_mismatched.mean(F.softplus)
        if self.generated:
            loss = loss + round.fake_mismatched.mean(F.softplus)
        return loss.mean()

    def generator(self, round: Round) -> Float[Tensor, ""]:
        return round.fake_mismatched.mean(lambda logit: F.softplus(-logit)).mean()


def mismatch(names: list[str], captions: list[str]) -> Int[Tensor, " b"]:
    """For each caption the position of another one in the batch that belongs to another thing.

    The nearest following one with another name whose caption is not left out (an empty one fits every picture); where there is none, a
    picture keeps its own.
    """
    n = len(names)
    found = [next((j % n for j in range(i + 1, i + n) if names[j % n] != names[i] and captions[j % n]), i) for i in range(n)]
    return torch.tensor(found)
