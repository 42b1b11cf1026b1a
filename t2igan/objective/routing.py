"""Experts shall be used evenly, and their router shall stay near zero: the loss that such a generator has of its own."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from t2igan.errors import UserError
from t2igan.objective.term import LossInputs, Term, TermOptions


@dataclass(frozen=True)
class RoutingConfig(TermOptions):
    """No options."""

    def build(self) -> "Routing":
        return Routing()


class Routing(Term):
    """The sum over layers of layers/experts.py, `routing_loss`. Zhu et al. 2023 (arXiv:2309.03904) weigh it 0.001."""

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        loss = inputs.fake.pyramid.own_loss
        if loss is None:
            raise UserError("objective.generator has the term routing, and generator.synthesis has no experts; leave it out")
        return loss
