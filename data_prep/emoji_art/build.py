"""Emoji art to a data set of captioned webdataset shards."""

from pathlib import Path

from PIL import Image

from emoji_art.card import data_card, make_report
from emoji_art.collect import Dropped, EmojiImage, collect, distinct, draw
from emoji_art.concepts import Concept, read_concepts
from emoji_art.splits import SPLITS, assign_splits, fraction, list_splits
from emoji_art.styles import Style, bare, codepoints
from t2igan.data.images import png_bytes
from t2igan.data.write import DATASET_MARKER, REPORT, Sample, check_replaceable, write_shards
from t2igan.files import atomic_folder, write_json, write_text
from t2igan.grids import contact_sheet

PER_SHARD = 500


def build(out: Path, styles: list[Style], size: int, cache: Path) -> dict:
    """Draws, splits and writes the data set to the folder `out`; returns the report.

    Args:
        cache: the folder that keeps the npm packages of further styles.
    """
    check_replaceable(out)
    with atomic_folder(out) as folder:
        concepts, held_out = read_concepts()
        dropped = Dropped()
        items = distinct(collect(concepts, styles, cache, dropped), held_out, dropped)
        draw(items, size)
        assign_splits(items, held_out)
        # Hash order: neighbours in a shard are different concepts
        items.sort(key=lambda item: fraction("order", item.concept.name, item.style.name))
        for split in SPLITS:
            write_shards((to_sample(item) for item in items if item.split == split), folder / split, PER_SHARD)
        report = make_report(items, styles, size, dropped)
        write_json(folder / "splits.json", list_splits(items))
        write_json(folder / REPORT, report)
        write_text(folder / "README.md", data_card(report, styles))
        contact_sheet(sheet_rows(items, concepts), min(max(size, 64), 128)).save(folder / DATASET_MARKER)
    return report


def to_sample(item: EmojiImage) -> Sample:
    """An image as the shards hold it; the primary caption is the concept's plain name."""
    concept, style = item.concept, item.style
    styled = [style.captioned(caption) for caption in concept.captions]
    points = codepoints(concept.character)
    meta = {
        "captions_plain": concept.captions,
        "captions_styled": styled,
        "concept": concept.name,
        "style": style.name,
        "category": concept.category,
        "subcategory": concept.subcategory,
        "unicode": points,
        "skin_tones": list(concept.tones),
        "license": style.license,
        "author": style.author,
        "split": item.split,
    }
    captions = [caption for pair in zip(concept.captions, styled, strict=True) for caption in pair]
    return Sample(f"{bare(points)}_{style.name}", png_bytes(item.image), captions, meta)


def sheet_rows(items: list[EmojiImage], concepts: list[Concept]) -> list[tuple[str, list[Image.Image]]]:
    """(name, its images) in the curated file's order."""
    drawn: dict[str, list[Image.Image]] = {}
    for item in sorted(items, key=lambda item: item.style.name):
        drawn.setdefault(item.concept.name, []).append(item.image)
    return [(concept.name, drawn[concept.name]) for concept in concepts if concept.name in drawn]
