"""Captioned images to webdataset shards with an index beside each tar.

A sample is three members that share a key: `KEY.png` (or .jpg, .webp), `KEY.txt` (its primary caption; absent where there is none) and
`KEY.json` (`{"captions": [...], ...}`). `X.tar.idx.npy` holds the byte ranges, so that a reader does not scan the tar.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from t2igan.data.index import index_path, index_tar
from t2igan.errors import UserError
from t2igan.files import atomic_file, atomic_folder

REPORT = "report.json"  # in every folder that a script of data_prep/ writes
DATASET_MARKER = "contact_sheet.png"  # beside REPORT, in a folder that is a data set


@dataclass(frozen=True)
class Sample:
    """One image, as encoded bytes, with all its captions; the first one is its primary caption. Systems without text need none."""

    key: str
    image: bytes
    captions: list[str]
    meta: dict = field(default_factory=dict)  # further fields of KEY.json
    extension: str = "png"


def members(sample: Sample) -> dict[str, str | bytes]:
    """A sample as webdataset writes it."""
    record = {"captions": sample.captions, **sample.meta}
    named = {"__key__": sample.key, sample.extension: sample.image}
    text = {"txt": sample.captions[0].encode()} if sample.captions else {}
    return named | text | {"json": json.dumps(record, ensure_ascii=False, sort_keys=True).encode()}


def write_shard(samples: Iterable[Sample], tar: Path) -> None:
    """Writes one shard and its index. The tar appears last and complete, so that a resumed writer can skip the tars it finds."""
    import webdataset

    with atomic_file(tar) as temporary:
        with webdataset.TarWriter(str(temporary), mtime=0) as writer:
            for sample in samples:
                writer.write(members(sample))
        write_index(index_tar(temporary), tar)
    os.utime(index_path(tar))  # a reader ignores an index that is older than its tar


def write_index(index: np.ndarray, tar: Path) -> None:
    """Writes `X.tar.idx.npy` beside a tar."""
    with atomic_file(index_path(tar)) as temporary, open(temporary, "wb") as file:
        np.save(file, index)


def write_shards(samples: Iterable[Sample], out: Path, per_shard: int = 1000) -> int:
    """Writes the folder `out` with 00000.tar, 00001.tar, ... and their indices, atomically; returns the number of samples.

    The bytes are a function of the samples alone.
    """
    import webdataset

    count = 0
    with atomic_folder(Path(out)) as temporary:
        with webdataset.ShardWriter(str(temporary / "%05d.tar"), maxcount=per_shard, maxsize=1 << 40, mtime=0, verbose=0) as writer:
            for sample in samples:
                writer.write(members(sample))
                count += 1
        for tar in sorted(temporary.glob("*.tar")):
            if count == 0:
                tar.unlink()  # ShardWriter opens its first shard before the first sample
                continue
            write_index(index_tar(tar), tar)
    return count


def check_replaceable(out: Path, marker: str = DATASET_MARKER) -> None:
    """Raises UserError unless `out` is absent, empty, or a folder that the same kind of script wrote (it holds REPORT and the marker)."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not ((out / REPORT).exists() and (out / marker).exists()):
        raise UserError(
            f"--out {out} is not empty and was not written by this script (no {REPORT} with {marker}); give a new or empty folder"
        )
