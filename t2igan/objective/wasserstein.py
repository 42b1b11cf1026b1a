"""ProGAN's losses: the Wasserstein distance with a penalty on the gradient between real and generated images; least squares; classes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from t2igan.errors import UserError
from t2igan.layers.precision import full_precision
from t2igan.objective.term import LossInputs, MicroBatch, Term, TermOptions
from t2igan.ranges import Amount, Positive
from t2igan.types import ImagePyramid, ImageSet, Verdict


def signed(verdict: Verdict) -> Float[Tensor, " b"]:
    return verdict.mean(lambda logit: logit)


@dataclass(frozen=True)
class WassersteinConfig(TermOptions):
    drift: Amount = 0.001  # times the mean square of D's logits on real images, which would otherwise wander; D's alone

    def build(self) -> "Wasserstein":
        return Wasserstein(self)


class Wasserstein(Term):
    """E D(fake) - E D(real) + drift E D(real)^2; for G, -E D(fake).

    Arjovsky et al. 2017 (arXiv:1701.07875); the drift is that of Karras et al. 2018 (arXiv:1710.10196), appendix A.1.
    """

    def __init__(self, config: WassersteinConfig):
        super().__init__()
        self.drift = config.drift

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        real, fake = signed(inputs.real_output), signed(inputs.fake_output)
        return (fake - real + self.drift * inputs.real_output.mean(torch.square)).mean()

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return -signed(inputs.fake_output).mean()


@dataclass(frozen=True)
class GradientPenaltyConfig(TermOptions):
    target: Positive = 1.0  # of the gradient's norm

    def build(self) -> "GradientPenalty":
        return GradientPenalty(self)


class GradientPenalty(Term):
    """E (|d D(x) / d x| - target)^2 / target^2 at a random place between a real and a generated image, one for each pair.

    Gulrajani et al. 2017 (arXiv:1704.00028), Eq. 3; the paper's weight is 10.
    """

    needs = frozenset({"twice_differentiable"})

    def __init__(self, config: GradientPenaltyConfig):
        super().__init__()
        self.target = config.target

    def extra_sets(self, batch: MicroBatch, real: ImagePyramid, fake: ImagePyramid, own: Int[Tensor, " b"]) -> dict[str, ImageSet]:
        place = batch.draws.uniform("between real and generated", 1)[:, :, None, None]
        levels = tuple(torch.lerp(a.detach(), b.detach(), place) for a, b in zip(real.levels, fake.levels, strict=True))
        return {"between": ImageSet(ImagePyramid(levels, real.fade).leaves(), (own,), "real")}

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        score = signed(inputs.extra["between"].primary()).sum()
        images = inputs.extra_sets["between"].pyramid
        with full_precision(score.device):
            gradients = torch.autograd.grad(score, images.levels, create_graph=True)
            norm = sum(gradient.float().square().sum((1, 2, 3)) for gradient in gradients).sqrt()
        return ((norm - self.target) / self.target).square().mean()


@dataclass(frozen=True)
class LeastSquaresConfig(TermOptions):
    def build(self) -> "LeastSquares":
        return LeastSquares()


class LeastSquares(Term):
    """E (D(real) - 1)^2 + E D(fake)^2, halved; for G, E (D(fake) - 1)^2, halved.

    Mao et al. 2017 (arXiv:1611.04076), Eq. 9 with labels 1 and 0.
    """

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return (inputs.real_output.mean(lambda x: (x - 1).square()) + inputs.fake_output.mean(torch.square)).mean() / 2

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return inputs.fake_output.mean(lambda x: (x - 1).square()).mean() / 2


@dataclass(frozen=True)
class ClassificationConfig(TermOptions):
    def build(self) -> "Classification":
        return Classification()


class Classification(Term):
    """Cross-entropy of the class that D predicts and the label: of real and generated images for D, of generated ones for G.

    Odena et al. 2017 (arXiv:1610.09585), section 3, as in the release of Karras et al. 2018. Captions are class labels (`text: label`).
    """

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return self.entropy(inputs.real_output, inputs) + self.entropy(inputs.fake_output, inputs)

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        return self.entropy(inputs.fake_output, inputs)

    def entropy(self, verdict: Verdict, inputs: LossInputs) -> Float[Tensor, ""]:
        """Raises UserError where the discriminator predicts no class."""
        if verdict.classes is None:
            raise UserError("objective has the term classification, and discriminator.network predicts no class; set condition: classes")
        return F.cross_entropy(verdict.classes.float(), inputs.batch.text.pooled.argmax(1))
