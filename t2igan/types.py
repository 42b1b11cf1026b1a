"""The vocabulary: what one room hands to the next.

Letters in shapes: `b` batch, `t` token, `l` style (one per stage), `r` square side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class CheckContext:
    """What a section of a recipe is checked against: the facts about the other parts that it may need."""

    resolution: int
    levels: tuple[int, ...]  # px, the sides of the images that synthesis makes, finest first
    token_dim: int = 1  # width of the frozen local text descriptors; 0: the system has no text
    num_classes: int = 0  # of labels whose one-hot vector is the pooled descriptor; 0: it is none
    any_side: bool = False  # whether D takes images of every side
    images_per_caption: int = 1  # consecutive images that share their first caption


@dataclass(frozen=True)
class PrepareContext:
    """What parts with frozen networks may use before training.

    With `weights` false, frozen networks take random weights and read no file but a configuration: their shapes are all that counts.
    """

    device: object
    primary_captions: Callable[[], list[str]]  # reads the distinct first captions of the data set
    cache: Path | None  # where features of captions are kept on disk
    weights: bool = True

    def load(self, network: nn.Module) -> None:
        """Loads a frozen network, one with both ways to load, and moves it to the device."""
        network.load_pretrained() if self.weights else network.load_architecture()
        network.to(self.device)


@dataclass(frozen=True)
class PartConfig:
    """A section of a recipe."""

    def check(self, context: CheckContext) -> None:
        """Raises ValueError, a sentence that begins with the field, where numbers of this section contradict each other or the context."""


@dataclass(frozen=True)
class TextDims:
    """Widths of the text descriptors: of each token's and of the pooled one. 0: the system has no text."""

    token: int
    pooled: int
    config: PartConfig | None = None  # the section `text`, for networks that hold a tower of their own


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
    """What a text encoder, or the learned layers after it, makes of each prompt: a vector per token and one for the whole.

    `cluster` is, in training, the cluster label of the prompt's image (training/clusters.py): 1 to the number of clusters, or 0 where the
    image has none or the prompt determines it. `attention_bias`, where given, is added to every attention logit of a token: 0 leaves the
    token as it is, -inf removes it.
    """

    local: Float[Tensor, "b t token_dim"]
    pooled: Float[Tensor, "b text_dim"]
    source: Tokens
    cluster: Int[Tensor, " b"] | None = None
    attention_bias: Float[Tensor, "b t"] | None = None

    def __getitem__(self, rows) -> TextDescriptors:
        return self._each(lambda x: x[rows])

    def __len__(self) -> int:
        return len(self.pooled)

    def to(self, device) -> TextDescriptors:
        return self._each(lambda x: x.to(device))

    def repeat(self, times: int) -> TextDescriptors:
        """Each prompt `times` times in a row."""
        return self[torch.arange(len(self), device=self.pooled.device).repeat_interleave(times)]

    def followed_by(self, others: TextDescriptors) -> TextDescriptors:
        """These prompts, then the others, from the same encoder."""
        mine, theirs = ({f.name: getattr(text, f.name) for f in fields(self)} for text in (self, others))
        source = Tokens(torch.cat([self.source.ids, others.source.ids]), torch.cat([self.source.mask, others.source.mask]))
        joined = {name: None if value is None else torch.cat([value, theirs[name]]) for name, value in mine.items() if name != "source"}
        return TextDescriptors(source=source, **joined)

    def _each(self, function) -> TextDescriptors:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return TextDescriptors(**{name: None if value is None else function(value) for name, value in values.items()})


@dataclass(frozen=True)
class ImagePyramid:
    """The same images at falling resolutions in [-1, 1], finest first."""

    levels: tuple[Float[Tensor, "b 3 _ _"], ...]
    fade: float = 1.0  # the share of the finest side in images that grow; the rest is the side before, enlarged
    own_loss: Float[Tensor, ""] | None = None  # of the network that made them, on itself: how evenly its experts are used

    @property
    def finest(self) -> Float[Tensor, "b 3 h w"]:
        return self.levels[0]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.levels[0])

    def map(self, function) -> ImagePyramid:
        return replace(self, levels=tuple(function(level) for level in self.levels))

    def detach(self) -> ImagePyramid:
        return self.map(Tensor.detach)

    def leaves(self) -> ImagePyramid:
        """The same images as new leaves of the graph, for penalties on the gradient with respect to them."""
        return self.map(lambda level: level.detach().requires_grad_(True))


