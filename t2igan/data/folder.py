"""A folder of captioned images to webdataset shards with a held-out split.

The captions of `cat.jpg` are the lines of `cat.txt` beside it, or its rows in a table: a .csv or .jsonl with a column of FILE_COLUMNS and
one of CAPTION_COLUMNS.
"""

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from t2igan.data.images import center_square, open_image, png_bytes
from t2igan.data.index import IMAGE_EXTENSIONS
from t2igan.data.write import DATASET_MARKER, REPORT, Sample, check_replaceable, write_shards
from t2igan.errors import UserError
from t2igan.files import atomic_folder, write_json
from t2igan.grids import contact_sheet

FILE_COLUMNS = ("file", "file_name", "image")
CAPTION_COLUMNS = ("caption", "captions", "text")
PER_SHARD = 1000
ON_SHEET = 64
MAX_LISTED = 50  # file names of each kind in the report

Captioned = tuple[Path, list[str]]  # an image file and its captions


@dataclass
class Counts:
    """What happened to the images."""

    written: Counter = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    without_caption: list[str] = field(default_factory=list)
    enlarged: int = 0
    captions: int = 0
    sheet: list = field(default_factory=list)


def import_folder(folder: Path, out: Path, size: int, table: Path | None = None, held_out: float = 0.0) -> dict:
    """Writes shards of `size` px squares, report.json and contact_sheet.png to `out`; returns the report.

    Args:
        table: captions by file name; an image that it does not name takes those of the .txt beside it.
        held_out: the fraction of images, chosen by a hash of the file name, in the split `held_out`.

    Raises:
        UserError: there is no image, no caption, or no image that decodes; nothing is written then.
    """
    check_replaceable(out)
    images = find_images(folder, out)
    rows = read_table(table) if table else {}
    counts = Counts()
    captioned = []
    for path in images:
        name = path.relative_to(folder).as_posix()
        captions = rows.get(name) or rows.get(path.name) or captions_beside(path)
        if captions:
            captioned.append((path, captions))
        else:
            counts.without_caption.append(name)
    if not captioned:
        where = f"{table.name} names none of them" if table else f"beside {images[0].name} put {images[0].stem}.txt with its caption"
        raise UserError(f"{len(images)} images in {folder}, but no caption: {where}; or give --captions FILE.csv")
    # Hash order spreads neighbours in a folder (a burst, a series) over the shards
    captioned.sort(key=lambda pair: hashlib.sha256(pair[0].relative_to(folder).as_posix().encode()).digest()[8:])
    splits: dict[str, list[Captioned]] = {"train": [], "held_out": []}
    for pair in captioned:
        splits[split_of(pair[0].relative_to(folder).as_posix(), held_out)].append(pair)
    with atomic_folder(out) as temporary:
        for split, pairs in splits.items():
            if pairs:
                write_shards(samples(pairs, folder, split, size, counts), temporary / split, PER_SHARD)
        if not counts.written["train"]:
            first = f" ({counts.broken[0]})" if counts.broken else ""
            raise UserError(
                f"{folder} leaves no image to train on: {len(counts.broken)} of {len(captioned)} do not decode{first}; add images"
            )
        report = make_report(images, rows, folder, size, counts)
        write_json(temporary / REPORT, report)
        contact_sheet(counts.sheet, max(size, 64) if size <= 128 else 128).save(temporary / DATASET_MARKER)
    return report


def find_images(folder: Path, out: Path) -> list[Path]:
    """Every image file below `folder`, sorted; without hidden ones and those below `out`."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder that holds the images")
    out = out.resolve()
    paths = (path for path in folder.rglob("*") if path.suffix[1:].lower() in IMAGE_EXTENSIONS and path.is_file())
    visible = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    images = sorted(path for path in visible if out not in path.resolve().parents)
    if not images:
        raise UserError(f"no image in {folder}; it needs files that end in {', '.join('.' + e for e in IMAGE_EXTENSIONS)}")
    return images


def captions_beside(image: Path) -> list[str]:
    """The lines of `cat.txt` for `cat.jpg`."""
    text = image.with_suffix(".txt")
    return clean(text.read_text(encoding="utf-8-sig", errors="replace").splitlines()) if text.is_file() else []


def read_table(path: Path) -> dict[str, list[str]]:
    """A .csv or .jsonl to {file: captions}; a file may have several rows.

    Raises:
        UserError: there is no such file, it is neither .csv nor .jsonl, columns are missing, or a line is not JSON.
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
            found = next((row[column] for column in CAPTION_COLUMNS if column in row), None)
            if file is None or not any(column in row for column in CAPTION_COLUMNS):
                raise UserError(f"{path.name}, row {number}: columns {list(row)}; needs one of {FILE_COLUMNS} and one of {CAPTION_COLUMNS}")
            captions = found if isinstance(found, list) else [found]
            table.setdefault(Path(str(file)).as_posix(), []).extend(clean(str(text) for text in captions if text is not None))
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path.name} is not a table of comma-separated values ({error}); save it as csv") from error
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
                raise UserError(f"{path.name}, line {number} is not a JSON object; each line needs {{'file': ..., 'caption': ...}}")
            yield row


def clean(captions: Iterable[str]) -> list[str]:
    """Captions without surrounding or doubled white space; empty ones and repeats are dropped."""
    return list(dict.fromkeys(text for text in (" ".join(caption.split()) for caption in captions) if text))


def split_of(name: str, held_out: float) -> str:
    """The split by a hash of the file name: an image added later moves no other one."""
    fraction = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return "held_out" if fraction < held_out else "train"


def samples(captioned: list[Captioned], folder: Path, split: str, size: int, counts: Counts) -> Iterator[Sample]:
    """Square images as samples; `counts` lists those that do not decode."""
    Image.MAX_IMAGE_PIXELS = 2 * 178_956_970  # Pillow warns at this limit and refuses at twice it. Ours: its limit for refusal, no warning
    for path, captions in tqdm(captioned, split, disable=not sys.stderr.isatty()):
        name = path.relative_to(folder).as_posix()
        try:
            image = open_image(path, 2 * size)
        except OSError as error:
            counts.broken.append(f"{name}: {error}")
            continue
        square = center_square(image, size)
        counts.written[split] += 1
        counts.captions += len(captions)
        counts.enlarged += min(image.size) < size
        if len(counts.sheet) < ON_SHEET:
            counts.sheet.append((captions[0], [square]))
        key = hashlib.sha256(name.encode()).hexdigest()[:16]
        yield Sample(key, png_bytes(square), captions, {"file": name, "split": split})


def make_report(images: list[Path], rows: dict, folder: Path, size: int, counts: Counts) -> dict:
    """What report.json holds."""
    names = {path.relative_to(folder).as_posix() for path in images} | {path.name for path in images}
    return {
        "size": size,
        "pictures_found": len(images),
        "splits": {split: counts.written[split] for split in ("train", "held_out")},
        "captions": counts.captions,
        "smaller_than_size": counts.enlarged,
        "broken": len(counts.broken),
        "broken_files": counts.broken[:MAX_LISTED],
        "without_caption": len(counts.without_caption),
        "without_caption_files": counts.without_caption[:MAX_LISTED],
        "captions_without_picture": sum(file not in names for file in rows),
    }
