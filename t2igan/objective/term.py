"""What a loss is, and everything it may look at for one half of a step."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from t2igan.types import Fake, ImagePyramid, TextDescriptors, TrainingTime, Verdict


@dataclass(frozen=True)
class Round:
    """One micro-batch as the terms see it. What a half of the step has no use for is None."""

    fake: Fake  # as generated, before D's view of it
    fake_verdict: Verdict
    text: TextDescriptors
    captions: list[str]
    names: list[str]
    now: TrainingTime
    real: ImagePyramid | None = None  # D's view, leaves of the graph where a penalty is due
    real_verdict: Verdict | None = None
    real_mismatched: Verdict | None = None
    fake_mismatched: Verdict | None = None
    nudged_verdict: Verdict | None = None  # on the real pictures, a random step of length `step` away
    step: float = 0.0
    images: Float[Tensor, "b 3 r r"] | None = None  # the real pictures of the captions, before D's view


class Term:
    """A loss with a part for D, for G or for both: `discriminator(round)` and `generator(round)` return a scalar, a mean over pictures.

    Terms never call backward. What a term needs beyond the verdicts on matched captions, it says here.
    """

    needs_mismatched = False  # verdicts on pictures with the caption of another thing
    needs_real_gradient = False  # the real pyramid's levels as leaves of the graph
    needs_nudged = 0.0  # length, per value of the finest level, of the random step after which D sees the real pictures once more

    def prepare(self, names: Callable[[], list[str]], device) -> None:
        """Called once before training; reads frozen networks. `names()` reads the distinct first captions of the data set."""
