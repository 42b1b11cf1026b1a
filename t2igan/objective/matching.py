"""Images with the caption of another image count as fake.

Kang et al. 2023 (arXiv:2303.05511), section 3.2, Eq. 8; first in Reed et al. 2016 (arXiv:1605.05396), section 4.2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from t2igan.objective.term import LossInputs, Term, TermOptions


@dataclass(frozen=True)
class MatchingConfig(TermOptions):
    generated: bool = True  # D also scores generated images with a mismatched caption as fake

    def build(self) -> "Matching":
        return Matching(self.generated)


@dataclass(frozen=True)
class GeneratorMatchingConfig(TermOptions):
    """No options."""

    def build(self) -> "Matching":
        return Matching()


class Matching(Term):
    """D: softplus(D(real, c')) (+ softplus(D(G(c), c'))); G, read literally from Eq. 6: softplus(-D(G(c), c')).

    Images for which the micro-batch holds no caption of another thing do not count.
    """

    needs = frozenset({"mismatched"})

    def __init__(self, generated: bool = True):
        super().__init__()
        self.generated = generated

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        loss = inputs.real_mismatched.mean(F.softplus)
        if self.generated:
            loss = loss + inputs.fake_mismatched.mean(F.softplus)
        return masked_mean(loss, inputs.has_mismatch)

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return masked_mean(inputs.fake_mismatched.mean(lambda logit: F.softplus(-logit)), inputs.has_mismatch)


def masked_mean(values: Float[Tensor, " b"], mask: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """The mean of the values where `mask` is True; 0 where it is nowhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def mismatched_captions(primary_captions: list[str], captions: list[str]) -> Int[Tensor, " b"]:
    """For each caption the position of another one in the batch that belongs to another thing; its own where there is none.

    The nearest following one with another first caption, unless it is left out (an empty caption fits every image).
    """
    n = len(captions)

    def other(i: int) -> int:
        return next((j % n for j in range(i + 1, i + n) if primary_captions[j % n] != primary_captions[i] and captions[j % n]), i)

    return torch.tensor([other(i) for i in range(n)])
