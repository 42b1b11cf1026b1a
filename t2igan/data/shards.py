"""Webdataset tar shards to samples: random access through an index."""

import contextlib
import glob
import hashlib
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from t2igan.data.index import SharedIndex, describes, fits, image_members, index_path, scan_tar
from t2igan.errors import UserError
from t2igan.plain_text import check_encodable, decode_text, is_invisible, parse_json

MAX_GROUPED = 1_000_000  # samples whose captions are all read, to show images of one caption in a row
PAUSE, PATIENCE = 0.5, 60.0  # seconds: before a shard that cannot be read is opened again, and how long that is not repeated
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
        check_caption: raises ValueError for a caption that makes its sample a broken one.
    """

    def __init__(self, pattern: str, captioned: bool = True, check_caption: Callable[[str], None] | None = None):
        self.captioned, self.check_caption = captioned, check_caption
        self.files = find_shards(pattern)
        self.passed_over: Counter = Counter()
        self.index = SharedIndex(self._index(file) for file in self.files)
        self.starts = np.cumsum([0, *self.index.lengths])
        if len(self) == 0:
            raise UserError(f"the shards at {pattern} hold no image; each sample needs an image member beside its .txt or .json")
        if unread := image_members(self.passed_over):
            why = f"a name ends at its first dot, and {next(iter(unread))} is no ending"
            warnings.warn(f"{sum(unread.values())} images of {pattern} are not read: {why}", stacklevel=2)

    def _index(self, file: Path) -> np.ndarray:
        stored = index_path(file)
        if stored.is_file():
            try:
                index = np.load(stored)
                newer = stored.stat().st_mtime >= file.stat().st_mtime  # a copy or an upload may turn it round
                if fits(index, file) and (newer or describes(index, file)):
                    return index
            except (OSError, ValueError, IndexError, EOFError):  # half-written, or no index
                pass
            what = f"{stored} is older than its shard, or another's; the shard is read from end to end"
            warnings.warn(f"{what} (data_prep/check.py --index writes it anew)", stacklevel=2)
        index, passed_over = scan_tar(file)
        self.passed_over += passed_over
        return index

    def __len__(self) -> int:
        return len(self.index.rows)

    @cached_property
    def _descriptors(self) -> dict[int, int]:
        return {}

    @cached_property
    def _failed(self) -> dict[int, float]:
        """When each shard that could not be read failed last."""
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
        try:
            return self._pieces(shard, self.index.rows[number], columns)
        except OSError:
            self._close(shard)  # of a file system that has been mounted anew, say: it never works again
        if time.monotonic() - self._failed.get(shard, -PATIENCE) >= PATIENCE:
            time.sleep(PAUSE)
        try:
            return self._pieces(shard, self.index.rows[number], columns)
        except OSError:
            self._close(shard)
            self._failed[shard] = time.monotonic()
            raise

    def _close(self, shard: int) -> None:
        if shard in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(self._descriptors.pop(shard))

    def _pieces(self, shard: int, row: np.ndarray, columns: tuple[int, ...]) -> tuple[bytes, ...]:
        if shard not in self._descriptors:
            if len(self._descriptors) >= 128:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            self._descriptors[shard] = os.open(self.files[shard], os.O_RDONLY)
        return tuple(os.pread(self._descriptors[shard], int(row[2 * i + 1]), int(row[2 * i])) for i in columns)

    def _captions(self, number: int, txt: bytes, meta: bytes) -> tuple[list[str], dict]:
        captions, record = parse_captions(txt, meta)
        if not captions and self.captioned:
            raise ValueError(f"sample {number} has no caption")
        for caption in captions if self.check_caption else ():
            self.check_caption(caption)
        return captions or [""], record

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key not in ("_descriptors", "_failed")}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of where every sample lies and how long it is: the same for moved or copied shards, not for other images."""
        digest = hashlib.sha256(self.index.rows)
        digest.update(self.starts)
        return digest.hexdigest()

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

    @cached_property
    def caption_numbers(self) -> np.ndarray:
        """For each sample a number of its primary caption; broken ones share one. Raises UserError where they are too many to read."""
        if len(self) > MAX_GROUPED:
            raise UserError(f"data.images_per_caption reads every caption, of at most {MAX_GROUPED:,} images; here are {len(self):,}")
        number_of: dict[str | None, int] = {}
        found = np.empty(len(self), np.int64)
        for number in range(len(self)):
            try:
                caption = self.captions(number)[0]
            except (OSError, ValueError):
                caption = None
            found[number] = number_of.setdefault(caption, len(number_of))
        return found
