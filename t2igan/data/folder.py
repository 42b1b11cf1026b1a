"""A folder of captioned images to webdataset shards with a held-out split.

The captions of `cat.jpg` are the lines of `cat.txt` beside it, or its rows in a table (data/tables.py), or the name of its folder; systems
without text need none. What is left out or passed over is counted, and named in the report.
"""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image
from tqdm import tqdm

from t2igan.data.images import center_square, open_image, png_bytes
from t2igan.data.index import IMAGE_EXTENSIONS
from t2igan.data.tables import read_table
from t2igan.data.write import DATASET_MARKER, REPORT, Sample, check_replaceable, write_shards
from t2igan.errors import UserError
from t2igan.files import atomic_folder, write_json
from t2igan.grids import contact_sheet
from t2igan.plain_text import clean_captions, decode_text

TEXT_ENDINGS = (".txt", ".csv", ".jsonl", ".json", ".md")
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
    unreadable_captions: list[str] = field(default_factory=list)
    rows_without_image: list[str] = field(default_factory=list)
    passed_over: Counter = field(default_factory=Counter)
    enlarged: int = 0
    captions: int = 0
    classes: Counter | None = None  # images in train of each class, where folders are classes
    merged: list[str] = field(default_factory=list)  # classes that several folders have
    sheet: list = field(default_factory=list)


def import_folder(
    folder: Path, out: Path, size: int, captions: Path | Literal["folders", "none"] | None = None, held_out: float = 0.0
) -> dict:
    """Writes shards of `size` px squares, report.json and contact_sheet.png to `out`; returns the report.

    Args:
        captions: a table of them by file name, where an image that it does not name takes those of the .txt beside it; None: the .txt
            alone; "folders": an image's caption is the name of the folder it lies in, its class; "none": images have no captions.
        held_out: the fraction of images, chosen by a hash of the file name, in the split `held_out`.

    Raises:
        UserError: there is no image, no caption, or no image that decodes; nothing is written then.
    """
    check_replaceable(out)
    counts = Counts()
    images, counts.passed_over = find_images(folder, out)
    if captions == "none":
        captioned = [(path, []) for path in images]
    elif captions == "folders":
        captioned = captions_of_folders(images, folder, counts)
        counts.classes = Counter({caption: 0 for _, (caption,) in captioned})
        if not captioned:
            raise UserError(f"all {len(images)} images lie in {folder} itself; --captions folders needs below it a folder for each class")
    else:
        captioned = find_captions(images, folder, read_table(captions) if captions else {}, counts)
        if not captioned:
            raise UserError(f"{len(images)} images in {folder}, but no caption: {why_no_caption(images, folder, captions, counts)}")
    # Hash order spreads neighbours in a folder (a burst, a series) over the shards
    captioned.sort(key=lambda pair: name_hash(pair[0].relative_to(folder))[8:])
    splits: dict[str, list[Captioned]] = {"train": [], "held_out": []}
    for pair in captioned:
        splits[split_of(pair[0].relative_to(folder), held_out)].append(pair)
    with atomic_folder(out) as temporary:
        for split, pairs in splits.items():
            if pairs:
                write_shards(samples(pairs, folder, split, size, counts), temporary / split, PER_SHARD)
        if not counts.written["train"]:
            raise UserError(f"{folder} leaves no image to train on: {why_no_image(len(captioned), counts)}")
        report = make_report(images, folder, size, counts)
        write_json(temporary / REPORT, report)
        contact_sheet(counts.sheet, max(size, 64) if size <= 128 else 128).save(temporary / DATASET_MARKER)
    return report


