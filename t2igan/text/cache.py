"""Captions to descriptors, each encoded once: kept in memory and on disk, keyed by encoder, weights and caption."""

import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from t2igan.text.encoder import TextEncoder
from t2igan.types import TextDescriptors, Tokens

MEMORY_BYTES = 1 << 30
ENCODE_BATCH = 64
Row = tuple[Tensor, ...]


def default_cache() -> Path:
    """$T2IGAN_CACHE, else ~/.cache/t2igan."""
    return Path(os.environ.get("T2IGAN_CACHE", "~/.cache/t2igan")).expanduser()


class RowCache:
    """Strings to bytes in one SQLite file. Any number of processes may read and write; a killed writer loses one batch.

    Nothing needs it: after the first error (no permission, a full disk, a file that is no database, a lock held too long) it warns, and
    from then on finds nothing and stores nothing.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.file = folder / f"{fingerprint[:32]}.sqlite"
        self.failed = False
        with self._disabled_by_errors():
            folder.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value BLOB)")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=60)) as database, database:  # commits, then closes
            yield database

    def read(self, keys: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        if self.failed:
            return found
        with self._disabled_by_errors(), self._open() as database:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                found |= dict(database.execute(f"SELECT key, value FROM rows WHERE key IN ({','.join('?' * len(part))})", part))
        return found

    def write(self, rows: dict[str, bytes]) -> None:
        if self.failed:
            return
        with self._disabled_by_errors(), self._open() as database:
            database.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?)", rows.items())

    def remove(self, keys: list[str]) -> None:
        if self.failed:
            return
        with self._disabled_by_errors(), self._open() as database:
            database.executemany("DELETE FROM rows WHERE key = ?", [(key,) for key in keys])

    @contextmanager
    def _disabled_by_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            self.failed = True
            what = f"the cache of text features at {self.file} failed ({error}); going on without it"
            warnings.warn(f"{what}: remove the file, or set T2IGAN_CACHE to another folder", stacklevel=4)


class CaptionCache:
    """Captions to rows of tensors, from memory, else from disk, else from `encode`.

    Memory is emptied before a call if it holds more than MEMORY_BYTES, so it is bounded for any number of captions.

    Args:
        encode: captions to rows; at most ENCODE_BATCH captions at a time.
        pack: a row to the bytes on disk.
        unpack: those bytes to an equal row; ValueError where they are too many or too few.
        disk: None keeps rows in memory only.
    """

    def __init__(
        self,
        encode: Callable[[list[str]], list[Row]],
        pack: Callable[[Row], bytes],
        unpack: Callable[[bytes], Row],
        disk: RowCache | None = None,
    ):
        self.encode, self.pack, self.unpack, self.disk = encode, pack, unpack, disk
        self.rows: dict[str, Row] = {}
        self.bytes = 0

    def __call__(self, captions: list[str]) -> dict[str, Row]:
        """Rows by caption, in the order of first occurrence."""
        if self.bytes > MEMORY_BYTES:
            self.rows.clear()
            self.bytes = 0
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self.rows]
        if missing and self.disk:
            self._remember(self._whole_rows(self.disk, self.disk.read(missing)))
            missing = [caption for caption in missing if caption not in self.rows]
        for start in range(0, len(missing), ENCODE_BATCH):
            part = missing[start : start + ENCODE_BATCH]
            self.store(dict(zip(part, self.encode(part), strict=True)))
        return {caption: self.rows[caption] for caption in captions}

    def _whole_rows(self, disk: RowCache, stored: dict[str, bytes]) -> dict[str, Row]:
        """What was on disk, without rows that were cut off; those are removed there, to be encoded and stored again."""
        rows, broken = {}, []
        for caption, value in stored.items():
            try:
                rows[caption] = self.unpack(value)
            except ValueError:
                broken.append(caption)
        if broken:
            disk.remove(broken)
        return rows

    def store(self, rows: dict[str, Row]) -> None:
        """Keeps rows in memory and on disk."""
        self._remember(rows)
        if self.disk:
            self.disk.write({caption: self.pack(row) for caption, row in rows.items()})

    def _remember(self, rows: dict[str, Row]) -> None:
        self.bytes += sum(value.nbytes for caption, row in rows.items() if caption not in self.rows for value in row)
        self.rows |= rows


class CaptionEncoder:
    """Prompts to TextDescriptors on the CPU, by a text encoder behind a cache. Features are rounded to half precision, cached or not.

    Args:
        encoder: a TextEncoder whose weights are loaded.
        folder: of the cache file; None keeps features in memory only. Encoders that are not `cacheable` use neither.
        device: where the encoder computes.
        max_truncation_warnings: warn about at most this many truncated prompts; None warns about all.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        folder: Path | None = None,
        device: str | torch.device = "cpu",
        max_truncation_warnings: int | None = None,
    ):
        self.encoder, self.device, self.max_truncation_warnings = encoder.to(device), device, max_truncation_warnings
        disk = RowCache(folder, encoder.fingerprint()) if folder and encoder.cacheable else None
        self.cache = CaptionCache(self._encode, self._pack, self._unpack, disk)

    def __call__(self, prompts: list[str]) -> TextDescriptors:
        if not self.encoder.cacheable:
            return self.encoder(self.encoder.tokenize(prompts).to(self.device)).to("cpu")
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.cache.rows]
        rows = self.cache(prompts)
        self._warn_of_truncation([prompt for prompt in new if len(rows[prompt][0]) == self.encoder.max_tokens])
        ids, local, pooled = zip(*(rows[prompt] for prompt in prompts), strict=True)
        lengths = torch.tensor([len(i) for i in ids])
        size = self.encoder.max_tokens
        mask = torch.arange(size) < lengths[:, None]
        padded_ids = torch.stack([F.pad(i, (0, size - len(i))) for i in ids])
        padded_local = torch.stack([F.pad(x, (0, 0, 0, size - len(x))) for x in local])
        return TextDescriptors(padded_local.float(), torch.stack(pooled).float(), Tokens(padded_ids, mask))

    def _warn_of_truncation(self, full: list[str]) -> None:
        """Warns about each prompt that does not fit, with the place where it is cut."""
        for prompt in full:
            if self.max_truncation_warnings == 0:
                return
            read = self.encoder.truncated_prompt(prompt)
            if len(read) < len(prompt):
                shown, missed = read if len(read) <= 60 else f"...{read[-57:]}", prompt[len(read) :].strip()
                warnings.warn(f"prompt cut after {self.encoder.max_tokens} tokens: '{shown}' | not read: '{missed[:60]}'", stacklevel=3)
                self.max_truncation_warnings = None if self.max_truncation_warnings is None else self.max_truncation_warnings - 1

    def _encode(self, prompts: list[str]) -> list[Row]:
        text = self.encoder(self.encoder.tokenize(prompts).to(self.device)).to("cpu")
        lengths = text.source.mask.sum(1).tolist()
        return [
            (text.source.ids[i, :n].clone(), text.local[i, :n].half().clone(), text.pooled[i].half().clone()) for i, n in enumerate(lengths)
        ]

    @staticmethod
    def _pack(row: Row) -> bytes:
        ids, local, pooled = row
        return ids.to(torch.int32).numpy().tobytes() + pooled.numpy().tobytes() + local.numpy().tobytes()

    def _unpack(self, value: bytes) -> Row:
        per_token = 4 + 2 * self.encoder.token_dim
        d = self.encoder.text_dim
        n, rest = divmod(len(value) - 2 * d, per_token)
        if n < 0 or rest:
            raise ValueError(f"a row of {len(value)} bytes")
        ids = torch.from_numpy(np.frombuffer(value, np.int32, n).astype(np.int64))
        pooled = torch.from_numpy(np.frombuffer(value, np.float16, d, 4 * n).copy())
        local = torch.from_numpy(np.frombuffer(value, np.float16, -1, 4 * n + 2 * d).copy()).view(n, -1)
        return ids, local, pooled
