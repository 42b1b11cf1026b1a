"""Webdataset shards to a report: what they hold, and what is wrong with them."""

import hashlib
import io
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from t2igan.data.images import open_image
from t2igan.data.index import BrokenShard, index_path, index_tar, scan_tar
from t2igan.data.shards import find_shards, parse_captions
from t2igan.data.write import write_index
from t2igan.errors import UserError

ON_SHEET = 96
MAX_LISTED = 20  # examples of each defect in the report


@dataclass
class Findings:
    """What the shards hold."""

    shards: int = 0
    samples: int = 0
    broken_shards: list[str] = field(default_factory=list)
    stale_indices: list[str] = field(default_factory=list)
    passed_over: Counter = field(default_factory=Counter)
    undecodable: list[str] = field(default_factory=list)
    missing_captions: list[str] = field(default_factory=list)
    sizes: Counter = field(default_factory=Counter)
    captions_per_image: list[int] = field(default_factory=list)
    caption_words: list[int] = field(default_factory=list)
    places: dict[bytes, list[str]] = field(default_factory=dict)  # hash of the pixels -> the samples that have them
    sheet: list[tuple[str, list[Image.Image]]] = field(default_factory=list)  # rows of a contact sheet

    def report(self) -> dict:
        """The findings as JSON holds them."""
        missing = [] if len(self.missing_captions) == self.samples else self.missing_captions  # systems without text need none
        duplicates = [places for places in self.places.values() if len(places) > 1]
        return {
            "shards": self.shards,
            "samples": self.samples,
            "broken_shards": self.broken_shards,
            "stale_indices": self.stale_indices,
            "passed_over": dict(self.passed_over),
            "undecodable": len(self.undecodable),
            "undecodable_examples": self.undecodable[:MAX_LISTED],
            "without_captions": self.samples > 0 and len(self.missing_captions) == self.samples,
            "missing_captions": len(missing),
            "missing_captions_examples": missing[:MAX_LISTED],
            "sizes": {f"{width}x{height}": count for (width, height), count in self.sizes.most_common(MAX_LISTED)},
            "captions_per_picture": summarize(self.captions_per_image),
            "caption_words": summarize(self.caption_words),
            "duplicates": sum(len(places) - 1 for places in duplicates),
            "duplicate_examples": duplicates[:MAX_LISTED],
        }


def summarize(values: list[int]) -> dict[str, int] | None:
    """The minimum, median and maximum; None of nothing."""
    ordered = sorted(values)
    return {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1]} if ordered else None


def find_tars(places: list[str]) -> list[Path]:
    """Tar files, folders (searched to any depth, hidden ones skipped) and patterns such as shards/{00000..00099}.tar to tar files.

    Raises:
        UserError: there is no tar.
    """
    tars = []
    for place in places:
        path = Path(place)
        found = sorted(path.rglob("*.tar")) if path.is_dir() else find_shards(place)
        tars += [tar for tar in found if not any(part.startswith(".") for part in tar.parts[len(path.parts) :])]
    if not tars:
        raise UserError(f"no .tar in {', '.join(places)}; write shards with data_prep/folder.py or data_prep/emoji.py")
    return list(dict.fromkeys(tars))


def check_shards(tars: list[Path]) -> Findings:
    """Reads every sample once."""
    findings, indices = Findings(shards=len(tars)), {}
    for tar in tars:
        try:
            indices[tar], passed_over = scan_tar(tar)
            findings.passed_over += passed_over
        except BrokenShard as error:
            findings.broken_shards.append(str(error))
        except (OSError, ValueError) as error:  # unreadable header fields, no permission
            findings.broken_shards.append(f"{tar} cannot be read ({error}); write or download it again")
    total = sum(len(index) for index in indices.values())
    step = max(1, total // ON_SHEET)
    with tqdm(total=total, disable=not sys.stderr.isatty()) as progress:
        for tar, index in indices.items():
            if is_stale(tar, index):
                findings.stale_indices.append(f"{tar}.idx.npy does not fit its tar; delete it")
            with open(tar, "rb") as file:
                for number, row in enumerate(index):
                    shown = check_sample(file, row, f"{tar.parent.name}/{tar.name}#{number}", findings)
                    if shown and findings.samples % step == 0 and len(findings.sheet) < ON_SHEET:
                        findings.sheet.append(shown)
                    findings.samples += 1
                    progress.update()
    return findings


def check_sample(file: BinaryIO, row: np.ndarray, place: str, findings: Findings) -> tuple[str, list[Image.Image]] | None:
    """Adds one sample to the findings; (primary caption, [image]) if it decodes."""
    encoded, text, record = (_read(file, *map(int, row[2 * column : 2 * column + 2])) for column in range(3))
    try:
        captions, _ = parse_captions(text, record)
    except ValueError as error:
        findings.undecodable.append(f"{place}: {error}")
        return None
    if captions:
        findings.captions_per_image.append(len(captions))
        findings.caption_words.extend(len(caption.split()) for caption in captions)
    else:
        findings.missing_captions.append(place)
    try:
        image = open_image(io.BytesIO(encoded))
    except OSError as error:
        findings.undecodable.append(f"{place}: {error}")
        return None
    findings.sizes[image.size] += 1
    digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
    findings.places.setdefault(digest, []).append(place)
    return (captions[0] if captions else "(no caption)"), [image]


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def is_stale(tar: Path, index: np.ndarray) -> bool:
    """Whether the index stored beside a tar differs from the tar's own."""
    if not index_path(tar).exists():
        return False
    try:
        return not np.array_equal(np.load(index_path(tar), allow_pickle=False), index)
    except (OSError, ValueError, EOFError):
        return True


def write_indices(tars: list[Path]) -> int:
    """Writes X.tar.idx.npy beside every tar that is not broken; returns the number of indices."""
    written = 0
    for tar in tars:
        try:
            write_index(index_tar(tar), tar)
            written += 1
        except BrokenShard:
            continue  # `check_shards` reports it
    return written


def format_report(report: dict) -> list[str]:
    """A report to the lines that a reader sees."""
    sizes = ", ".join(f"{count} of {size}" for size, count in report["sizes"].items())
    lines = [f"{report['shards']} shards, {report['samples']} samples", f"sizes: {sizes or 'none'}"]
    for name, label in (("captions_per_picture", "captions per image"), ("caption_words", "caption words")):
        if report[name]:
            lines.append(f"{label} (least / median / most): {report[name]['min']} / {report[name]['median']} / {report[name]['max']}")
    for name in ("undecodable", "missing_captions", "duplicates"):
        lines.append(f"{name.replace('_', ' ')}: {report[name]}")
    if report["passed_over"]:
        lines.append(f"passed over: {', '.join(f'{count} {what}' for what, count in sorted(report['passed_over'].items()))}")
    lines += [f"  does not decode: {example}" for example in report["undecodable_examples"]]
    lines += [f"  no caption: {example}" for example in report["missing_captions_examples"]]
    lines += [f"  same pixels: {', '.join(places)}" for places in report["duplicate_examples"]]
    return lines + report["stale_indices"]
