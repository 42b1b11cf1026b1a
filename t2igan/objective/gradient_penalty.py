"""Penalties on how steep D is at the real images, before their augmentation."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from t2igan.layers.precision import full_precision
from t2igan.objective.term import LossInputs, MicroBatch, Term, TermOptions
from t2igan.ranges import AmountOverTime, Positive
from t2igan.schedule import constant
from t2igan.types import ImagePyramid, ImageSet, Verdict


@dataclass(frozen=True)
class R1Config(TermOptions):
    gamma: AmountOverTime = constant(1.0)  # at the finest level; level i takes gamma * (r_i / r_0)^2, by StyleGAN's rule gamma ~ r^2

    def build(self) -> "R1":
        return R1(self)


@dataclass(frozen=True)
class FiniteDifferenceR1Config(R1Config):
    sigma: Positive = 0.05  # standard deviation of the perturbation, for images in [-1, 1]

    def build(self) -> "FiniteDifferenceR1":
        return FiniteDifferenceR1(self)


def squared_gradient_norm(verdict: Verdict, images: ImagePyramid) -> Float[Tensor, " b"]:
    """sum_levels (r_i / r_0)^2 |d D(x) / d x_i|^2 for each image, of D's primary heads with the weights they have in the loss.

    Every level is its own leaf: through the pyramid's averaging a coarse level's gradient would all but vanish.
    """
    score = verdict.primary().mean(lambda logit: logit).sum()
    with full_precision(score.device):  # backward passes run outside autocast, as fp32 islands have fp32 gradients
        gradients = torch.autograd.grad(score, images.levels, create_graph=True)
    finest = images.finest.shape[-1]
    return sum(g.float().square().sum((1, 2, 3)) * (g.shape[-1] / finest) ** 2 for g in gradients)


class R1(Term):
    """gamma / 2 * E sum_levels (r_i / r_0)^2 |d D(x) / d x_i|^2, exact, on real images with their own captions.

    Mescheder et al. 2018 (arXiv:1801.04406), Eq. 9.
    """

    needs = frozenset({"real_leaves"})

    def __init__(self, config: R1Config):
        super().__init__()
        self.gamma = config.gamma

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return self.gamma(inputs.now.images) / 2 * squared_gradient_norm(inputs.real_output, inputs.real).mean()


class FiniteDifferenceR1(Term):
    """R1 by one random finite difference: gamma / 2 * E ((D(x + sigma n) - D(x)) / sigma)^2 with n ~ N(0, (r_i / r_0)^2) at level i.

    Its mean over n is R1 up to terms of the order of sigma^2. Nothing is differentiated twice, so fused attention, activation
    checkpointing and compiled networks may be used. Minibatch statistics connect the images of a batch, which R1 does not count.
    """

    needs = frozenset({"full_precision"})  # a difference of half-precision logits is noise

    def __init__(self, config: FiniteDifferenceR1Config):
        super().__init__()
        self.gamma, self.sigma = config.gamma, config.sigma

    def extra_sets(self, batch: MicroBatch, real: ImagePyramid, fake: ImagePyramid, own: Int[Tensor, " b"]) -> dict[str, ImageSet]:
        noise = ImagePyramid(tuple(batch.draws.normal(f"perturbation {x.shape[-1]}", *x.shape[1:]) for x in real.levels))
        return {"perturbed": ImageSet(perturb(real, noise, self.sigma), (own,), "real")}

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        here, there = (verdict.primary().mean(lambda logit: logit) for verdict in (inputs.real_output, inputs.extra["perturbed"]))
        return self.gamma(inputs.now.images) / 2 * ((there - here) / self.sigma).square().mean()


def perturb(pyramid: ImagePyramid, noise: ImagePyramid, sigma: float) -> ImagePyramid:
    """Images plus noise of deviation `sigma` at the finest level and, as R1 weighs levels, of the side's share of it at coarser ones."""
    finest = pyramid.finest.shape[-1]
    return ImagePyramid(tuple(x + sigma * x.shape[-1] / finest * n for x, n in zip(pyramid.levels, noise.levels, strict=True)))