def find_images(folder: Path, out: Path) -> tuple[list[Path], Counter]:
    """Every image file below `folder`, sorted, and how many other things by what they are; without hidden ones and those below `out`.

    Folders that are links are not entered: they may lead round in a circle. Files of text, which may hold captions, do not count.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder that holds the images")
    images, passed_over, out = [], Counter(), out.resolve()
    for place, folders, files in os.walk(folder):
        inside = Path(place)
        passed_over["linked folder"] += sum((inside / name).is_symlink() for name in folders if not name.startswith("."))
        folders[:] = [name for name in folders if not name.startswith(".") and (inside / name).resolve() != out]
        for name in files:
            path = inside / name
            if name.startswith(".") or path.suffix.lower() in TEXT_ENDINGS:
                continue
            if path.suffix[1:].lower() in IMAGE_EXTENSIONS and path.is_file():
                images.append(path)
            else:
                passed_over[path.suffix.lower() or "file without an ending"] += 1
    passed_over = +passed_over
    if not images:
        others = f", only {in_words(passed_over)}" if passed_over else ""
        raise UserError(f"no image in {folder}{others}; it needs files that end in {', '.join('.' + e for e in IMAGE_EXTENSIONS)}")
    return sorted(images), passed_over


def in_words(counts: Mapping[str, int]) -> str:
    """3 .heic, 1 linked folder."""
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def find_captions(images: list[Path], folder: Path, table: dict[str, list[str]], counts: Counts) -> list[Captioned]:
    """Images with their captions: those that the table has under their path, else those of the .txt beside them, else those that the table
    has under a file name which no other image has. `counts` lists the images without any, and the rows without an image."""
    names = {path: shown(path.relative_to(folder)) for path in images}
    of_base_name = Counter(path.name for path in images)
    captioned, used = [], set()
    for path in images:
        name = names[path]
        loose = path.name if of_base_name[path.name] == 1 else None
        try:
            captions = table.get(name) or captions_beside(path) or table.get(loose)
        except ValueError as error:
            counts.unreadable_captions.append(f"{shown(path.relative_to(folder).with_suffix('.txt'))} is {error}")
            continue
        used.add(name if name in table else loose)
        if captions:
            captioned.append((path, captions))
        else:
            counts.without_caption.append(name)
    counts.rows_without_image = [file for file in table if file not in used]
    return captioned


def captions_of_folders(images: list[Path], folder: Path, counts: Counts) -> list[Captioned]:
    """Images with the name of the folder they lie in; `counts` lists those without one, and folders of one name, which are one class."""
    found = {path: [] if path.parent == folder else clean_captions([shown(Path(path.parent.name))]) for path in images}
    counts.without_caption = [shown(path.relative_to(folder)) for path, captions in found.items() if not captions]
    captioned = [(path, captions) for path, captions in found.items() if captions]
    folders: dict[str, set[Path]] = {}
    for path, (name,) in captioned:
        folders.setdefault(name.casefold(), set()).add(path.parent)
    for name, places in sorted(folders.items()):
        if len(places) > 1:
            counts.merged.append(f"{name!r}: {', '.join(sorted(shown(place.relative_to(folder)) for place in places))}")
    return captioned


def captions_beside(image: Path) -> list[str]:
    """The lines of `cat.txt` for `cat.jpg`. Raises ValueError where it is not text."""
    text = image.with_suffix(".txt")
    return clean_captions(decode_text(text.read_bytes()).splitlines()) if text.is_file() else []


def shown(path: Path) -> str:
    """A path as text, whatever bytes it has: file names need not be UTF-8."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def why_no_caption(images: list[Path], folder: Path, table: Path | None, counts: Counts) -> str:
    """What to do about it."""
    if counts.unreadable_captions:
        return counts.unreadable_captions[0]
    first = shown(images[0].relative_to(folder))
    if table is None:
        return f"beside {images[0].name} put {images[0].stem}.txt with its caption; or give --captions FILE.csv"
    named = f"it has {counts.rows_without_image[0]!r}" if counts.rows_without_image else "its captions are empty"
    return f"{table.name} names none of them ({named}, the folder has {first!r}); write paths below the folder"


def why_no_image(captioned: int, counts: Counts) -> str:
    """What to do about it."""
    if counts.broken:
        return f"{len(counts.broken)} of {captioned} do not decode ({counts.broken[0]}); add images"
    return f"all {captioned} are held out; lower --held-out or add images"


def name_hash(name: Path) -> bytes:
    return hashlib.sha256(os.fsencode(name.as_posix())).digest()


def split_of(name: Path, held_out: float) -> str:
    """The split by a hash of the file name: an image added later moves no other one."""
    return "held_out" if int.from_bytes(name_hash(name)[:8], "big") / 2**64 < held_out else "train"


def samples(captioned: list[Captioned], folder: Path, split: str, size: int, counts: Counts) -> Iterator[Sample]:
    """Square images as samples; `counts` lists those that do not decode."""
    Image.MAX_IMAGE_PIXELS = 2 * 178_956_970  # Pillow warns at this limit and refuses at twice it. Ours: its limit for refusal, no warning
    for path, captions in tqdm(captioned, split, disable=not sys.stderr.isatty()):
        name = shown(path.relative_to(folder))
        try:
            image = open_image(path, 2 * size)
        except OSError as error:
            counts.broken.append(f"{name}: {error}")
            continue
        square = center_square(image, size)
        counts.written[split] += 1
        counts.captions += len(captions)
        if counts.classes is not None:
            counts.classes[captions[0]] += split == "train"
        counts.enlarged += min(image.size) < size
        if len(counts.sheet) < ON_SHEET:
            counts.sheet.append((captions[0] if captions else "", [square]))
        key = name_hash(path.relative_to(folder)).hex()[:16]
        yield Sample(key, png_bytes(square), captions, {"file": name, "split": split})


def make_report(images: list[Path], folder: Path, size: int, counts: Counts) -> dict:
    """What report.json holds."""
    listed = {
        "broken": counts.broken,
        "without_caption": counts.without_caption,
        "unreadable_captions": counts.unreadable_captions,
        "captions_without_picture": counts.rows_without_image,
    }
    return {
        "size": size,
        "pictures_found": len(images),
        "picture_example": shown(images[0].relative_to(folder)),
        "splits": {split: counts.written[split] for split in ("train", "held_out")},
        "captions": counts.captions,
        **({} if counts.classes is None else {"classes": dict(sorted(counts.classes.items())), "merged": counts.merged}),
        "smaller_than_size": counts.enlarged,
        "passed_over": dict(counts.passed_over),
        **{name: len(files) for name, files in listed.items()},
        **{f"{name}_files": files[:MAX_LISTED] for name, files in listed.items()},
    }
