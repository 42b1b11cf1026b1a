"""A report on webdataset shards: what is in them, and what is wrong with them.

    python data_prep/check.py data/emoji_32 --sheet sheet.png

Exit code 2 when a tar is cut off or no tar.
"""

import argparse
import hashlib
import io
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

ON_SHEET = 96
LISTED = 20  # examples of each defect in the report


@dataclass
class Findings:
    """What the shards hold."""

    shards: int = 0
    samples: int = 0
    broken_shards: list[str] = field(default_factory=list)
    stale_indices: list[str] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)
    missing_captions: list[str] = field(default_factory=list)
    sizes: Counter = field(default_factory=Counter)
    captions_per_picture: list[int] = field(default_factory=list)
    caption_words: list[int] = field(default_factory=list)
    pixels: dict[bytes, list[str]] = field(default_factory=dict)  # hash -> where

    def report(self) -> dict:
        groups = [places for places in self.pixels.values() if len(places) > 1]
        return {
            "shards": self.shards,
            "samples": self.samples,
            "broken_shards": self.broken_shards,
            "stale_indices": self.stale_indices,
            "undecodable": len(self.undecodable),
            "undecodable_examples": self.undecodable[:LISTED],
            "missing_captions": len(self.missing_captions),
            "missing_captions_examples": self.missing_captions[:LISTED],
            "sizes": {f"{width}x{height}": count for (width, height), count in self.sizes.most_common(LISTED)},
            "captions_per_picture": spread(self.captions_per_picture),
            "caption_words": spread(self.caption_words),
            "duplicates": sum(len(places) - 1 for places in groups),
            "duplicate_examples": groups[:LISTED],
        }


def spread(values: list[int]) -> dict[str, int] | None:
    ordered = sorted(values)
    return {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1]} if ordered else None


def find_tars(places: list[str]) -> list[Path]:
    """Tar files, those below folders, and patterns such as shards/{00000..00099}.tar; half-written (hidden) folders are passed over.

    Raises:
        UserError: nothing there.
    """
    from t2igan.data.shards import find_shards

    tars = []
    for place in places:
        path = Path(place)
        found = sorted(path.rglob("*.tar")) if path.is_dir() else find_shards(place)
        tars += [tar for tar in found if not any(part.startswith(".") for part in tar.parts[len(path.parts) :])]
    if not tars:
        raise UserError(f"no .tar in {', '.join(places)}; write shards with data_prep/folder.py or data_prep/emoji.py")
    return list(dict.fromkeys(tars))


def check(tars: list[Path]) -> tuple[Findings, list]:
    """Reads every sample once; returns the findings and (caption, [picture]) rows for a contact sheet."""
    from tqdm import tqdm

    from t2igan.data.index import BrokenShard, index_tar

    findings, sheet, tables = Findings(shards=len(tars)), [], {}
    for tar in tars:
        try:
            tables[tar] = index_tar(tar)
        except BrokenShard as error:
            findings.broken_shards.append(str(error))
        except (OSError, ValueError) as error:  # unreadable header fields, no permission
            findings.broken_shards.append(f"{tar} cannot be read ({error}); write or download it again")
    total = sum(len(rows) for rows in tables.values())
    step = max(1, total // ON_SHEET)
    with tqdm(total=total, disable=not sys.stderr.isatty()) as progress:
        for tar, rows in tables.items():
            if stale(tar, rows):
                findings.stale_indices.append(f"{tar}.idx.npy does not fit its tar; delete it")
            with open(tar, "rb") as file:
                for number, row in enumerate(rows):
                    shown = examine(file, row, f"{tar.parent.name}/{tar.name}#{number}", findings)
                    if shown and findings.samples % step == 0 and len(sheet) < ON_SHEET:
                        sheet.append(shown)
                    findings.samples += 1
                    progress.update()
    return findings, sheet


def write_indices(tars: list[Path]) -> int:
    """X.tar.idx.npy beside every whole tar; returns how many."""
    import numpy as np

    from t2igan.data.index import BrokenShard, index_path, index_tar

    written = 0
    for tar in tars:
        try:
            np.save(index_path(tar), index_tar(tar))
            written += 1
        except BrokenShard:
            continue  # told in the report
    return written


def stale(tar: Path, rows) -> bool:
    """Whether the index stored beside a tar differs from the tar."""
    import numpy as np

    from t2igan.data.index import index_path

    if not index_path(tar).exists():
        return False
    try:
        return not np.array_equal(np.load(index_path(tar), allow_pickle=False), rows)
    except (OSError, ValueError, EOFError):
        return True


def examine(file, row, place: str, findings: Findings) -> tuple[str, list] | None:
    """One sample; (first caption, [picture]) when it decodes."""
    from t2igan.data.render import open_picture
    from t2igan.data.shards import parse_captions

    image, text, record = (read(file, row[2 * column], row[2 * column + 1]) for column in range(3))
    try:
        captions, _ = parse_captions(text, record)
    except ValueError as error:
        findings.undecodable.append(f"{place}: its .json is none ({error})")
        return None
    if captions:
        findings.captions_per_picture.append(len(captions))
        findings.caption_words.extend(len(caption.split()) for caption in captions)
    else:
        findings.missing_captions.append(place)
    try:
        picture = open_picture(io.BytesIO(image))
    except OSError as error:
        findings.undecodable.append(f"{place}: {error}")
        return None
    findings.sizes[picture.size] += 1
    digest = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).digest()
    findings.pixels.setdefault(digest, []).append(place)
    return (captions[0] if captions else "(no caption)"), [picture]


def read(file, offset: int, size: int) -> bytes:
    file.seek(int(offset))
    return file.read(int(size))


def lines(report: dict) -> list[str]:
    """The report for a reader."""
    three = "{min} / {median} / {max}"
    sizes = ", ".join(f"{count} of {size}" for size, count in report["sizes"].items())
    shown = [f"{report['shards']} shards, {report['samples']} samples", f"sizes: {sizes or 'none'}"]
    for name in ("captions_per_picture", "caption_words"):
        if report[name]:
            shown.append(f"{name.replace('_', ' ')} (least / median / most): {three.format(**report[name])}")
    for name in ("undecodable", "missing_captions", "duplicates"):
        shown.append(f"{name.replace('_', ' ')}: {report[name]}")
    shown += [f"  does not decode: {example}" for example in report["undecodable_examples"]]
    shown += [f"  no caption: {example}" for example in report["missing_captions_examples"]]
    shown += [f"  same pixels: {', '.join(places)}" for places in report["duplicate_examples"]]
    return shown + report["stale_indices"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", help=".tar files, folders that hold them, or patterns")
    parser.add_argument("--json", type=Path, help="also write the report here")
    parser.add_argument("--sheet", type=Path, help=f"also write a contact sheet of {ON_SHEET} samples here (.png)")
    parser.add_argument("--index", action="store_true", help="also write the index beside each tar that saves training the scan")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    for path in (args.json, args.sheet):
        if path and not path.resolve().parent.is_dir():
            raise UserError(f"no folder {path.parent} to write {path.name} to; make it first")
    findings, sheet = check(find_tars(args.shards))
    report = findings.report()
    print("\n".join(lines(report)))
    if args.json:
        args.json.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    if args.sheet:
        from t2igan.data.render import contact_sheet

        contact_sheet(sheet, args.sheet, 64)
    if args.index:
        print(f"indices written: {write_indices(find_tars(args.shards))}")
    for broken in report["broken_shards"]:
        print(f"error: {broken}", file=sys.stderr)
    if report["broken_shards"]:
        raise SystemExit(2)


if __name__ == "__main__":
    run_script(main)
