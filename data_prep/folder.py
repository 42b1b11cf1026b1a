"""A folder of captioned images to webdataset shards: train pictures of your own.

    python data_prep/folder.py my_pictures --out data/mine --size 64

A caption is a line of the .txt beside its picture (`cat.jpg`, `cat.txt`; several lines are several captions), or a row of --captions
FILE.csv or FILE.jsonl with a column `file` (or file_name, image) and a column `caption` (or text).
"""

import argparse
import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.data.index import IMAGE_EXTENSIONS
from t2igan.errors import UserError, run_script

FILE_COLUMNS = ("file", "file_name", "image")
CAPTION_COLUMNS = ("caption", "captions", "text")
PER_SHARD = 1000
ON_SHEET = 64
LISTED = 50  # names of broken and skipped files in the report


@dataclass
class Tally:
    """What happened to the pictures."""

    written: Counter = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    without_caption: list[str] = field(default_factory=list)
    smaller: int = 0
    captions: int = 0
    sheet: list = field(default_factory=list)


def find_pictures(folder: Path, out: Path) -> list[Path]:
    """Every image file below `folder` (not below `out`, nothing hidden), sorted."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the folder that holds the pictures")
    own = out.resolve()
    paths = (path for path in folder.rglob("*") if path.suffix[1:].lower() in IMAGE_EXTENSIONS and path.is_file())
    seen = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    pictures = sorted(path for path in seen if own not in path.resolve().parents)
    if not pictures:
        raise UserError(f"no picture in {folder}; it needs files that end in {', '.join('.' + e for e in IMAGE_EXTENSIONS)}")
    return pictures


def captions_beside(picture: Path) -> list[str]:
    """The lines of `cat.txt` for `cat.jpg`."""
    text = picture.with_suffix(".txt")
    return clean(text.read_text(encoding="utf-8-sig", errors="replace").splitlines()) if text.is_file() else []


def read_table(path: Path) -> dict[str, list[str]]:
    """A csv or jsonl to {file: captions}; a file may have several rows.

    Raises:
        UserError: no such file, neither .csv nor .jsonl, columns missing, a line that is not JSON.
    """
    if not path.is_file():
        raise UserError(f"no caption file {path}; give --captions a .csv or .jsonl")
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path.name} is neither .csv nor .jsonl; --captions takes one of the two")
    table: dict[str, list[str]] = {}
    try:
        for number, row in enumerate(readers[path.suffix.lower()](path), 1):
            file = next((row[column] for column in FILE_COLUMNS if row.get(column)), None)
            said = next((row[column] for column in CAPTION_COLUMNS if column in row), None)
            if file is None or not any(column in row for column in CAPTION_COLUMNS):
                raise UserError(f"{path.name}, row {number}: columns {list(row)}; needs one of {FILE_COLUMNS} and one of {CAPTION_COLUMNS}")
            said = said if isinstance(said, list) else [said]
            table.setdefault(Path(str(file)).as_posix(), []).extend(clean(str(caption) for caption in said if caption is not None))
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path.name} is no table of comma-separated values ({error}); save it as csv") from error
    return table


def _csv_rows(path: Path) -> Iterator[dict]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _json_rows(path: Path) -> Iterator[dict]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path.name}, line {number} is not JSON ({error.msg}); each line needs one object") from error
            if not isinstance(row, dict):
                raise UserError(f"{path.name}, line {number} is no JSON object; each line needs {{'file': ..., 'caption': ...}}")
            yield row


def clean(captions) -> list[str]:
    """Captions without surrounding or doubled white space, empty ones and repeats left out."""
    return list(dict.fromkeys(text for text in (" ".join(caption.split()) for caption in captions) if text))


def split_of(name: str, held_out: float) -> str:
    """By a hash of the file's name, so that pictures added later move no other."""
    fraction = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return "held_out" if fraction < held_out else "train"


def samples(captioned: list[tuple[Path, list[str]]], folder: Path, split: str, size: int, tally: Tally) -> Iterator:
    """Square pictures as samples; those that do not decode are tallied."""
    from PIL import Image
    from tqdm import tqdm

    from t2igan.data.render import centre_square, open_picture, png_bytes
    from t2igan.data.write import Sample

    Image.MAX_IMAGE_PIXELS = 2 * 178_956_970  # Pillow warns at half and refuses at twice its limit; ours: refuse only
    for path, captions in tqdm(captioned, split, disable=not sys.stderr.isatty()):
        name = path.relative_to(folder).as_posix()
        try:
            picture = open_picture(path, 2 * size)
        except OSError as error:
            tally.broken.append(f"{name}: {error}")
            continue
        square = centre_square(picture, size)
        tally.written[split] += 1
        tally.captions += len(captions)
        tally.smaller += min(picture.size) < size
        if len(tally.sheet) < ON_SHEET:
            tally.sheet.append((captions[0], [square]))
        key = hashlib.sha256(name.encode()).hexdigest()[:16]
        yield Sample(key, png_bytes(square), captions, {"file": name, "split": split})


