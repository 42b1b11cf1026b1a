"""Concepts and styles to drawn images, without blanks and near duplicates."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from art.render import draw_svg
from PIL import Image
from tqdm import tqdm

from emoji_art.concepts import Concept
from emoji_art.styles import Style, bare, codepoints

COMPARE_SIZE = 32  # near duplicates are found at this size, whatever --size is, so that every size has the same concepts
NEAR_IDENTICAL = 0.02  # mean absolute difference, pixels in [0, 1]; below it, two images can hardly be told apart by eye


@dataclass
class EmojiImage:
    """One concept in one style."""

    concept: Concept
    style: Style
    svg: str
    image: Image.Image | None = None  # drawn; None before, and if the SVG is blank
    split: str = "train"


@dataclass
class Dropped:
    """The images that were left out, and why."""

    rows: list[dict] = field(default_factory=list)

    def add(self, reason: str, item: EmojiImage, **details) -> None:
        self.rows.append({"reason": reason, "concept": item.concept.name, "style": item.style.name, **details})

    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(row["reason"] for row in self.rows).items()))


def collect(concepts: list[Concept], styles: list[Style], cache: Path, dropped: Dropped) -> list[EmojiImage]:
    """Every concept in every style that has it, not yet drawn."""
    keys = {concept.name: bare(codepoints(concept.character)) for concept in concepts}
    items = []
    for style in styles:
        svgs = style.load({keys[concept.name]: concept.unicode_name for concept in concepts}, cache)
        for concept in concepts:
            item = EmojiImage(concept, style, svgs.get(keys[concept.name], ""))
            if item.svg:
                items.append(item)
            else:
                dropped.add("not drawn in this style", item)
    return items


def draw(items: list[EmojiImage], size: int) -> None:
    """Draws every image that does not have this size yet."""
    for item in tqdm(items, f"drawing at {size} px", disable=not sys.stderr.isatty()):
        if item.image is None or item.image.width != size:
            item.image = draw_svg(item.svg, size)


def distinct(items: list[EmojiImage], held_out: dict[str, list[str]], dropped: Dropped) -> list[EmojiImage]:
    """Drops blanks, and every concept that looks like an earlier one at 32 px in some style.

    Held-out concepts count as earlier: of a near-identical pair, the training concept is dropped.
    """
    draw(items, COMPARE_SIZE)
    held_out_names = {name for names in held_out.values() for name in names}
    dropped_names: set[str] = set()
    kept: list[EmojiImage] = []
    for style in dict.fromkeys(item.style for item in items):
        of_style = sorted((item for item in items if item.style is style), key=lambda item: item.concept.name not in held_out_names)
        accepted: list[EmojiImage] = []
        pixels = np.empty((len(of_style), COMPARE_SIZE * COMPARE_SIZE * 3), np.float32)
        for item in of_style:
            if item.image is None:
                dropped.add("blank", item)
                continue
            pixels[len(accepted)] = np.asarray(item.image, np.float32).ravel() / 255
            differences = np.abs(pixels[: len(accepted)] - pixels[len(accepted)]).mean(1)
            nearest = int(differences.argmin()) if accepted else -1
            if accepted and differences[nearest] < NEAR_IDENTICAL:
                reason = "near-identical" if differences[nearest] else "pixel duplicate"
                dropped.add(reason, item, like=accepted[nearest].concept.name, difference=round(float(differences[nearest]), 4))
                dropped_names.add(item.concept.name)
                continue
            accepted.append(item)
        kept.extend(accepted)
    return [item for item in kept if item.concept.name not in dropped_names]
