"""Vector emoji art to captioned webdataset shards with held-out splits, at any resolution.

    python data_prep/emoji.py --out data/emoji_32 --size 32

Concepts, plain names and held-out lists: concepts.yaml. Styles and licences: emoji_art/styles.py.
"""

import argparse
import hashlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
# This file shares its name with the `emoji` package: run as a script, its folder must not be searched for imports
sys.path[:] = [str(HERE.parent)] + [entry for entry in sys.path if Path(entry).resolve() not in (HERE, HERE.parent)]

from data_prep.emoji_art.concepts import Concept, read_concepts  # noqa: E402
from data_prep.emoji_art.styles import DEFAULT_STYLES, LICENSE_TEXTS, STYLES, Style, bare, codepoints  # noqa: E402
from t2igan.errors import UserError, run_script  # noqa: E402

SPLITS = ("train", "held_out_pairs", "held_out_concepts", "held_out_compositions")
PAIR_SHARE = 0.08  # of the (concept, style) pairs
COMPARE_SIZE = 32  # near-identical pictures are found at this size, whatever --size says, so that every size has the same concepts
NEAR_IDENTICAL = 0.02  # mean absolute difference, pixels in [0, 1]; by eye, pairs below can hardly be told apart
PER_SHARD = 500
NEEDS = {"emoji": "emoji", "resvg_py": "resvg-py", "yaml": "pyyaml"}  # module: package


@dataclass
class Picture:
    """One concept in one style."""

    concept: Concept
    style: Style
    svg: str
    image: object = None  # PIL.Image at the asked size
    split: str = "train"


@dataclass
class Dropped:
    """What was left out and why; goes to the report."""

    rows: list[dict] = field(default_factory=list)

    def add(self, reason: str, picture: Picture, **details) -> None:
        self.rows.append({"reason": reason, "concept": picture.concept.name, "style": picture.style.name, **details})

    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(row["reason"] for row in self.rows).items()))


def build(out: Path, styles: list[Style], size: int, cache: Path) -> dict:
    """Draws, splits and writes everything to the folder `out`; returns the report."""
    from t2igan.data.render import contact_sheet
    from t2igan.data.staging import atomic_folder, write_json
    from t2igan.data.write import write_shards

    with atomic_folder(out) as folder:
        concepts, held = read_concepts()
        dropped = Dropped()
        pictures = distinct(collect(concepts, styles, cache, dropped), held, dropped)
        draw(pictures, size)
        assign_splits(pictures, held)
        # Hash order: neighbours in a shard are different concepts
        pictures.sort(key=lambda picture: fraction("order", picture.concept.name, picture.style.name))
        for split in SPLITS:
            write_shards((to_sample(picture) for picture in pictures if picture.split == split), folder / split, PER_SHARD)
        report = make_report(pictures, styles, size, dropped)
        write_json(folder / "splits.json", list_splits(pictures))
        write_json(folder / "report.json", report)
        (folder / "README.md").write_text(data_card(report, styles))
        contact_sheet(sheet_rows(pictures, concepts), folder / "contact_sheet.png", min(max(size, 64), 128))
    return report


def collect(concepts: list[Concept], styles: list[Style], cache: Path, dropped: Dropped) -> list[Picture]:
    """Every concept in every style that has it."""
    keys = {concept.name: bare(codepoints(concept.character)) for concept in concepts}
    pictures = []
    for style in styles:
        drawings = style.load({keys[concept.name]: concept.unicode_name for concept in concepts}, cache)
        for concept in concepts:
            picture = Picture(concept, style, drawings.get(keys[concept.name], ""))
            if picture.svg:
                pictures.append(picture)
            else:
                dropped.add("not drawn in this style", picture)
    return pictures


def distinct(pictures: list[Picture], held: dict[str, list[str]], dropped: Dropped) -> list[Picture]:
    """Leaves out blanks, and every concept that in some style can hardly be told from an earlier one at 32 px.

    Held-out concepts count as earlier: of a pair, the training concept goes.
    """
    import numpy as np

    draw(pictures, COMPARE_SIZE)
    secret = {name for names in held.values() for name in names}
    gone: set[str] = set()
    kept: list[Picture] = []
    for style in dict.fromkeys(picture.style for picture in pictures):
        ours = sorted((picture for picture in pictures if picture.style is style), key=lambda picture: picture.concept.name not in secret)
        seen: list[Picture] = []
        pixels = np.empty((len(ours), COMPARE_SIZE * COMPARE_SIZE * 3), np.float32)
        for picture in ours:
            if picture.image is None:
                dropped.add("blank", picture)
                continue
            pixels[len(seen)] = np.asarray(picture.image, np.float32).ravel() / 255
            differences = np.abs(pixels[: len(seen)] - pixels[len(seen)]).mean(1)
            nearest = int(differences.argmin()) if seen else -1
            if seen and differences[nearest] < NEAR_IDENTICAL:
                reason = "near-identical" if differences[nearest] else "pixel duplicate"
                dropped.add(reason, picture, like=seen[nearest].concept.name, difference=round(float(differences[nearest]), 4))
                gone.add(picture.concept.name)
                continue
            seen.append(picture)
        kept.extend(seen)
    return [picture for picture in kept if picture.concept.name not in gone]


def draw(pictures: list[Picture], size: int) -> None:
    """Sets every picture's image (None when blank), unless it already has that size."""
    from tqdm import tqdm

    from t2igan.data.render import draw_svg

    for picture in tqdm(pictures, f"drawing at {size} px", disable=not sys.stderr.isatty()):
        if picture.image is None or picture.image.width != size:
            picture.image = draw_svg(picture.svg, size)


