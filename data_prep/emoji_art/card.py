"""What the emoji data set's report.json and README.md hold."""

from collections import Counter

from emoji_art.collect import Dropped, EmojiImage
from emoji_art.splits import SPLITS
from emoji_art.styles import LICENSE_TEXTS, Style


def make_report(items: list[EmojiImage], styles: list[Style], size: int, dropped: Dropped) -> dict:
    """Counts of everything."""
    captions = {text for i in items for caption in i.concept.captions for text in (caption, i.style.captioned(caption))}
    return {
        "size": size,
        "pictures": len(items),
        "concepts": len({item.concept.name for item in items}),
        "captions": len(captions),
        "splits": {split: sum(item.split == split for item in items) for split in SPLITS},
        "styles": {style.name: sum(item.style is style for item in items) for style in styles},
        "categories": dict(sorted(Counter(item.concept.category for item in items).items())),
        "dropped": dropped.counts(),
        "dropped_pictures": dropped.rows,
    }


def data_card(report: dict, styles: list[Style]) -> str:
    """README.md of the data set: what it is, who drew it, under which licence."""
    counts, size = report["splits"], report["size"]
    uses = {
        "train": "training",
        "held_out_pairs": "a (concept, style) pair; another style of the concept is in train",
        "held_out_concepts": "whole concepts, in every style; some of their words are in train",
        "held_out_compositions": "colour x thing, in every style; colour and thing are each in train",
    }
    lines = [
        "# Captioned emoji",
        "",
        f"{report['pictures']} images of {report['concepts']} concepts as webdataset shards: RGB PNG, {size} x {size}, on white.",
        "Made by `data_prep/emoji.py`: cropped to the art, centred, rasterised.",
        "What is where: `splits.json`; counts: `report.json`; every image: `contact_sheet.png`.",
        "",
        "| split | images | what it is |",
        "|---|---|---|",
        *(f"| {split} | {counts[split]} | {use} |" for split, use in uses.items()),
        "",
        "## Licences and attribution",
        "",
        "Each image keeps the licence of its source.",
        "If you pass the shards on, name the authors; what derives from CC BY-SA art stays CC BY-SA.",
        "",
        "| style | licence | author | source |",
        "|---|---|---|---|",
        *(f"| {s.name} | [{s.license}]({LICENSE_TEXTS[s.license]}) | {s.author} | {s.source} ({s.package}) |" for s in styles),
        "",
        *(f"- {style.attribution}. Changed here: cropped, scaled, rasterised on white." for style in styles),
        "",
    ]
    return "\n".join(lines)
