"""Penalties on how steep D is at the reals."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.objective.term import Round, Term
from t2igan.types import PartConfig


@dataclass(frozen=True)
class R1Config(PartConfig):
    gamma: float = 1.0  # at the finest level; level i takes gamma * (r_i / r_0)^2, StyleGAN's rule of gamma ~ r^2


@dataclass(frozen=True)
class FiniteR1Config(R1Config):
    step: float = 0.05  # standard deviation of the nudge, for pictures in [-1, 1]

    def check(self, resolution: int) -> None:
        if self.step <= 0:
            raise ValueError(f"step is {self.step}, needs a number above 0")


class R1(Term):
    """gamma / 2 * E sum_levels (r_i / r_0)^2 |d D(x) / d x_i|^2, exact, on real pictures with their own captions.

    Mescheder et al. 2018 (arXiv:1801.04406), Eq. 9. Every level is its own leaf: through the pyramid's averaging a coarse level's
    gradient would all but vanish. Heads enter with the weights they have in the loss.
    """

    needs_real_gradient = True

    def __init__(self, config: R1Config):
        self.gamma = config.gamma

    def discriminator(self, round: Round) -> Float[Tensor, ""]:
        return self.gamma / 2 * self.squared_norm(round).mean()

    @staticmethod
    def squared_norm(round: Round) -> Float[Tensor, " b"]:
        levels = round.real.levels
        score = round.real_verdict.own_heads().mean(lambda logit: logit).sum()
        gradients = torch.autograd.grad(score, levels, create_graph=True)
        finest = levels[0].shape[-1]
        return sum(g.float().square().sum((1, 2, 3)) * (g.shape[-1] / finest) ** 2 for g in gradients)


class FiniteR1(Term):
    """R1 by one random finite difference: gamma / 2 * E ((D(x + step * n) - D(x)) / step)^2 with n ~ N(0, (r_i / r_0)^2) at level i.

    Its mean over n is R1 up to terms of the order of step^2. Nothing is differentiated twice, so fused attention, recomputed stages and
    compiled networks may be used. Minibatch statistics join the pictures of a batch, which R1 does not count.
    """

    def __init__(self, config: FiniteR1Config):
        self.gamma, self.needs_nudged = config.gamma, config.step

    def discriminator(self, round: Round) -> Float[Tensor, ""]:
        here, there = (verdict.own_heads().mean(lambda logit: logit) for verdict in (round.real_verdict, round.nudged_verdict))
        return self.gamma / 2 * ((there - here) / round.step).square().mean()
