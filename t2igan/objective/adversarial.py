"""The game itself: logits to losses. Logits are high for real."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.objective.term import Round, Term


class NonSaturating(Term):
    """D: softplus(-D(real)) + softplus(D(fake)); G: softplus(-D(fake)).

    Goodfellow et al. 2014 (arXiv:1406.2661), section 3. Logits are averaged after the softplus, heads by their weights.
    """

    def discriminator(self, round: Round) -> Float[Tensor, ""]:
        return (round.real_verdict.mean(lambda logit: F.softplus(-logit)) + round.fake_verdict.mean(F.softplus)).mean()

    def generator(self, round: Round) -> Float[Tensor, ""]:
        return round.fake_verdict.mean(lambda logit: F.softplus(-logit)).mean()
