"""A data set to batches of images with the captions that they are contrasted with.

Ours: CLIP contrasts an image with the captions of its batch. Here it is contrasted with the primary captions of the whole data set, and
with captions that share its primary caption but belong to other images (another style, another colour).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from small_clip.config import ClipTraining
from small_clip.data import CaptionedImages
from small_clip.fills import palette
from small_clip.views import change_outlines, distort, shrink
from t2igan.data.images import to_signed

MAX_PRIMARY = 2048  # primary captions in a batch; of a larger data set a fresh sample each time
MAX_OTHER = 24  # other captions of each image in a batch
SHADE = 0.15  # range of the random change to a palette colour


@dataclass(frozen=True)
class ContrastiveBatch:
    """Images, captions, and which caption is true of which image."""

    images: Float[Tensor, "b 3 r r"]
    captions: Int[Tensor, " c"]
    targets: Int[Tensor, " b"]  # per image: the position of its sampled caption
    negatives: Bool[Tensor, "b c"]  # false for every caption that is true of the image


class BatchSampler:
    """Samples batches: each image once an epoch, one of its captions, a random view."""

    def __init__(self, data: CaptionedImages, config: ClipTraining, generator: torch.Generator):
        self.data, self.config, self.generator = data, config, generator
        self.queue: list[int] = []

    def sample(self) -> ContrastiveBatch:
        numbers = self._next_images(min(self.config.batch, len(self.data.pixels)))
        images, true, other = self._recolored(numbers)
        sampled = self._sample_captions(true)
        if self.config.outlines:  # only for primary captions, because another one may name the style
            primary = torch.tensor([caption == own[0] for caption, own in zip(sampled, true, strict=True)])
            images = torch.where(primary[:, None, None, None], change_outlines(images, self.generator), images)
        images = distort(images, self.config.distortion, self.generator)
        if self.config.shrink:
            images = shrink(images, self.config.shrink, self.generator)
        captions = list(dict.fromkeys([*sampled, *(c for more in other for c in more[:MAX_OTHER]), *self._primary_captions()]))
        position = {caption: i for i, caption in enumerate(captions)}
        negatives = torch.ones(len(numbers), len(captions), dtype=torch.bool)
        for row, own in enumerate(true):
            negatives[row, [position[caption] for caption in own if caption in position]] = False
        return ContrastiveBatch(images, torch.tensor(captions), torch.tensor([position[caption] for caption in sampled]), negatives)

    def _next_images(self, count: int) -> list[int]:
        if len(self.queue) < count:
            self.queue += torch.randperm(len(self.data.pixels), generator=self.generator).tolist()
        taken, self.queue = self.queue[:count], self.queue[count:]
        return taken

    def _recolored(self, numbers: list[int]) -> tuple[Float[Tensor, "b 3 r r"], Sequence[list[int]], Sequence[list[int]]]:
        """The images, some in another colour, the captions that are then true of each, and its other captions."""
        images, true, other = to_signed(self.data.pixels[numbers]), [], []
        for row, (number, chance, pick) in enumerate(zip(numbers, *self._uniform(2, len(numbers)), strict=True)):
            true.append(self.data.captions_of[number])
            other.append(self.data.other_captions[number])
            if number in self.data.fills and chance < self.config.recolor:
                choices = self.data.recolored[number]
                word = list(choices)[int(pick * len(choices))]
                shade = SHADE * (torch.rand(3, generator=self.generator) - 0.5)
                images[row] = self.data.fills[number].paint(images[row], palette(word) + shade)
                true[-1], other[-1] = choices[word], other[-1] + true[-1]
        return images, true, other

    def _sample_captions(self, true: Sequence[list[int]]) -> list[int]:
        """One caption for each image: its primary one, or any."""
        chances, picks = self._uniform(2, len(true))
        rows = zip(true, chances, picks, strict=True)
        return [own[int(pick * len(own))] if chance < self.config.any_caption else own[0] for own, chance, pick in rows]

    def _primary_captions(self) -> list[int]:
        every = self.data.primary_captions
        return every if len(every) <= MAX_PRIMARY else [every[int(pick * len(every))] for pick in self._uniform(1, MAX_PRIMARY)[0]]

    def _uniform(self, *shape: int) -> list[list[float]]:
        return torch.rand(*shape, generator=self.generator).tolist()
