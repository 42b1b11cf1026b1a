"""What every discriminator promises: sets of images and their captions to verdicts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from t2igan.types import CheckContext, ImageSet, PartConfig, PrepareContext, TextDescriptors, TextDims, Verdict

NEEDS_TEXT = "kind is {}, whose heads read a text, and text.kind is none; choose one that works without, such as stylegan2 or r3gan"


@dataclass(frozen=True)
class DiscriminatorNetworkConfig(PartConfig):
    """The section `discriminator.network`. Generic code reads nothing of it but this."""

    grows: ClassVar[bool] = False  # whether it takes images of an earlier stage, while the next one fades in (`ImagePyramid.fade`)

    @property
    def any_side(self) -> bool:
        """Whether it takes images of every side, because it resizes them, and not of its levels alone."""
        return False

    def levels(self, resolution: int) -> tuple[int, ...]:
        """The sides of the images that it takes, in px, finest first."""
        return (resolution,)

    def check(self, context: CheckContext) -> None:
        missing = [side for side in self.levels(context.resolution) if side not in context.levels]
        if missing:
            made = ", ".join(map(str, context.levels))
            raise ValueError(f"levels: it takes images of {missing[0]} px, and generator.synthesis makes images of {made} px only")

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "DiscriminatorNetwork":
        """The network.

        Args:
            adapter: the learned text layers in front, which it owns as `self.adapter`; None where it takes the frozen descriptors.
            text: widths of the frozen descriptors; 0 where the system has no text.
        """
        raise TypeError(f"{type(self).__name__} builds no network")


class DiscriminatorNetwork(nn.Module, ABC):
    """Scores sets of images against captions.

    Args:
        levels: the sides of the images that it takes, in px, finest first.
        batch_multiple: the number of images of a set must be a multiple of it (groups of minibatch statistics).
    """

    def __init__(self, levels: tuple[int, ...], batch_multiple: int = 1):
        super().__init__()
        self.levels, self.batch_multiple = levels, batch_multiple

    def prepare(self, context: PrepareContext) -> None:
        """Loads frozen networks, once, before training: those of its text layers, where it has `adapter`. Others add their own."""
        if getattr(self, "adapter", None) is not None:
            self.adapter.prepare(context)

    @abstractmethod
    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        """For each set a Verdict for each of its caption assignments, with logits in float32.

        Whatever statistics it takes over a batch, it takes inside each set: real and generated images never mix.

        Args:
            sets: images at `levels`, finest first; all sets hold equally many.
            text: frozen descriptors; the sets' captions are rows of them.
            twice_differentiable: whether a penalty differentiates the logits twice, which fused attention cannot.
        """

    def without_frozen(self) -> "DiscriminatorNetwork | None":
        """The part that works before frozen networks are loaded, whose FLOPs `show` counts; None: nothing does."""
        return self

    def update(self) -> None:
        """Called after every step."""

    def parts(self) -> dict[str, nn.Module]:
        """The sub-networks that a paper counts, by name."""
        return {}


def rows_of(sets: Sequence[ImageSet]) -> list[slice]:
    """Where each set lies on the batch axis when all are stacked."""
    starts = [sum(len(s) for s in sets[:i]) for i in range(len(sets) + 1)]
    return [slice(a, b) for a, b in zip(starts, starts[1:], strict=False)]
