"""What the drawings' report.json and README.md hold."""

from collections import Counter
from importlib.metadata import version

from drawing_set.drawing import Drawing
from drawing_set.sources import LICENSE_TEXTS, SOURCES, Source
from drawing_set.splits import SPLITS


def make_report(drawings: list[Drawing], sources: list[Source], size: int, dropped: list[dict]) -> dict:
    """Counts of everything."""
    by_source = Counter(drawing.source for drawing in drawings)
    return {
        "size": size,
        "renderer": f"resvg-py {version('resvg-py')}",
        "pictures": len(drawings),
        "drawn_by_hand": sum(drawing.drawn_by_hand for drawing in drawings),
        "names": len({drawing.name for drawing in drawings}),
        "captions": len({caption for drawing in drawings for caption in drawing.captions}),
        "splits": {split: sum(drawing.split == split for drawing in drawings) for split in SPLITS},
        "sources": {source.name: by_source[source.name] for source in sources},
        "licenses": dict(sorted(Counter(SOURCES[drawing.source].license for drawing in drawings).items())),
        "dropped": dict(sorted(Counter(row["reason"] for row in dropped).items())),
        "dropped_pictures": dropped,
    }


def data_card(report: dict, sources: list[Source]) -> str:
    """README.md of the data set: what it is, who drew it, under which licence."""
    size = report["size"]
    rows = [(source, report["sources"][source.name]) for source in sources]
    return "\n".join(
        [
            "# Captioned drawings",
            "",
            f"{report['pictures']} images, {report['drawn_by_hand']} of them drawn by hand, with {report['names']} names, as webdataset",
            f"shards: RGB PNG, {size} x {size}. Made by `data_prep/drawings.py`, drawn by {report['renderer']}.",
            "Counts, and what was left out and why: `report.json`; some images of every source: `contact_sheet.png`.",
            "",
            "| split | images | what it is |",
            "|---|---|---|",
            *(f"| {split} | {report['splits'][split]} | {use} |" for split, use in SPLITS.items()),
            "",
            "## Licences and credits",
            "",
            "Each image keeps the licence of its source. If you pass the shards on, name the authors; what derives from CC BY-SA art stays",
            "CC BY-SA. Changed here: cropped, scaled, rasterised; the silhouettes were coloured.",
            "",
            "| source | images | licence | author | home | package |",
            "|---|---|---|---|---|---|",
            *(f"| {s.name} | {n} | [{s.license}]({LICENSE_TEXTS[s.license]}) | {s.author} | {s.home} | {s.package} |" for s, n in rows),
            "",
        ]
    )