def assign_splits(pictures: list[Picture], held: dict[str, list[str]]) -> None:
    """Sets every picture's split; (concept, style) pairs by a hash, so that a further concept or style moves no other pair."""
    by_concept: dict[str, list[Picture]] = {}
    for picture in pictures:
        by_concept.setdefault(picture.concept.name, []).append(picture)
    kinds = {name: kind for kind, names in held.items() for name in names}
    for name, group in by_concept.items():
        chosen = sorted((p for p in group if fraction(name, p.style.name) < PAIR_SHARE), key=lambda p: fraction(name, p.style.name))
        for picture in chosen[: len(group) - 1]:  # at least one style of the concept stays in train
            picture.split = "held_out_pairs"
        for picture in group:
            picture.split = kinds.get(name, picture.split)


def fraction(*words: str) -> float:
    """Words to a number in [0, 1) that depends on nothing else."""
    return int.from_bytes(hashlib.sha256("\n".join(words).encode()).digest()[:8], "big") / 2**64


def to_sample(picture: Picture):
    """A picture to what `write_shards` takes; the first caption is the concept's plain name."""
    from t2igan.data.render import png_bytes
    from t2igan.data.write import Sample

    concept, style = picture.concept, picture.style
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
        "split": picture.split,
    }
    captions = [caption for pair in zip(concept.captions, styled, strict=True) for caption in pair]
    return Sample(f"{bare(points)}_{style.name}", png_bytes(picture.image), captions, meta)


def list_splits(pictures: list[Picture]) -> dict:
    """What splits.json says: the concepts of each split, and for the pairs [concept, style]."""
    listed: dict = {split: sorted({picture.concept.name for picture in pictures if picture.split == split}) for split in SPLITS}
    return listed | {"held_out_pairs": sorted([p.concept.name, p.style.name] for p in pictures if p.split == "held_out_pairs")}


def make_report(pictures: list[Picture], styles: list[Style], size: int, dropped: Dropped) -> dict:
    captions = {text for p in pictures for caption in p.concept.captions for text in (caption, p.style.captioned(caption))}
    return {
        "size": size,
        "pictures": len(pictures),
        "concepts": len({picture.concept.name for picture in pictures}),
        "captions": len(captions),
        "splits": {split: sum(picture.split == split for picture in pictures) for split in SPLITS},
        "styles": {style.name: sum(picture.style is style for picture in pictures) for style in styles},
        "categories": dict(sorted(Counter(picture.concept.category for picture in pictures).items())),
        "dropped": dropped.counts(),
        "dropped_pictures": dropped.rows,
    }


def sheet_rows(pictures: list[Picture], concepts: list[Concept]) -> list:
    """(name, its pictures) in the curated file's order."""
    drawn: dict[str, list] = {}
    for picture in sorted(pictures, key=lambda picture: picture.style.name):
        drawn.setdefault(picture.concept.name, []).append(picture.image)
    return [(concept.name, drawn[concept.name]) for concept in concepts if concept.name in drawn]


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
        f"{report['pictures']} pictures of {report['concepts']} concepts as webdataset shards: RGB PNG, {size} x {size}, on white.",
        "Made by `data_prep/emoji.py`: cropped to the art, centred, rasterised.",
        "What is where: `splits.json`; counts: `report.json`; every picture: `contact_sheet.png`.",
        "",
        "| split | pictures | what it is |",
        "|---|---|---|",
        *(f"| {split} | {counts[split]} | {use} |" for split, use in uses.items()),
        "",
        "## Licences and attribution",
        "",
        "Each picture keeps the licence of its source.",
        "Who passes the shards on must name the authors; what derives from CC BY-SA art stays CC BY-SA.",
        "",
        "| style | licence | author | source |",
        "|---|---|---|---|",
        *(f"| {s.name} | [{s.license}]({LICENSE_TEXTS[s.license]}) | {s.author} | {s.source} ({s.package}) |" for s in styles),
        "",
        *(f"- {style.attribution}. Changed here: cropped, scaled, rasterised on white." for style in styles),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier data set there is replaced")
    styles = f"of: {', '.join(STYLES)} (default: {' '.join(DEFAULT_STYLES)})"
    parser.add_argument("--styles", nargs="+", default=list(DEFAULT_STYLES), metavar="NAME", help=styles)
    parser.add_argument("--size", type=int, default=32, help="side in pixels (default: %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=Path("data/.npm"), help="where npm packages of further styles stay (default: %(default)s)"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    for name in args.styles:
        if name not in STYLES:
            raise UserError(f"unknown style {name!r}; --styles takes some of: {', '.join(STYLES)}")
    if not 8 <= args.size <= 1024:
        raise UserError(f"--size must be from 8 to 1024 pixels, got {args.size}")
    missing = [package for module, package in NEEDS.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"missing Python packages: {' '.join(missing)}; run: pip install {' '.join(missing)}")
    report = build(args.out, [STYLES[name] for name in dict.fromkeys(args.styles)], args.size, args.cache.resolve())
    splits, dropped = (", ".join(f"{name} {count}" for name, count in report[part].items()) for part in ("splits", "dropped"))
    print(f"{args.out}: {report['pictures']} pictures of {report['concepts']} concepts: {splits}")
    print(f"dropped: {dropped or 'nothing'}")


if __name__ == "__main__":
    run_script(main)
