"""Samples of shards to batches: exact resume from one integer, equal batches on every rank.

Which samples a step reads, and which of an image's captions it takes, depends on (seed, position) alone: not on the number of processes,
workers or restarts. A broken sample is replaced by its successor, whatever its caption, and counted.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from t2igan.data.images import decode, to_signed
from t2igan.data.order import CaptionGroups, hashed, shuffled
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.types import REACH, Batch, Caption

MAX_BROKEN_RUN = 100  # broken samples in a row after which reading fails


class Visit(NamedTuple):
    """What one position of the training reads: a sample, and one of its captions or none."""

    number: int
    pick: int
    left_out: bool

    def caption(self, captions: list[str], sample_id: int) -> Caption:
        return Caption("" if self.left_out else captions[self.pick % len(captions)], captions[0], sample_id)


class TrainingBatches(Dataset):
    """A position in the training to this process's part of the batch that begins there.

    Args:
        size: px of the images.
        batch: images per step over all processes, a multiple of `world`; or those of the step that begins at a position.
        images_per_caption: this many consecutive images share their primary caption, as far as the data set has so many of it
            (CaptionGroups); half of these groups, by chance, show it on all their images, the others any caption of each image.
        caption_dropout: share of the captions that are left out.
        mirror: whether half of the visits, by chance, show images mirrored.
        stream: batches of another stream are in another order and take other captions.
    """

    def __init__(
        self,
        shards: Shards,
        size: int,
        batch: int | Callable[[int], int],
        seed: int,
        rank: int = 0,
        world: int = 1,
        caption_dropout: float = 0.0,
        mirror: bool = False,
        stream: int = 0,
        images_per_caption: int = 1,
    ):
        if isinstance(batch, int) and batch % world:
            raise UserError(f"training.batch {batch} cannot be shared equally by {world} processes; make it a multiple of {world}")
        self.shards, self.size, self.rank, self.world, self.batch = shards, size, rank, world, batch
        self.seed = seed if stream == 0 else int(hashed(seed, stream, 5) >> np.uint64(1))
        self.caption_dropout, self.mirror, self.group = caption_dropout, mirror, images_per_caption
        if self.group == 1:
            self.order: Callable[[np.ndarray], np.ndarray] = partial(shuffled, size=len(shards), seed=self.seed)
        elif len(shards) < self.group:
            raise UserError(f"data.images_per_caption is {self.group}, the shards hold {len(shards)} images; choose a smaller one")
        else:
            self.order = CaptionGroups(shards.caption_numbers, self.group, self.seed)

    def __getitem__(self, position: int) -> Batch:
        batch = self.batch if isinstance(self.batch, int) else self.batch(position)
        own = batch // self.world
        positions = position + (self.rank * own + np.arange(own + min(REACH, batch - own))) % batch  # its own, then the next ones
        visits = self._visits(positions)
        mirrored = self.mirror & ((hashed(self.seed, positions[:own], 3) & np.uint64(1)) == 1)
        images, found, num_replaced = [], [], 0
        for visit, flip in zip(visits[:own], mirrored, strict=True):
            record, image, skipped = self._read(visit.number)
            images.append(image.flip(-1) if flip else image)
            found.append(visit.caption(record.captions, (visit.number + skipped) % len(self.shards)))
            num_replaced += skipped
        captions, primary, sample_ids = ([getattr(caption, name) for caption in found] for name in ("text", "primary", "sample_id"))
        pixels, after = to_signed(torch.stack(images)), self._captions(visits[own:])
        return Batch(pixels, captions, primary, sample_ids, torch.from_numpy(positions[:own]), num_replaced, after)

    def _visits(self, positions: np.ndarray) -> list[Visit]:
        numbers = self.order(positions)
        groups = positions // self.group
        picks = hashed(self.seed, positions, 1)
        if self.group > 1:
            picks = np.where(hashed(self.seed, groups, 4) & np.uint64(1), picks, np.uint64(0))
        left_out = hashed(self.seed, groups, 2) < self.caption_dropout * 2.0**64
        return [Visit(*drawn) for drawn in zip(numbers.tolist(), picks.tolist(), left_out.tolist(), strict=True)]

    def _captions(self, visits: list[Visit]) -> list[Caption]:
        """The captions of visits that other processes make; those that cannot be read are left out."""
        found = []
        for visit in visits:
            with contextlib.suppress(OSError, ValueError):
                found.append(visit.caption(self.shards.captions(visit.number), visit.number))
        return found

    def _read(self, number: int):
        tries = min(MAX_BROKEN_RUN, len(self.shards))
        for skipped in range(tries):
            try:
                record = self.shards.read((number + skipped) % len(self.shards))
                return record, decode(record.image, self.size), skipped
            except (OSError, ValueError) as error:
                last = error
        whole = tries == len(self.shards)
        which = f"all {tries} samples are broken" if whole else f"{tries} samples in a row are broken, from sample {number} on"
        raise UserError(f"{which} ({last}); run data_prep/check.py on the shards")


class PairedBatches(Dataset):
    """A position in the training to (the batch of D's half, the batch of G's half)."""

    def __init__(self, discriminator: TrainingBatches, generator: TrainingBatches):
        self.halves = discriminator, generator

    def __getitem__(self, position: int) -> tuple[Batch, Batch]:
        first, second = (half[position] for half in self.halves)
        return first, second


def as_read(batch):
    """What a data set returns, unchanged; the loader's own conversion would make a list of a pair."""
    return batch


def batches(dataset: Dataset, positions: Sequence[int], workers: int = 0) -> Iterator:
    """The batches at these positions in order, decoded ahead by `workers` processes."""
    options = {"batch_size": None, "collate_fn": as_read, "num_workers": workers, "persistent_workers": False}
    try:
        yield from DataLoader(dataset, sampler=positions, **options)
    except UserError as error:  # a worker's comes wrapped in its traceback
        raise UserError(str(error).strip().splitlines()[-1].removeprefix(f"{UserError.__module__}.UserError: ")) from None
