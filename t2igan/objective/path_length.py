"""A step of the style should change the image by the same amount, wherever and in whichever direction it is taken."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.precision import full_precision
from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.ranges import Share


@dataclass(frozen=True)
class PathLengthConfig(TermOptions):
    decay: Share = 0.99  # of the running mean of lengths, per step in which the penalty is due

    def build(self) -> "PathLength":
        return PathLength(self)


class PathLength(Term):
    """E (|J_w^T y| - a)^2: y an image of noise, J_w the Jacobian of the image by the style, a the running mean of the length.

    Karras et al. 2020 (arXiv:1912.04958), section 3.2 and appendix B: y ~ N(0, I) / sqrt(h w), and the mean over the stages of |J_l^T y|^2
    in place of one style's. Ours: every image of the pass is measured (the release takes the first half), and a is the mean before this
    step, equal for all processes and micro-batches (the release's has taken this step in already, on each device by itself).
    """

    def __init__(self, config: PathLengthConfig):
        super().__init__()
        self.decay = config.decay
        self.register_buffer("mean_length", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(2), persistent=False)  # of this step: the sum of lengths and their number

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        images = inputs.fake.pyramid.finest
        noise = inputs.batch.draws.normal("path length", *images.shape[1:]) / math.sqrt(images.shape[2] * images.shape[3])
        with full_precision(images.device):
            (gradient,) = torch.autograd.grad((images * noise).sum(), inputs.fake.styles, create_graph=True)
            lengths = gradient.float().square().sum(2).mean(1).sqrt()
        self.seen += torch.stack([lengths.detach().sum(), lengths.new_tensor(float(len(lengths)))])
        return (lengths - self.mean_length).square().mean()

    @torch.no_grad()
    def update(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        total, count = sum_over_processes(self.seen.clone())
        mean = total / count
        if mean.isfinite():  # else the step was skipped, and the next ones shall not be
            self.mean_length.lerp_(mean, 1 - self.decay)
        self.seen.zero_()
