"""Art of many sources to a data set of captioned webdataset shards."""

import re
from pathlib import Path

from emoji_art.splits import fraction
from PIL import Image

from drawing_set.avatars import read_avatars
from drawing_set.card import data_card, make_report
from drawing_set.clip_art import read_clip_art
from drawing_set.drawing import Drawing
from drawing_set.drawn import draw_all
from drawing_set.icons import read_emoji, read_icons
from drawing_set.names import unicode_names
from drawing_set.near_duplicates import drop_near_duplicates, in_order
from drawing_set.silhouettes import read_silhouettes
from drawing_set.sources import AVATARS, CLIP_ART, EMOJI, ICONS, SILHOUETTES, SOURCES, TILES, Source
from drawing_set.splits import LEAKS, ORPHANS, SPLITS, assign_splits, settle
from drawing_set.tiles import read_tiles
from t2igan.data.images import png_bytes
from t2igan.data.write import DATASET_MARKER, REPORT, Sample, check_replaceable, write_shards
from t2igan.files import atomic_folder, write_json, write_text
from t2igan.grids import contact_sheet

PER_SHARD = 1000
COMPARED = 64  # px at which near duplicates are found, whatever --size is, so that every size has the same pictures
ON_SHEET = 24  # images of each source


def build(out: Path, sources: list[Source], size: int, cache: Path, flags: bool, processes: int) -> dict:
    """Draws, splits and writes the data set to the folder `out`; returns the report.

    Args:
        cache: the folder that keeps packages and drawn images.
        flags: whether flags of countries are among the emoji.
        processes: that draw.
    """
    check_replaceable(out)
    with atomic_folder(out) as folder:
        drawings = collect(sources, cache, flags)
        leaks = assign_splits(drawings)
        dropped = [row(drawing, LEAKS) for drawing in leaks]
        drawings = without(drawings, leaks)
        drawings = distinct(drawings, cache, processes, dropped)
        orphans = settle(drawings)
        dropped += [row(drawing, ORPHANS) for drawing in orphans]
        drawings = without(drawings, orphans)
        draw_all(drawings, size, cache / "drawn", processes)
        drawings.sort(key=lambda drawing: fraction("order", drawing.source, drawing.key))  # neighbours in a shard are of different sources
        for split in SPLITS:
            write_shards((to_sample(drawing) for drawing in drawings if drawing.split == split), folder / split, PER_SHARD)
        report = make_report(drawings, sources, size, dropped)
        write_json(folder / REPORT, report)
        write_text(folder / "README.md", data_card(report, sources))
        contact_sheet(sheet_rows(drawings, sources), min(max(size, 64), 96)).save(folder / DATASET_MARKER)
    return report


def collect(sources: list[Source], cache: Path, flags: bool) -> list[Drawing]:
    """Everything that the sources have, not yet drawn, in the order of the table of sources."""
    packages = cache / "packages"
    drawings = read_emoji([source for source in sources if source.kind == EMOJI], packages, flags)
    for source in sources:
        if source.kind == ICONS:
            drawings += read_icons(source, packages)
        elif source.kind == SILHOUETTES:
            drawings += read_silhouettes(source, packages)
        elif source.kind == TILES:
            drawings += read_tiles(source, packages)
        elif source.kind == AVATARS:
            drawings += read_avatars(source)
    for source in sources:
        if source.kind == CLIP_ART:
            drawings += read_clip_art(source, packages, vocabulary(drawings))
    return drawings


def vocabulary(drawings: list[Drawing]) -> set[str]:
    """The words of all names, Unicode's too."""
    names = [drawing.name for drawing in drawings] + [name for name, aliases in unicode_names().values() for name in (name, *aliases)]
    return {word for name in names for word in re.findall(r"[a-z']+", name)}


def distinct(drawings: list[Drawing], cache: Path, processes: int, dropped: list[dict]) -> list[Drawing]:
    """Drops blanks and near duplicates, and notes them in `dropped`. Of two that look alike the held-out one stays."""
    draw_all(drawings, COMPARED, cache / "drawn", processes)
    blank = [drawing for drawing in drawings if not drawing.file.stat().st_size]
    dropped += [row(drawing, "blank") for drawing in blank]
    drawings = without(drawings, blank)
    order = list(SOURCES)
    ranked = in_order(drawings, lambda drawing: (drawing.split == "train", order.index(drawing.source)))
    alike = drop_near_duplicates(ranked)
    dropped += [row(drawing, "near duplicate", like=f"{like.source}/{like.key}") for drawing, like in alike]
    return without(drawings, [drawing for drawing, _ in alike])


def without(drawings: list[Drawing], left_out: list[Drawing]) -> list[Drawing]:
    gone = {id(drawing) for drawing in left_out}
    return [drawing for drawing in drawings if id(drawing) not in gone]


def row(drawing: Drawing, reason: str, **details) -> dict:
    return {"reason": reason, "source": drawing.source, "key": drawing.key, "name": drawing.name, **details}


def to_sample(drawing: Drawing) -> Sample:
    """A drawing as the shards hold it."""
    source = SOURCES[drawing.source]
    meta = {
        "name": drawing.name,
        "source": source.name,
        "style": source.style,
        "license": source.license,
        "author": source.author,
        "split": drawing.split,
        "options": drawing.options,
    }
    key = re.sub(r"[^a-zA-Z0-9_-]+", "_", f"{source.name}_{drawing.key}")
    return Sample(key, png_bytes(drawing.image), drawing.captions, meta)


def sheet_rows(drawings: list[Drawing], sources: list[Source]) -> list[tuple[str, list[Image.Image]]]:
    """(source, some of its images), in the order of the sources."""
    rows = []
    for source in sources:
        images = [drawing.image for drawing in [drawing for drawing in drawings if drawing.source == source.name][:ON_SHEET]]
        if images:
            rows.append((source.name, images))
    return rows
