"""Webdataset tar shards to batches: random access through an index, exact resume from one integer, equal batches on every rank.

Which samples a step reads, and which of an image's captions it takes, depends on (seed, position) alone: not on the number of processes,
workers or restarts. A broken sample is replaced by its successor and counted.
"""

import contextlib
import glob
import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from t2igan.data.images import decode, to_signed
from t2igan.data.index import SharedIndex, image_members, index_path, scan_tar
from t2igan.data.order import hashed, shuffled
from t2igan.errors import UserError
from t2igan.plain_text import check_encodable, decode_text, is_invisible, parse_json
from t2igan.types import REACH, Batch, Caption

MAX_BROKEN_RUN = 100  # broken samples in a row after which reading fails
MAX_CAPTION_SAMPLES = 20_000  # read for the data set's primary captions; of a larger data set an even sample


def find_shards(pattern: str) -> list[Path]:
    """A folder, a file, a glob or a {00000..00099} pattern to tar files in order.

    Raises:
        UserError: there is no shard.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(path.glob("*.tar"))
    else:
        parts = _expand(str(path))
        found = [Path(name) for part in parts for name in sorted(glob.glob(part))]
        if found and len(found) < len(parts):
            warnings.warn(f"{len(parts) - len(found)} of the {len(parts)} shards {pattern} are missing", stacklevel=2)
    if not found:
        inside = sorted(p.parent.name for p in path.glob("*/*.tar")) if path.is_dir() else []
        hint = f"; did you mean {path / inside[0]}?" if inside else "; data_prep/emoji.py or data_prep/folder.py make them"
        raise UserError(f"no .tar shards at {pattern}{hint}")
    return found


def _expand(pattern: str) -> list[str]:
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not match:
        return [pattern]
    first, last = match.groups()
    numbers = range(int(first), int(last) + 1)
    return [f"{pattern[: match.start()]}{number:0{len(first)}d}{pattern[match.end() :]}" for number in numbers]


@dataclass(frozen=True)
class Record:
    """One sample as stored."""

    image: bytes
    captions: list[str]
    meta: dict


def parse_captions(txt: bytes, meta: bytes) -> tuple[list[str], dict]:
    """A sample's captions without invisible ones, and its whole .json.

    They are the .json's list `captions`, else the .txt, else the .json's `caption`, where img2dataset puts it.

    Raises:
        ValueError: the .json is not JSON, the .txt is not text, or a caption is neither.
    """
    record = parse_record(meta) if meta else {}
    captions = record.get("captions")
    if not (isinstance(captions, list) and captions):
        captions = [decode_part("txt", txt) if txt else record.get("caption")]
    for caption in captions:
        if not isinstance(caption, str | None):
            raise ValueError(f"its .json has a caption that is no text: {caption!r:.40}")
        check_encodable(caption or "")
    return [caption for caption in captions if caption and not is_invisible(caption)], record


def parse_record(data: bytes) -> dict:
    """A sample's .json; one that holds no object is empty."""
    text = decode_part("json", data)
    try:
        record = parse_json(text)
    except ValueError as error:
        raise ValueError(f"its .json is not JSON ({error})") from None
    return record if isinstance(record, dict) else {}


def decode_part(extension: str, data: bytes) -> str:
    try:
        return decode_text(data)
    except ValueError as error:
        raise ValueError(f"its .{extension} is {error}") from None


class Shards:
    """Samples of a set of shards by number, read at random through the index.

    Args:
        captioned: whether a sample without a caption is broken; else it has an empty one, for systems without text.
    """

    def __init__(self, pattern: str, captioned: bool = True):
        self.captioned = captioned
        self.files = find_shards(pattern)
        self.passed_over: Counter = Counter()
        indices = [self._index(file) for file in self.files]
        self.starts = np.cumsum([0] + [len(index) for index in indices])
        self.index = SharedIndex(np.concatenate(indices))
        if len(self) == 0:
            raise UserError(f"the shards at {pattern} hold no image; each sample needs an image member beside its .txt or .json")
        if unread := image_members(self.passed_over):
            why = f"a name ends at its first dot, and {next(iter(unread))} is no ending"
            warnings.warn(f"{sum(unread.values())} images of {pattern} are not read: {why}", stacklevel=2)

    def _index(self, file: Path) -> np.ndarray:
        stored = index_path(file)
        if stored.is_file() and stored.stat().st_mtime >= file.stat().st_mtime:
            try:
                index = np.load(stored)
                if len(index) and (index[:, ::2] + index[:, 1::2]).max() <= file.stat().st_size:
                    return index
            except (OSError, ValueError, IndexError, EOFError):  # half-written, or no index
                pass
        index, passed_over = scan_tar(file)
        self.passed_over += passed_over
        return index

    def __len__(self) -> int:
        return len(self.index.rows)

    @cached_property
    def _descriptors(self) -> dict[int, int]:
        return {}

    def read(self, number: int) -> Record:
        """One sample. Raises OSError or ValueError if it is broken."""
        image, *text = self._members(number, (0, 1, 2))
        return Record(image, *self._captions(number, *text))

    def captions(self, number: int) -> list[str]:
        """A sample's captions, without its image. Raises OSError or ValueError if they are broken."""
        return self._captions(number, *self._members(number, (1, 2)))[0]

    def _members(self, number: int, columns: tuple[int, ...]) -> tuple[bytes, ...]:
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        if shard not in self._descriptors:
            if len(self._descriptors) >= 128:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            self._descriptors[shard] = os.open(self.files[shard], os.O_RDONLY)
        row = self.index.rows[number]
        return tuple(os.pread(self._descriptors[shard], int(row[2 * i + 1]), int(row[2 * i])) for i in columns)

    def _captions(self, number: int, txt: bytes, meta: bytes) -> tuple[list[str], dict]:
        captions, record = parse_captions(txt, meta)
        if not captions and self.captioned:
            raise ValueError(f"sample {number} has no caption")
        return captions or [""], record

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_descriptors"}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of where every sample lies and how long it is: the same for moved or copied shards, not for other images."""
        return hashlib.sha256(self.index.rows.tobytes() + self.starts.tobytes()).hexdigest()

    def primary_captions(self) -> list[str]:
        """The distinct primary captions (the first one of each sample), sorted; of a large data set those of an even sample."""
        numbers = np.linspace(0, len(self) - 1, min(len(self), MAX_CAPTION_SAMPLES)).astype(int)
        found = set()
        for number in numbers:
            try:
                found.add(self.captions(int(number))[0])
            except (OSError, ValueError):
                continue
        return sorted(found)


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
        caption_dropout: share of the captions that are left out.
        mirror: whether every second visit to an image, by chance, shows it mirrored.
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
    ):
        if isinstance(batch, int) and batch % world:
            raise UserError(f"training.batch {batch} cannot be shared equally by {world} processes; make it a multiple of {world}")
        self.shards, self.size, self.rank, self.world, self.batch = shards, size, rank, world, batch
        self.seed = seed if stream == 0 else int(hashed(seed, stream, 5) >> np.uint64(1))
        self.caption_dropout, self.mirror = caption_dropout, mirror

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
        numbers = shuffled(positions, len(self.shards), self.seed)
        picks = hashed(self.seed, positions, 1)
        left_out = hashed(self.seed, positions, 2) < self.caption_dropout * 2.0**64
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
