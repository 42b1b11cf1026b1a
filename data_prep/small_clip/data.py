"""Captioned shards to images and captions in memory."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from small_clip.fills import Fill
from t2igan.data.images import decode
from t2igan.data.order import hashed
from t2igan.data.shards import Shards
from t2igan.errors import UserError

MAX_IMAGES = 100_000  # held in memory; of a larger data set an even sample

Tick = Callable[[int, int], None]  # called with (done, total)


@dataclass
class CaptionedImages:
    """A data set in memory; captions are numbers, positions in `captions`."""

    pixels: UInt8[Tensor, "n 3 r r"]
    captions: list[str]  # distinct, those of recoloured images at the end
    captions_of: list[list[int]]  # per image: its captions, the primary one first
    skipped: int = 0  # broken samples
    fills: dict[int, Fill] = field(default_factory=dict)  # of the images that can be recoloured
    recolored: dict[int, dict[str, list[int]]] = field(default_factory=dict)  # image -> colour word -> the captions it then has
    primary_captions: list[int] = field(init=False)  # distinct
    other_captions: list[list[int]] = field(init=False)  # per image: not its own, but of images with its primary caption

    def __post_init__(self):
        self.primary_captions = sorted({own[0] for own in self.captions_of})
        shared = defaultdict(set)
        for image, own in enumerate(self.captions_of):
            shared[own[0]].update(own, *self.recolored.get(image, {}).values())
        self.other_captions = [sorted(shared[own[0]].difference(own)) for own in self.captions_of]


def divide(images: CaptionedImages, share: float) -> tuple[CaptionedImages, CaptionedImages]:
    """(most images, a share of them by a hash of their numbers); both know the captions of all."""
    numbers = np.arange(len(images.captions_of))
    apart = hashed(0, numbers) < np.uint64(share * 2**64)
    found = []
    for rows in (numbers[~apart], numbers[apart]):
        captions_of = [images.captions_of[number] for number in rows]
        found.append(CaptionedImages(images.pixels[torch.from_numpy(rows)], images.captions, captions_of, images.skipped))
    return found[0], found[1]


def read_images(shards: Shards, size: int, tick: Tick = lambda done, total: None) -> CaptionedImages:
    """All images (beyond MAX_IMAGES an even sample) at `size` px.

    Raises:
        UserError: fewer than two distinct primary captions.
    """
    numbers = np.linspace(0, len(shards) - 1, min(len(shards), MAX_IMAGES)).astype(int).tolist()
    pixels, number_of, captions_of, skipped = [], {}, [], 0
    for done, number in enumerate(numbers, 1):
        try:
            record = shards.read(number)
            pixels.append(decode(record.image, size))
            captions_of.append([number_of.setdefault(caption, len(number_of)) for caption in dict.fromkeys(record.captions)])
        except (OSError, ValueError):
            skipped += 1
        tick(done, len(numbers))
    distinct = len({own[0] for own in captions_of})
    if not captions_of and skipped:
        raise UserError("a CLIP learns which caption fits an image, and no sample of these shards has an image with a caption")
    if distinct < 2:
        found = f"{len(captions_of)} readable images with {distinct} distinct primary captions"
        raise UserError(f"a CLIP learns which caption fits an image, but these shards have {found}; give shards with at least 2")
    return CaptionedImages(torch.stack(pixels), list(number_of), captions_of, skipped)