@dataclass(frozen=True)
class Fake:
    """Generated images with the styles that synthesis used."""

    pyramid: ImagePyramid
    styles: Float[Tensor, "b l style_dim"]

    def detach(self) -> Fake:
        return Fake(self.pyramid.detach(), self.styles.detach())


@dataclass(frozen=True)
class ImageSet:
    """Images that the discriminator sees together, and the captions that it scores them against.

    `captions` has an entry for every time that the images are scored: for each image the row of the text descriptors it is held against.
    Sets of the same `view` get the same random augmentation.
    """

    pyramid: ImagePyramid
    captions: tuple[Int[Tensor, " b"], ...]
    view: str = ""

    def __len__(self) -> int:
        return len(self.pyramid)


@dataclass(frozen=True)
class Verdict:
    """Logits, high for real: one tensor per head, and its weight in every loss.

    The first `num_primary` heads (None: all) belong to the discriminator itself, the others to frozen networks beside it. Losses are
    normalised by the weights of the primary heads.
    """

    logits: tuple[Float[Tensor, "b _"], ...]
    weights: tuple[float, ...]
    num_primary: int | None = None
    classes: Float[Tensor, "b classes"] | None = None  # logits of the class that D takes each image for; None: it does not say

    def mean(self, function) -> Float[Tensor, " b"]:
        """Weighted mean over heads of `function(logits)`, averaged inside each head: a value per image. Other heads come on top."""
        total = sum(weight * function(logits.float()).mean(1) for logits, weight in zip(self.logits, self.weights, strict=True))
        return total / sum(self.weights[: self.num_primary])

    def minus(self, other: Verdict) -> Verdict:
        """The difference of two verdicts, logit by logit: the relativistic critic."""
        return replace(self, logits=tuple(a - b for a, b in zip(self.logits, other.logits, strict=True)))

    def with_heads(self, logits: Sequence[Float[Tensor, "b _"]], weight: float) -> Verdict:
        """With further heads that together weigh `weight` times the primary ones."""
        each = weight * sum(self.weights) / len(logits)
        return Verdict((*self.logits, *logits), (*self.weights, *[each] * len(logits)), len(self.logits), self.classes)

    def primary(self) -> Verdict:
        """Without the heads on frozen networks."""
        return Verdict(self.logits[: self.num_primary], self.weights[: self.num_primary])


@dataclass(frozen=True)
class Stage:
    """How far a growing system has grown: the side of its images in px, and the share of the new layers in them."""

    side: int
    fade: float = 1.0  # 0: the system that ends one side before; 1: the one that ends at `side`


@dataclass(frozen=True)
class TrainingTime:
    """The only clock: real images shown to D so far, over all processes."""

    images: int
    step: int = 0  # optimizer steps taken
    batch: int = 1  # images of this step, over all processes
    stage: Stage | None = None  # of growth; None where nothing grows


REACH = 8  # images of a step among whose captions one of another thing is looked for


@dataclass(frozen=True)
class Caption:
    """The caption drawn for a visit to an image, the image's first caption, and its number in the data set."""

    text: str
    primary: str
    sample_id: int


@dataclass(frozen=True)
class Batch:
    """Captioned images.

    `primary_captions` are each image's first caption, `captions` the ones drawn for this visit, `sample_ids` the images' numbers in the
    data set, `positions` their places in the training: the number of images seen before each. `following` are captions of the next images
    of the step, which other processes or micro-batches hold; after the step's last image comes its first.
    """

    images: Float[Tensor, "b 3 r r"]
    captions: list[str]
    primary_captions: list[str]
    sample_ids: list[int]
    positions: Int[Tensor, " b"]
    num_replaced: int = 0  # broken samples that others stand in for
    following: Sequence[Caption] = ()

    def __len__(self) -> int:
        return len(self.captions)

    def split(self, size: int) -> Sequence[Batch]:
        """Micro-batches of at most `size` images."""
        return [self._part(start, start + size) for start in range(0, len(self), size)]

    def _part(self, start: int, stop: int) -> Batch:
        mine = [Caption(*values) for values in zip(self.captions, self.primary_captions, self.sample_ids, strict=True)]
        following = [*mine[stop:], *self.following, *mine[:start]]
        images, positions = self.images[start:stop], self.positions[start:stop]
        captions, primary_captions = self.captions[start:stop], self.primary_captions[start:stop]
        return Batch(images, captions, primary_captions, self.sample_ids[start:stop], positions, following=following)
