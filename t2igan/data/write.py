"""Captioned pictures to webdataset shards with an index beside each tar.

A sample is three members that share a key: `KEY.png` (or .jpg, .webp), `KEY.txt` (its first caption) and `KEY.json`
(`{"captions": [...], ...}`). `X.tar.idx.npy` holds the byte ranges, so that a reader needs no scan.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from t2igan.data.index import index_path, index_tar
from t2igan.files import replace_folder


@dataclass(frozen=True)
class Sample:
    """One picture, as encoded bytes, with every caption it may be asked for by."""

    key: str
    image: bytes
    captions: list[str]
    meta: dict = field(default_factory=dict)  # further fields of KEY.json
    extension: str = "png"


def members(sample: Sample) -> dict[str, str | bytes]:
    """A sample as webdataset writes it."""
    record = {"captions": sample.captions, **sample.meta}
    return {
        "__key__": sample.key,
        sample.extension: sample.image,
        "txt": sample.captions[0].encode(),
        "json": json.dumps(record, ensure_ascii=False, sort_keys=True).encode(),
    }


def write_shard(samples: Iterable[Sample], tar: Path) -> None:
    """One shard and its index. The tar appears last, complete or not at all, so that what is there needs not be written again."""
    import webdataset

    temporary, index = tar.with_name(f".{tar.name}"), index_path(tar)  # what a killed writer left is written over
    with webdataset.TarWriter(str(temporary), mtime=0) as writer:
        for sample in samples:
            writer.write(members(sample))
    np.save(index.with_name(f".{index.name}"), index_tar(temporary))
    os.replace(index.with_name(f".{index.name}"), index)
    os.replace(temporary, tar)
    os.utime(index)  # not older than its tar, or it would be made again


def write_shards(samples: Iterable[Sample], out: Path, per_shard: int = 1000) -> int:
    """Writes `out/00000.tar`, `out/00001.tar`, ... and their indices; returns how many samples were written.

    The folder appears complete or not at all (temporary folder, then rename); an existing one is replaced. The bytes are a function
    of the samples alone.
    """
    import webdataset

    out = Path(out)
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    count = 0
    with webdataset.ShardWriter(str(temporary / "%05d.tar"), maxcount=per_shard, maxsize=1 << 40, mtime=0, verbose=0) as writer:
        for sample in samples:
            writer.write(members(sample))
            count += 1
    for tar in sorted(temporary.glob("*.tar")):
        if count == 0:
            tar.unlink()  # ShardWriter opens its first shard before the first sample
            continue
        np.save(index_path(tar), index_tar(tar))
    replace_folder(temporary, out)
    return count
