"""Images with the caption of another image count as fake.

Kang et al. 2023 (arXiv:2303.05511), section 3.2, Eq. 8; first in Reed et al. 2016 (arXiv:1605.05396), section 4.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.types import REACH, Caption


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

    Images do not count for which none of the next ones of the step has a caption of another thing.
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


def mismatched_captions(primary_captions: list[str], captions: list[str], following: Sequence[Caption] = ()) -> Int[Tensor, " b"]:
    """For each image the row of a caption that belongs to another thing: rows of `captions`, then of `following`; its own where none does.

    The nearest of the next REACH images' captions, unless it is left out (an empty caption fits every image). Behind an image come the
    images after it, `following`, and the images before it: the cyclic order of the step, however processes and micro-batches share it.
    """
    primary = [*primary_captions, *(caption.primary for caption in following)]
    texts = [*captions, *(caption.text for caption in following)]

    def other(i: int) -> int:
        behind = [*range(i + 1, len(texts)), *range(i)][:REACH]
        return next((j for j in behind if primary[j] != primary[i] and texts[j]), i)

    return torch.tensor([other(i) for i in range(len(captions))])
