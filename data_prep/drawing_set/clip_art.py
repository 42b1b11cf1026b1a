"""Debian's openclipart-svg to drawings: public-domain clip art of many hands, named by titles and file names of uneven care."""

import re
from collections import Counter
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from art.packages import debian_package

from drawing_set.drawing import Drawing
from drawing_set.names import LONE, from_slug, is_usable
from drawing_set.sources import Source

FOLDER = "usr/share/openclipart/svg"
# Icons of programs, patterns, playing cards and flags; series whose names say nothing
SKIPPED = (
    "computer/icons",
    "computer/buttons",
    "shapes",
    "signs_and_symbols/flags",
    "signs_and_symbols/led",
    "special",
    "logos",
    "unsorted/duplicates",
)
SKIPPED_SERIES = ("recreation/games/cards", "signs_and_symbols/map_symbols", "geography")
COLLECTION = 4  # files of different names under one title: the title names the collection
CUT = re.compile(r"^((and|with|in|of|on|the|for|by) )+|( (and|with|in|of|on|the|for|by|bw))+$")  # where a text was cut
SIDE = re.compile(r"""(\s)(width|height)\s*=\s*["']([\d.]+)(pt|mm|cm|in|px|)["']""")
PX_PER_UNIT = {"": 1, "px": 1, "pt": 1.25, "mm": 90 / 25.4, "cm": 900 / 25.4, "in": 90}  # of the programs that drew these


@dataclass(frozen=True)
class Titled:
    """One file with its title, as its author gave it."""

    path: Path
    key: str
    title: str


def read_clip_art(source: Source, cache: Path, vocabulary: set[str]) -> list[Drawing]:
    """The pictures whose names are words of `vocabulary`, which leaves out names in other languages and names of their authors."""
    files = list_files(debian_package(source.package, cache, f"leave {source.name} out of --sources") / FOLDER)
    titles = Counter(title for title, _ in {(file.title, file.path.stem[:4]) for file in files})
    drawings = []
    for file in files:
        name = next((name for name in possible_names(file, titles[file.title] >= COLLECTION) if is_english(name, vocabulary)), "")
        if is_usable(name, file.key.rpartition("/")[2]):
            svg = with_view_box(file.path.read_text(encoding="utf-8", errors="replace"))
            drawings.append(Drawing(source.name, file.key, name, [name, f"{name}, {source.style}"], svg))
    return drawings


def list_files(folder: Path) -> list[Titled]:
    files = []
    for path in sorted(folder.rglob("*.svg")):
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key.startswith(SKIPPED) or key.startswith(SKIPPED_SERIES):
            continue
        title = re.search(r"<dc:title[^>]*>(.*?)</dc:title>", path.read_text(encoding="utf-8", errors="replace"), re.S)
        files.append(Titled(path, key, " ".join(unescape(title[1]).split()) if title else ""))
    return files


def possible_names(file: Titled, is_collection: bool) -> list[str]:
    """Names for a file, the likeliest first: its title, the parts of its title, its file name without the author."""
    parts = re.split(r" - |[|(),:;/]", file.title)
    stem = re.sub(r"(_0?\d+\w?)?_?$", "", file.path.stem)
    words = stem.split("_")
    names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    texts = names if is_collection else [file.title, *names, *parts]
    return [CUT.sub("", from_slug(text)) for text in texts]


def is_english(name: str, vocabulary: set[str]) -> bool:
    words = re.findall(r"[a-z']+", name)
    return not set(words) <= LONE and all(word in vocabulary for word in words)


def with_view_box(svg: str) -> str:
    """States the canvas of an SVG in px where it has no viewBox: renderers differ in how long a point or a millimetre is, and cut."""
    root = re.search(r"<svg\b[^>]*>", svg, re.S)
    if root is None or "viewBox" in root[0] or len(SIDE.findall(root[0])) != 2:
        return svg
    sides = {name: float(number) * PX_PER_UNIT[unit] for _, name, number, unit in SIDE.findall(root[0])}
    stated = SIDE.sub(lambda match: f'{match[1]}{match[2]}="{sides[match[2]]:g}"', root[0])
    box = f'<svg viewBox="0 0 {sides["width"]:g} {sides["height"]:g}"'
    return svg.replace(root[0], stated.replace("<svg", box, 1), 1)
