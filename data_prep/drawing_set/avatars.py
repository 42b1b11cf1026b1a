"""DiceBear's generators to drawings: pictures whose captions name the options that they were drawn with.

Each option is one of a few plain words; what a caption does not name (a person's skin, the places of the stars) varies freely.
"""

import itertools
import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from emoji_art.splits import fraction

from drawing_set.drawing import WHOLE, Drawing
from drawing_set.names import with_articles
from drawing_set.sources import Source

PER_FAMILY = 900
COMBINED = 0.1  # share of the pairs of a family's two leading options that are held out


@dataclass(frozen=True)
class Option:
    """One choice of a generator: plain words to the colour or the variants (any of them) of a component, or None for going without it."""

    component: str
    values: dict[str, str | None]

    def settings(self, word: str) -> dict:
        """DiceBear's settings for it."""
        value = self.values[word]
        if value is None:
            return {f"{self.component}Probability": 0}
        if value.startswith("#"):
            return {f"{self.component}Color": [value]}
        return {f"{self.component}Variant": value.split(), f"{self.component}Probability": 100}


@dataclass(frozen=True)
class Family:
    """One generator.

    Attributes:
        options: by name, "colour" among them; the combinations of the first two are held out in part.
        caption: its words are the options' names in braces, with {features} for those that are listed behind "with".
        features: options whose words are listed; "" is none.
        fixed: further settings of DiceBear, the same for every picture.
    """

    options: dict[str, Option]
    caption: str
    features: tuple[str, ...]
    fixed: dict = field(default_factory=dict)

    def describe(self, words: dict[str, str]) -> list[str]:
        """The full caption, and one that leaves out the features, unless that is the full one of a picture without them."""
        listed = [words[name] for name in self.features if words[name]]
        joined = "" if not listed else " with " + (listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}")
        told = (joined,) if all("" in self.options[name].values for name in self.features) else (joined, "")
        captions = [self.caption.format(**words, features=features) for features in told]
        return list(dict.fromkeys(with_articles(caption) for caption in captions))


def numbered(stem: str, count: int) -> str:
    """'long', 2 to 'long01 long02': any of these variants."""
    return " ".join(f"{stem}{number:02}" for number in range(1, count + 1))


