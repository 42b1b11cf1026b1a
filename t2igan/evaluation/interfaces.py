"""The parts of a Pipeline and of a CLIP that evaluation reads."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class ImageSampler(Protocol):
    """Generates images; `t2igan.inference.pipeline.Pipeline` does."""

    def sample_tensor(self, prompts: Sequence[str], seeds: Sequence[int], truncation: float = 1.0) -> Float[Tensor, "b 3 r r"]:
        """Images in [-1, 1], by prompt and seed."""


@runtime_checkable
class EvaluationClip(Protocol):
    """A CLIP that took no part in the training of what it scores; `t2igan.features.open_clip.ClipScorer` is one."""

    def images(self, images: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        """Images in [-1, 1] to embeddings of unit length."""

    def text(self, captions: list[str]) -> Float[Tensor, "b d"]:
        """Captions to embeddings of unit length."""
