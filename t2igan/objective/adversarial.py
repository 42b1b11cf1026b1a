"""The game itself: logits to losses. Logits are high for real."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.objective.term import LossInputs, Term, TermOptions


@dataclass(frozen=True)
class NonSaturatingConfig(TermOptions):
    """No options."""

    signed: ClassVar[bool] = True

    def build(self) -> "NonSaturating":
        return NonSaturating()


class NonSaturating(Term):
    """D: softplus(-D(real)) + softplus(D(fake)); G: softplus(-D(fake)).

    Goodfellow et al. 2014 (arXiv:1406.2661), section 3. Logits are averaged after the softplus, heads by their weights.
    """

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return (inputs.real_output.mean(lambda logit: F.softplus(-logit)) + inputs.fake_output.mean(F.softplus)).mean()

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return inputs.fake_output.mean(lambda logit: F.softplus(-logit)).mean()


@dataclass(frozen=True)
class HingeConfig(TermOptions):
    """No options."""

    signed: ClassVar[bool] = True

    def build(self) -> "Hinge":
        return Hinge()


class Hinge(Term):
    """D: max(0, 1 - D(real)) + max(0, 1 + D(fake)); G: -D(fake). Lim and Ye 2017 (arXiv:1705.02894).

    In Sauer et al. 2022 (arXiv:2202.00273) and 2023 (arXiv:2301.09515) over all logits of all heads.
    """

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        real, fake = inputs.real_output, inputs.fake_output
        return (real.mean(lambda logit: F.relu(1 - logit)) + fake.mean(lambda logit: F.relu(1 + logit))).mean()

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return inputs.fake_output.mean(lambda logit: -logit).mean()
