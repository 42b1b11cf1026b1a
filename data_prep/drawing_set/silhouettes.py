"""Icons of one colour to drawings whose captions name that colour and the colour of the ground: which colour belongs to what."""

import re
from pathlib import Path

from art.iconify import IconSet
from art.packages import npm_package
from emoji_art.splits import fraction

from drawing_set.drawing import Drawing
from drawing_set.names import COLOUR_WORDS, from_slug, is_usable, with_articles
from drawing_set.sources import Source

COLOURS = {
    "red": "#e0252d",
    "orange": "#f58220",
    "yellow": "#fcd116",
    "green": "#2e9e3f",
    "blue": "#1f5fd0",
    "purple": "#7d3cb5",
    "pink": "#f48fb1",
    "brown": "#7b4a26",
    "black": "#151515",
    "white": "#ffffff",
    "grey": "#8c9199",
}
ALIKE = (
    {"red", "orange"},
    {"red", "brown"},
    {"orange", "brown"},
    {"black", "brown"},
    {"white", "yellow"},
    {"red", "pink"},
    {"white", "pink"},
)
PER_THING = 2
UNNAMED = re.compile(r"^abstract\b|^letter\b|^ui\b|^rdt\b|^blood [abo] ")


def read_silhouettes(source: Source, cache: Path) -> list[Drawing]:
    """`PER_THING` pictures of every thing, and one more in a colour that this thing has nowhere else for one thing in eight."""
    icons = IconSet(npm_package(source.package, cache, f"leave {source.name} out of --sources"))
    drawings, seen = [], set()
    for slug in sorted(icons.slugs()):
        name = from_slug(slug)
        if re.search(r"-(outline|negative|24px|11|jp|stroked)\b", slug) or name in seen or not is_usable(name, slug):
            continue
        if UNNAMED.search(name) or COLOUR_WORDS & set(name.split()):  # "a red black flag" would teach the opposite
            continue
        seen.add(name)
        drawings += [_draw(source, slug, name, colour, ground, icons) for colour, ground in choose_colours(name)]
    return drawings


def choose_colours(name: str) -> list[tuple[str, str]]:
    """(colour, ground) of each picture of a thing: by a hash of its name, no colour twice, no two that can hardly be told apart."""
    pairs = [(one, other) for one in COLOURS for other in COLOURS if one != other and {one, other} not in ALIKE]
    chosen: list[tuple[str, str]] = []
    for colour, ground in sorted(pairs, key=lambda pair: fraction(name, *pair)):
        if all(colour != taken for taken, _ in chosen):
            chosen.append((colour, ground))
    return chosen[: PER_THING + is_composed(name)]


def is_composed(name: str) -> bool:
    """Whether the last picture of a thing is a colour and a thing held out together."""
    return fraction("composition", name) < 0.125


def _draw(source: Source, slug: str, name: str, colour: str, ground: str, icons: IconSet) -> Drawing:
    svg = icons.svg(slug).replace("currentColor", COLOURS[colour])
    captions = [f"{colour} {name} on {ground}", f"{colour} {name}", with_articles(f"a {colour} {name} on a {ground} background")]
    options = {"colour": colour, "thing": name, "ground": ground}
    return Drawing(source.name, f"{slug}/{colour}-{ground}", f"{colour} {name}", captions, svg, ground=COLOURS[ground], options=options)
