"""Which drawings are trained on, and which of the held-out splits has the others."""

import re
import unicodedata
from collections import defaultdict

from emoji_art.concepts import read_concepts
from emoji_art.splits import fraction

from drawing_set.avatars import is_combined
from drawing_set.drawing import Drawing
from drawing_set.silhouettes import is_composed
from drawing_set.sources import AVATARS, EMOJI, HELD_OUT_STYLE, ICONS, SILHOUETTES, SOURCES, TILES

SPLITS = {
    "train": "training",
    "held_out_pairs": "a (concept, style) pair; the concept is in train in another style",
    "held_out_concepts": "whole concepts, in every style; some of their words are in train",
    "held_out_compositions": "colour x thing; the colour and the thing are each in train",
    "held_out_combinations": "two options of a generator; each option is in train, the two together are not",
    "held_out_style": f"every other picture of one style, {HELD_OUT_STYLE}",
}
PAIR_SHARE = 0.05  # of the (concept, style) pairs of emoji
CONCEPT_SHARE = 0.03  # of the concepts that enough styles have, and of things that no emoji shows
STYLES_OF_CONCEPT = 5  # a concept that fewer styles have is not held out
LEAKS = "names something held out"
ORPHANS = "its thing is not in train"


def assign_splits(drawings: list[Drawing]) -> list[Drawing]:
    """Sets every drawing's split, by hashes, so that a further source moves little; returns those left out.

    Left out: what would be trained on but whose caption holds the name of a held-out concept or composition.
    """
    compositions = set(read_concepts()[1]["held_out_compositions"])
    concepts = choose_concepts(drawings) - compositions
    by_thing: dict[tuple[str, str], list[Drawing]] = defaultdict(list)
    for drawing in drawings:
        drawing.split = split_of(drawing, concepts, compositions)
        if SOURCES[drawing.source].kind == SILHOUETTES:
            by_thing[drawing.source, drawing.options["thing"]].append(drawing)
    for (_, thing), group in by_thing.items():
        if is_composed(thing) and group[-1].split == "train":
            group[-1].split = "held_out_compositions"
    held_out = concepts | compositions | {d.name for d in drawings if d.split == "held_out_compositions"}
    known = {normalised(name) for name in held_out}
    return [drawing for drawing in drawings if drawing.split in ("train", "held_out_pairs") and _names_any(drawing, known)]


def settle(drawings: list[Drawing]) -> list[Drawing]:
    """Makes the promises of `SPLITS` true of what was kept: a held-out pair whose concept train has nowhere is trained on.

    Returns what is left out: compositions whose colour or thing train does not have.
    """
    trained = {drawing.name for drawing in drawings if drawing.split == "train"}
    for drawing in drawings:
        if drawing.split == "held_out_pairs" and drawing.name not in trained:
            drawing.split = "train"
    things = {drawing.options["thing"] for drawing in drawings if drawing.split == "train" and "thing" in drawing.options}
    composed = [drawing for drawing in drawings if drawing.split == "held_out_compositions" and "thing" in drawing.options]
    return [drawing for drawing in composed if drawing.options["thing"] not in things]


def split_of(drawing: Drawing, concepts: set[str], compositions: set[str]) -> str:
    kind = SOURCES[drawing.source].kind
    if kind == AVATARS:
        return "held_out_combinations" if is_combined(drawing.source, drawing.options) else "train"
    if drawing.name in compositions:
        return "held_out_compositions"
    if drawing.options.get("thing", drawing.name) in concepts:
        return "held_out_concepts"
    if drawing.source == HELD_OUT_STYLE:
        return "held_out_style"
    if kind == EMOJI and fraction("pair", drawing.name, drawing.source) < PAIR_SHARE:
        return "held_out_pairs"
    return "train"


def choose_concepts(drawings: list[Drawing]) -> set[str]:
    """The names held out whole, in every source: some of those that at least `STYLES_OF_CONCEPT` styles of emoji have.

    Of tiles, icons and silhouettes, which have their own things, some that no emoji shows; of several words, so that few captions hold
    them.
    """
    styles: dict[str, set[str]] = defaultdict(set)
    things = set()
    for drawing in drawings:
        kind = SOURCES[drawing.source].kind
        if kind == EMOJI:
            styles[drawing.name].add(drawing.source)
        elif kind in (TILES, ICONS, SILHOUETTES) and " " in drawing.options.get("thing", drawing.name):
            things.add(drawing.options.get("thing", drawing.name))
    candidates = {name for name, found in styles.items() if len(found) >= STYLES_OF_CONCEPT} | (things - set(styles))
    return {name for name in candidates if fraction("concept", name) < CONCEPT_SHARE}


def normalised(text: str) -> str:
    """Lower-case words without accents, hyphens and the plural's s, so that spellings of one name are equal."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return " ".join(singular(word) for word in re.findall(r"[a-z0-9]+", plain.replace("'", "")))


def singular(word: str) -> str:
    if len(word) > 4 and word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _names_any(drawing: Drawing, names: set[str]) -> bool:
    """Whether a caption holds one of these normalised names, as whole words in a row."""
    for caption in drawing.captions:
        words = normalised(caption).split()
        if any(" ".join(words[i:j]) in names for i in range(len(words)) for j in range(i + 1, min(i + 7, len(words)) + 1)):
            return True
    return False
