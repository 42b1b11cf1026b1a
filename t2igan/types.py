"""The vocabulary: what one room hands to the next.

Letters in shapes: `b` batch, `t` token, `l` style (one per stage), `r` square side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Padded token ids; `mask` is True up to the true end of each text and False on padding."""

    ids: Int[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]

    def __getitem__(self, rows) -> Tokens:
        return Tokens(self.ids[rows], self.mask[rows])

    def to(self, device) -> Tokens:
        return Tokens(self.ids.to(device), self.mask.to(device))


@dataclass(frozen=True)
class TextDescriptors:
    """What a text encoder, or the learned layers after it, says of each prompt: a vector per token and one for the whole."""

    local: Float[Tensor, "b t token_dim"]
    pooled: Float[Tensor, "b text_dim"]
    source: Tokens

    def __getitem__(self, rows) -> TextDescriptors:
        return TextDescriptors(self.local[rows], self.pooled[rows], self.source[rows])

    def __len__(self) -> int:
        return len(self.pooled)

    def to(self, device) -> TextDescriptors:
        return TextDescriptors(self.local.to(device), self.pooled.to(device), self.source.to(device))

    def repeat(self, times: int) -> TextDescriptors:
        """Each prompt `times` times in a row."""
        return self[torch.arange(len(self), device=self.pooled.device).repeat_interleave(times)]


@dataclass(frozen=True)
class Stage:
    """Where progressive growing stands; `fade` 1 means that the newest block is fully in."""

    resolution: int
    fade: float = 1.0


@dataclass(frozen=True)
class ImagePyramid:
    """The same pictures at falling resolutions in [-1, 1], finest first."""

    levels: tuple[Float[Tensor, "b 3 _ _"], ...]
    fade: float = 1.0

    @property
    def finest(self) -> Float[Tensor, "b 3 r r"]:
        return self.levels[0]

    def map(self, function) -> ImagePyramid:
        return replace(self, levels=tuple(function(level) for level in self.levels))

    def detach(self) -> ImagePyramid:
        return self.map(Tensor.detach)


@dataclass(frozen=True)
class Fake:
    """Generated pictures with what they were drawn from: the styles synthesis used and the latents behind them."""

    pyramid: ImagePyramid
    styles: Float[Tensor, "b l style_dim"]
    z: Float[Tensor, "b z_dim"]

    def detach(self) -> Fake:
        return Fake(self.pyramid.detach(), self.styles.detach(), self.z)


@dataclass(frozen=True)
class Verdict:
    """Logits, high for real: one tensor per head, its weight in every loss, and what D reads of the latent (if it has that head)."""

    logits: tuple[Float[Tensor, "b _"], ...]
    weights: tuple[float, ...]
    modes: Float[Tensor, "b modes"] | None = None

    def mean(self, function) -> Float[Tensor, " b"]:
        """Weighted mean over heads of `function(logits)`, averaged inside each head: a value per picture."""
        total = sum(weight * function(logits.float()).mean(1) for logits, weight in zip(self.logits, self.weights, strict=True))
        return total / sum(self.weights)


@dataclass(frozen=True)
class Now:
    """The only clock: real pictures shown to D so far, over all processes."""

    images: int
    step: int = 0  # optimizer steps taken, images divided by the batch
    stage: Stage | None = None


@dataclass(frozen=True)
class Batch:
    """Captioned pictures. `names` are each picture's first caption, `captions` the ones drawn for this visit."""

    images: Float[Tensor, "b 3 r r"]
    captions: list[str]
    names: list[str]
    labels: Int[Tensor, " b"] | None = None
    replaced: int = 0  # broken samples that others stand in for

    def __len__(self) -> int:
        return len(self.captions)

    def split(self, size: int) -> Sequence[Batch]:
        """Micro-batches of at most `size` pictures."""
        cuts = [slice(start, start + size) for start in range(0, len(self), size)]
        return [Batch(self.images[c], self.captions[c], self.names[c], None if self.labels is None else self.labels[c]) for c in cuts]
