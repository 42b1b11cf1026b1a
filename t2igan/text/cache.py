"""Captions to descriptors, encoded once in a lifetime: in memory, then on disk, keyed by encoder, weights and caption."""

import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import torch

from t2igan.errors import UserError
from t2igan.text.encoder import TextEncoder
from t2igan.types import TextDescriptors, Tokens

MEMORY_BYTES = 1 << 30
ENCODE_BATCH = 64


def default_cache() -> Path:
    """$T2IGAN_CACHE, else ~/.cache/t2igan."""
    return Path(os.environ.get("T2IGAN_CACHE", "~/.cache/t2igan")).expanduser()


class RowCache:
    """Strings to tuples of arrays, in one SQLite file: any number of processes may read and write, a killed writer loses one batch."""

    def __init__(self, folder: Path, fingerprint: str):
        self.file = folder / f"{fingerprint[:32]}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value BLOB)")
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"no cache of text features at {self.file} ({error}); remove it, or set T2IGAN_CACHE") from None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=60)) as database, database:  # commits, then closes
            yield database

    def read(self, keys: list[str]) -> dict[str, bytes]:
        found = {}
        with self._open() as database:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                found |= dict(database.execute(f"SELECT key, value FROM rows WHERE key IN ({','.join('?' * len(part))})", part))
        return found

    def write(self, rows: dict[str, bytes]) -> None:
        with self._open() as database:
            database.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?)", rows.items())


class CaptionEncoder:
    """Prompts to TextDescriptors with a text encoder behind a cache. Features are rounded to half precision, cached or not.

    Args:
        encoder: a TextEncoder whose weights are loaded.
        folder: where the cache file lies; None keeps it in memory.
        device: where the encoder computes; what it says stays on the CPU.
        max_truncation_warnings: how many prompts that are longer than what is read are warned of; None: every one.
    """

    def __init__(self, encoder: TextEncoder, folder: Path | None = None, device: str | torch.device = "cpu", max_truncation_warnings: int | None = None):
        self.disk = RowCache(folder, encoder.fingerprint()) if folder else None
        self.encoder, self.device, self.max_truncation_warnings = encoder.to(device), device, max_truncation_warnings
        self.memory: dict[str, tuple[torch.Tensor, ...]] = {}
        self.memory_bytes = 0

    def __call__(self, prompts: list[str]) -> TextDescriptors:
        distinct = dict.fromkeys(prompts)
        if self.memory_bytes > MEMORY_BYTES:
            self.memory.clear()
            self.memory_bytes = 0
        missing = [prompt for prompt in distinct if prompt not in self.memory]
        if missing:
            self._fetch(missing)
        ids, local, pooled = zip(*(self.memory[prompt] for prompt in prompts), strict=True)
        lengths = torch.tensor([len(i) for i in ids])
        size = self.encoder.max_tokens
        mask = torch.arange(size) < lengths[:, None]
        pad = [size - len(i) for i in ids]
        padded_ids = torch.stack([torch.nn.functional.pad(i, (0, p)) for i, p in zip(ids, pad, strict=True)])
        padded_local = torch.stack([torch.nn.functional.pad(x, (0, 0, 0, p)) for x, p in zip(local, pad, strict=True)])
        return TextDescriptors(padded_local.float(), torch.stack(pooled).float(), Tokens(padded_ids, mask))

    def _fetch(self, prompts: list[str]) -> None:
        found = self.disk.read(prompts) if self.disk else {}
        self.memory |= {prompt: self._unpack(value) for prompt, value in found.items()}
        missing = [prompt for prompt in prompts if prompt not in found]
        for start in range(0, len(missing), ENCODE_BATCH):
            part = missing[start : start + ENCODE_BATCH]
            rows = dict(zip(part, self._encode(part), strict=True))
            self.memory |= rows
            if self.disk:
                self.disk.write({prompt: self._pack(row) for prompt, row in rows.items()})
        self.memory_bytes += sum(value.nbytes for prompt in prompts for value in self.memory[prompt])
        self._warn_of_truncation([prompt for prompt in prompts if len(self.memory[prompt][0]) == self.encoder.max_tokens])

    def _warn_of_truncation(self, full: list[str]) -> None:
        """Warns, showing where, of prompts of which only a part is read."""
        for prompt in full:
            if self.max_truncation_warnings == 0:
                return
            read = self.encoder.truncated_prompt(prompt)
            if len(read) < len(prompt):
                shown, missed = read if len(read) <= 60 else f"...{read[-57:]}", prompt[len(read) :].strip()
                warnings.warn(f"prompt cut after {self.encoder.max_tokens} tokens: '{shown}' | not read: '{missed[:60]}'", stacklevel=4)
                self.max_truncation_warnings = None if self.max_truncation_warnings is None else self.max_truncation_warnings - 1

    def _encode(self, prompts: list[str]) -> list[tuple[torch.Tensor, ...]]:
        text = self.encoder(self.encoder.tokenize(prompts).to(self.device)).to("cpu")
        lengths = text.source.mask.sum(1).tolist()
        return [
            (text.source.ids[i, :n].clone(), text.local[i, :n].half().clone(), text.pooled[i].half().clone()) for i, n in enumerate(lengths)
        ]

    @staticmethod
    def _pack(row: tuple[torch.Tensor, ...]) -> bytes:
        ids, local, pooled = row
        return ids.to(torch.int32).numpy().tobytes() + pooled.numpy().tobytes() + local.numpy().tobytes()

    def _unpack(self, value: bytes) -> tuple[torch.Tensor, ...]:
        per_token = 4 + 2 * self.encoder.token_dim
        n, d = (len(value) - 2 * self.encoder.text_dim) // per_token, self.encoder.text_dim
        ids = torch.from_numpy(np.frombuffer(value, np.int32, n).astype(np.int64))
        pooled = torch.from_numpy(np.frombuffer(value, np.float16, d, 4 * n).copy())
        local = torch.from_numpy(np.frombuffer(value, np.float16, -1, 4 * n + 2 * d).copy()).view(n, -1)
        return ids, local, pooled
