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
class PartConfig:
    """A section of a recipe."""

    def check(self, resolution: int) -> None:
        """Raises ValueError, a sentence that begins with the field, where numbers of this section cannot belong together."""


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
    """What a text encoder, or the learned layers after it, says of each prompt: a vector per token and one for the whole.

    `drawing` is, in training, which of several drawings the prompt's picture is (training/drawings.py): its mode + 1, or 0 where that is
    open or the prompt says it. `attention_bias`, where given, is added to every attention logit of a word: 0 counts it whole, -inf not at all.
    """

    local: Float[Tensor, "b t token_dim"]
    pooled: Float[Tensor, "b text_dim"]
    source: Tokens
    drawing: Int[Tensor, " b"] | None = None
    attention_bias: Float[Tensor, "b t"] | None = None

    def __getitem__(self, rows) -> TextDescriptors:
        optional = (None if x is None else x[rows] for x in (self.drawing, self.attention_bias))
        return TextDescriptors(self.local[rows], self.pooled[rows], self.source[rows], *optional)

    def __len__(self) -> int:
        return len(self.pooled)

    def to(self, device) -> TextDescriptors:
        optional = (None if x is None else x.to(device) for x in (self.drawing, self.attention_bias))
        return TextDescriptors(self.local.to(device), self.pooled.to(device), self.source.to(device), *optional)

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
    def finest(self) -> Float[Tensor, "b 3 h w"]:
        return self.levels[0]

    def map(self, function) -> ImagePyramid:
        return replace(self, levels=tuple(function(level) for level in self.levels))

    def detach(self) -> ImagePyramid:
        return self.map(Tensor.detach)


@dataclass(frozen=True)
class Fake:
    """Generated pictures with the styles that synthesis used."""

    pyramid: ImagePyramid
    styles: Float[Tensor, "b l style_dim"]

    def detach(self) -> Fake:
        return Fake(self.pyramid.detach(), self.styles.detach())


@dataclass(frozen=True)
class Verdict:
    """Logits, high for real: one tensor per head, and its weight in every loss.

    The first `own` heads (None: all) are the discriminator's own, by whose weights all are measured; heads on frozen networks follow.
    """

    logits: tuple[Float[Tensor, "b _"], ...]
    weights: tuple[float, ...]
    own: int | None = None

    def mean(self, function) -> Float[Tensor, " b"]:
        """Weighted mean over heads of `function(logits)`, averaged inside each head: a value per picture. Heads after `own` add to it."""
        total = sum(weight * function(logits.float()).mean(1) for logits, weight in zip(self.logits, self.weights, strict=True))
        return total / sum(self.weights[: self.own])

    def joined(self, logits: Sequence[Float[Tensor, "b _"]], weight: float) -> Verdict:
        """With further heads that together weigh `weight` times the own ones."""
        each = weight * sum(self.weights) / len(logits)
        return Verdict((*self.logits, *logits), (*self.weights, *[each] * len(logits)), len(self.logits))

    def own_heads(self) -> Verdict:
        return Verdict(self.logits[: self.own], self.weights[: self.own])


@dataclass(frozen=True)
class TrainingTime:
    """The only clock: real pictures shown to D so far, over all processes."""

    images: int
    step: int = 0  # optimizer steps taken, images divided by the batch
    stage: Stage | None = None


@dataclass(frozen=True)
class Batch:
    """Captioned pictures. `names` are each picture's first caption, `captions` the ones drawn for this visit, `samples` their numbers."""

    images: Float[Tensor, "b 3 r r"]
    captions: list[str]
    names: list[str]
    samples: list[int]
    replaced: int = 0  # broken samples that others stand in for

    def __len__(self) -> int:
        return len(self.captions)

    def split(self, size: int) -> Sequence[Batch]:
        """Micro-batches of at most `size` pictures."""
        cuts = [slice(start, start + size) for start in range(0, len(self), size)]
        return [Batch(self.images[c], self.captions[c], self.names[c], self.samples[c]) for c in cuts]