LIGHT = {
    "blue": "#7dd3fc",
    "purple": "#c4b5fd",
    "pink": "#fda4af",
    "orange": "#fdba74",
    "yellow": "#fcd34d",
    "green": "#bef264",
    "white": "#e2e8f0",
}
DARK = {"blue": "#1d4ed8", "purple": "#6d28d9", "red": "#be123c", "orange": "#c2410c", "green": "#047857", "black": "#1e293b"}
PLANETS = {"red": "#e27a8c", "orange": "#d88a40", "yellow": "#c1982a", "green": "#74b160", "blue": "#47a7e7", "purple": "#a18ee8"}
ROBOTS = {"white": "#e9ecef", "blue": "#74c0fc", "green": "#69db7c", "yellow": "#ffd43b", "pink": "#ff9d9d", "purple": "#b6a6f5"}
HAIR = {"blond": "#cab188", "brown": "#603a14", "red": "#bd1700", "black": "#28150a", "blue": "#009bbd", "green": "#91cb15"}
EARS = {"round ears": "earsRound", "pointed ears": "earsPointy"}
TOPS = {"": None, "horns": "horns", "an antenna": "antenna", **EARS, "a crown": "crown", "a leaf": "sprout"}
EYES = {"one eye": "mono", "two eyes": "round", "three eyes": "trio", "four eyes": "four", "closed eyes": "closedLine"}
PLANTS = {"a cactus": "cactus", "a tulip": "tulip", "a palm": "palm", "a flower": "flower", "a bush": "bush", "a succulent": "succulent"}
SURFACES = {"plain": None, "cratered": "cratered", "striped": "banded", "spotted": "spotted", "cracked": "cracked"}
ROBOT_TOPS = {"": None, "an antenna": "antenna", "two antennas": "twin", "a dish": "dish", "a fin": "fin", "a siren": "siren"}
FAMILIES = {
    "critters": Family(
        {
            "shape": Option("body", {"round": "round", "square": "block", "tall": "tower", "bell-shaped": "bell", "pointed": "peak"}),
            "colour": Option("body", LIGHT),
            "ground": Option("background", DARK),
            "top": Option("top", TOPS),
            "eyes": Option("eyes", EYES),
            "pattern": Option("pattern", {"": None, "dots": "dots", "stripes": "stripes"}),
        },
        "a {shape} {colour} monster{features} on {ground}",
        ("top", "eyes", "pattern"),
        {"cheeksProbability": 0},
    ),
    "sprouts": Family(
        {
            "plant": Option("plant", {**PLANTS, "grass": "grass"}),
            "colour": Option("pot", LIGHT),
            "ground": Option("background", DARK),
            "face": Option("mouth", {"a smile": "smile", "a frown": "frown", "an open mouth": "open"}),
            "pattern": Option("pattern", {"": None, "dots": "dots", "stripes": "stripes"}),
        },
        "{plant} in a {colour} pot{features} on {ground}",
        ("face", "pattern"),
        {"cheeksProbability": 0},
    ),
    "planets": Family(
        {
            "colour": Option("planet", PLANETS),
            "ring": Option("ring", {"": None, "a thin ring": "thin", "a thick ring": "bold", "two rings": "double"}),
            "surface": Option("surface", SURFACES),
            "moons": Option("moons", {"": None, "one moon": "one", "two moons": "two"}),
        },
        "a {surface} {colour} planet{features}",
        ("ring", "moons"),
    ),
    "voxel-bot": Family(
        {
            "colour": Option("body", ROBOTS),
            "top": Option("top", ROBOT_TOPS),
            "eyes": Option("eyes", {"round eyes": "round", "square eyes": "square", "a visor": "visor", "one eye": "cyclops"}),
            "chest": Option("chest", {"": None, "buttons": "buttons", "a screen": "screen", "a heart": "heart", "a dial": "dial"}),
        },
        "a {colour} robot{features}",
        ("top", "eyes", "chest"),
    ),
    "landscape": Family(
        {
            "colour": Option("hill4", {"green": "#2c5837", "brown": "#684821", "red": "#6a3c2c", "blue": "#30506f"}),
            "sky": Option("background", {"blue": "#d5f3ff", "yellow": "#faf0d2", "pink": "#ffe4e1", "purple": "#f0e9ff"}),
            "sun": Option("orb", {"": None, "an orange sun": "sun", "an orange ring": "ring"}),
        },
        "{colour} hills under a {sky} sky{features}",
        ("sun",),
        {"orbColor": ["#fea247"]},
    ),
    "pixel-art": Family(
        {
            "colour": Option("hair", HAIR),
            "shirt": Option("clothing", {"blue": "#428bca", "green": "#00b159", "red": "#d11141", "yellow": "#ffd969"}),
            "length": Option("hair", {"long": numbered("long", 21), "short": numbered("short", 19)}),
            "glasses": Option("glasses", {"": None, "glasses": numbered("dark", 7)}),
        },
        "a person in a {shirt} shirt with {length} {colour} hair{features}, pixel art",
        ("glasses",),
        {"hatProbability": 0, "beardProbability": 0, "accessoriesProbability": 0, "backgroundColor": ["#ffffff"]},
    ),
}
# A landscape's hills from far to near, before the nearest one: its hue, less and less pale
FARTHER = {
    "green": ("#b0d2b0", "#84ae85", "#508659"),
    "brown": ("#dac99e", "#b3a15e", "#987431"),
    "red": ("#e2bc9e", "#c38f65", "#a26144"),
    "blue": ("#a8cde8", "#76a5c6", "#507ca1"),
}


def read_avatars(source: Source, count: int = PER_FAMILY) -> list[Drawing]:
    """`count` pictures of options drawn at random; the same ones whenever they are asked for."""
    from dicebear import Avatar  # here, because other sources need no generator

    family = FAMILIES[source.name]
    style = read_style(source.name)
    drawings: list[Drawing] = []
    for number in itertools.count():
        words = {name: pick(option, source.name, name, str(number)) for name, option in family.options.items()}
        if words["colour"] == words.get("ground"):
            continue  # nothing would stand out
        svg = str(Avatar(style, {"seed": f"{source.name} {number}", **family.fixed, **settings(source.name, words)}))
        captions = family.describe(words)
        drawings.append(Drawing(source.name, f"{number:04}", captions[0], captions, svg, form=WHOLE, options=words))
        if len(drawings) == count:
            return drawings


@cache
def read_style(name: str):
    """DiceBear checks a style as it reads it, which takes a second."""
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text(encoding="utf-8")))


def pick(option: Option, *seed: str) -> str:
    """One of an option's words, by a hash."""
    return list(option.values)[int(fraction(*seed) * len(option.values))]


def settings(family: str, words: dict[str, str]) -> dict:
    """DiceBear's settings for a family's options."""
    found: dict = {}
    for name, option in FAMILIES[family].options.items():
        found |= option.settings(words[name])
    if family == "landscape":
        found |= {f"hill{number}Color": [shade] for number, shade in enumerate(FARTHER[words["colour"]], start=1)}
    return found


def is_combined(family: str, words: dict[str, str]) -> bool:
    """Whether the combination of a family's two leading options is held out."""
    first, second = list(FAMILIES[family].options)[:2]
    return (words[first], words[second]) in combined(family)


@cache
def combined(family: str) -> list[tuple[str, str]]:
    """The held-out combinations of a family, chosen by a hash."""
    first, second = list(FAMILIES[family].options.values())[:2]
    pairs = sorted(itertools.product(first.values, second.values), key=lambda pair: fraction("combination", family, *pair))
    return pairs[: max(1, round(COMBINED * len(pairs)))]
