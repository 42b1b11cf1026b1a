"""What a loss is, and everything that it may look at for one half of a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.types import Fake, ImagePyramid, ImageSet, PartConfig, PrepareContext, TextDescriptors, TrainingTime, Verdict


@dataclass(frozen=True)
class MicroBatch:
    """The captioned real images of one forward pass in one process, and what G makes images for them from."""

    images: Float[Tensor, "b 3 r r"]
    captions: list[str]
    primary_captions: list[str]  # each image's first caption, which names what it shows
    text: TextDescriptors  # of `captions`
    critic_text: TextDescriptors  # the same, and then those captions of other images that `mismatched` needs
    mismatched: Int[Tensor, " b"]  # for each image the row of `critic_text` with a caption of another thing; its own where there is none
    z: Float[Tensor, "b z_dim"]
    condition: Float[Tensor, "b 3 h w"] | None  # the images that an upsampler starts from
    draws: Draws  # of this half of the step
    generator_draws: Draws  # those that G makes its images with

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LossInputs:
    """A micro-batch as the terms see it. Fields that do not apply to the current half-step are None."""

    now: TrainingTime
    batch: MicroBatch
    fake: Fake  # as generated, before augmentation
    fake_output: Verdict
    real: ImagePyramid | None = None  # the levels that D takes, before augmentation; leaves of the graph where a penalty is due
    fake_pyramid: ImagePyramid | None = None  # likewise
    real_output: Verdict | None = None
    real_mismatched: Verdict | None = None  # with captions of other images
    fake_mismatched: Verdict | None = None
    has_mismatch: Bool[Tensor, " b"] | None = None  # False where no caption of another thing was found
    extra: Mapping[str, Verdict] = field(default_factory=dict)  # of the sets that the term asked for
    extra_sets: Mapping[str, ImageSet] = field(default_factory=dict)  # those sets


@dataclass(frozen=True)
class TermOptions(PartConfig):
    """A term's own options in a recipe, beside `weight`, `every` and `after`."""

    signed: ClassVar[bool] = False  # whether the loss parts D's logits at zero, above for real images and below for generated ones

    def build(self) -> Term:
        raise TypeError(f"{type(self).__name__} builds no term")


class Term(nn.Module):
    """A loss with a part for D, for G or for both: `discriminator(inputs)` and `generator(inputs)` return a scalar, a mean over images.

    Terms never call backward. Running means are buffers, and so in checkpoints; frozen networks are held by layers/frozen.py. A term
    declares in `needs` what it wants beyond verdicts on matched captions:

    - "mismatched": verdicts with captions of other images;
    - "real_leaves", "fake_leaves": the images that D takes as leaves of the graph, and logits that can be differentiated twice;
    - "twice_differentiable": the latter alone, for leaves among the sets that the term asks for;
    - "real_output": in G's half too, verdicts on the real images (D's half always has them);
    - "full_precision": D without autocast.
    """

    needs: frozenset[str] = frozenset()

    def prepare(self, context: PrepareContext) -> None:
        """Called once before training; loads frozen networks."""

    def update(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Called after every step for which the term was due: what the micro-batches of all processes have shown becomes a running mean."""

    def extra_sets(self, batch: MicroBatch, real: ImagePyramid, fake: ImagePyramid, own: Int[Tensor, " b"]) -> dict[str, ImageSet]:
        """Further sets of images that D shall score for this term, in D's half; their verdicts come back as `inputs.extra`.

        `own` assigns each image its own caption. The sets hold as many images as the batch.
        """
        return {}

    def discriminator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """The loss of D."""
        raise TypeError(f"{type(self).__name__} is no loss of D")

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """The loss of G."""
        raise TypeError(f"{type(self).__name__} is no loss of G")