def build(folder: Path, out: Path, size: int, table: Path | None, held_out: float) -> dict:
    """Writes the shards, report.json and contact_sheet.png to `out`; returns the report.

    Raises:
        UserError: no picture, no caption at all, or no picture that decodes; nothing is written then.
    """
    from t2igan.data.render import contact_sheet
    from t2igan.data.staging import atomic_folder, check_replaceable, write_json
    from t2igan.data.write import write_shards

    check_replaceable(out)
    pictures = find_pictures(folder, out)
    rows = read_table(table) if table else {}
    tally = Tally()
    captioned = []
    for path in pictures:
        name = path.relative_to(folder).as_posix()
        captions = rows.get(name) or rows.get(path.name) or captions_beside(path)
        if captions:
            captioned.append((path, captions))
        else:
            tally.without_caption.append(name)
    if not captioned:
        where = f"{table.name} names none of them" if table else f"beside {pictures[0].name} put {pictures[0].stem}.txt with its caption"
        raise UserError(f"{len(pictures)} pictures in {folder}, but no caption: {where}; or give --captions FILE.csv")
    # Hash order: a folder's neighbours (a burst, a series) are spread over the shards
    captioned.sort(key=lambda pair: hashlib.sha256(pair[0].relative_to(folder).as_posix().encode()).digest()[8:])
    groups: dict[str, list] = {"train": [], "held_out": []}
    for pair in captioned:
        groups[split_of(pair[0].relative_to(folder).as_posix(), held_out)].append(pair)
    with atomic_folder(out) as temporary:
        for split, group in groups.items():
            if group:
                write_shards(samples(group, folder, split, size, tally), temporary / split, PER_SHARD)
        if not tally.written["train"]:
            first = f" ({tally.broken[0]})" if tally.broken else ""
            raise UserError(
                f"{folder} leaves no picture to train on: {len(tally.broken)} of {len(captioned)} do not decode{first}; add pictures"
            )
        report = make_report(pictures, rows, folder, size, tally)
        write_json(temporary / "report.json", report)
        contact_sheet(tally.sheet, temporary / "contact_sheet.png", max(size, 64) if size <= 128 else 128)
    return report


def make_report(pictures: list[Path], rows: dict, folder: Path, size: int, tally: Tally) -> dict:
    names = {path.relative_to(folder).as_posix() for path in pictures} | {path.name for path in pictures}
    return {
        "size": size,
        "pictures_found": len(pictures),
        "splits": {split: tally.written[split] for split in ("train", "held_out")},
        "captions": tally.captions,
        "smaller_than_size": tally.smaller,
        "broken": len(tally.broken),
        "broken_files": tally.broken[:LISTED],
        "without_caption": len(tally.without_caption),
        "without_caption_files": tally.without_caption[:LISTED],
        "captions_without_picture": sum(file not in names for file in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of images; folders inside it count too")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier data set there is replaced")
    parser.add_argument("--size", type=int, default=64, help="side in pixels (default: %(default)s)")
    parser.add_argument("--captions", type=Path, help=".csv or .jsonl; for pictures it does not name, the .txt beside them")
    parser.add_argument("--held-out", type=float, default=0.05, help="share of pictures kept out of train (default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    if not 8 <= args.size <= 4096:
        raise UserError(f"--size must be from 8 to 4096 pixels, got {args.size}")
    if not 0 <= args.held_out < 1:
        raise UserError(f"--held-out must be from 0 to below 1, got {args.held_out}")
    report = build(args.pictures, args.out, args.size, args.captions, args.held_out)
    train, held_out = report["splits"].values()
    print(f"{args.out}: {train} pictures in train, {held_out} in held_out; {report['captions']} captions")
    print(f"left out: {report['broken']} broken, {report['without_caption']} without caption; enlarged: {report['smaller_than_size']}")


if __name__ == "__main__":
    run_script(main)
