"""R3GAN's objective: a relativistic game of pairs, and the gradient penalty on generated images beside R1.

Huang et al. 2024 (arXiv:2501.05441), section 2: the pairing of Jolicoeur-Martineau 2018 (arXiv:1807.00734) with zero-centred penalties at
real (R1) and generated images (R2), both at every step.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.objective.gradient_penalty import R1Config, squared_gradient_norm
from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.schedule import Schedule


@dataclass(frozen=True)
class RelativisticConfig(TermOptions):
    """No options."""

    def build(self) -> "Relativistic":
        return Relativistic()


class Relativistic(Term):
    """D: softplus(-(D(real) - D(fake))); G: softplus(-(D(fake) - D(real))), each real image with the generated one of its caption."""

    needs = frozenset({"real_output"})

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return inputs.real_output.minus(inputs.fake_output).mean(lambda logit: F.softplus(-logit)).mean()

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return inputs.fake_output.minus(inputs.real_output).mean(lambda logit: F.softplus(-logit)).mean()


@dataclass(frozen=True)
class R2Config(R1Config):
    """As R1's."""

    def build(self) -> "R2":
        return R2(self.gamma)


class R2(Term):
    """gamma / 2 * E |d D(x) / d x|^2 on generated images, before their augmentation. Mescheder et al. 2018 (arXiv:1801.04406), Eq. 10."""

    needs = frozenset({"fake_leaves"})

    def __init__(self, gamma: Schedule):
        super().__init__()
        self.gamma = gamma

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return self.gamma(inputs.now.images) / 2 * squared_gradient_norm(inputs.fake_output, inputs.fake_pyramid).mean()
