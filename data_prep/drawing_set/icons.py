"""Iconify's sets of emoji and of coloured icons to drawings."""

import re
from pathlib import Path

from art.iconify import IconSet
from art.packages import npm_package
from emoji_art.styles import bare

from drawing_set.drawing import Drawing
from drawing_set.names import Words, from_slug, is_usable, unicode_names
from drawing_set.sources import Source

BRANDS = {"Brand", "Logos"}  # categories of trademarks
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
FLAG = re.compile(r"^flag-(for-)?(flag-)?")
FURTHER = re.compile(r"-(one|two|three|four|five|six|seven|eight|nine)$")  # in icon-park, a further picture of a thing
REGION = re.compile(
    r"^(?!(white|black|checkered|pirate|rainbow|triangular|crossed|(deep )?(red|orange|yellow|green|blue|purple|brown)) flag).+ flag$"
)
UNNAMED = re.compile(
    r"\bletter\b|\bdigit\b|\bkeycap\b|regional indicator|^japanese .* button$|\bskin tone\b|^input "
)  # text, or no picture
CHANGED = re.compile(r"^(black|white|heavy) ")  # in Unicode's old names these mean filled or outlined, not the colour


def read_icons(source: Source, cache: Path) -> list[Drawing]:
    """The pictures of a set of coloured icons, the largest of a size each."""
    icons = IconSet(npm_package(source.package, cache, f"leave {source.name} out of --sources"))
    chosen: dict[str, str] = {}
    brands = icons.of_categories(BRANDS)
    for slug in sorted(icons.slugs(), key=lambda slug: (_size(slug), slug)):
        if not slug.endswith(("-duo", "-logo")) and slug not in brands:  # two colours only; trademarks
            chosen[re.sub(r"-(16|20|24|28|32|48)$", "", slug)] = slug
    named = ((slug, from_slug(FURTHER.sub("", slug) if source.name == "icon-park" else slug)) for slug in sorted(chosen.values()))
    return [_drawing(source, slug, name, (), icons) for slug, name in named if is_usable(name, slug)]


def read_emoji(sources: list[Source], cache: Path, flags: bool) -> list[Drawing]:
    """The pictures of sets of emoji, in one skin tone. A concept has the same name in every set.

    Args:
        flags: whether flags of countries and regions are read.
    """
    sets = {source: IconSet(npm_package(source.package, cache, f"leave {source.name} out of --sources")) for source in sources}
    by_slug = {slug: bare(points) for icons in sets.values() for points, slug in sorted(icons.codepoints.items())}
    by_slug |= {slug.replace("-", ""): points for slug, points in sorted(by_slug.items(), reverse=True)} | by_slug
    named = [names for points, names in unicode_names().items() if not is_country(points)]
    words = Words([name for main, aliases in named for name in (main, *aliases)])
    drawings = []
    countries = {FLAG.sub("", slug) for slug, points in by_slug.items() if is_country(points)}
    for source, icons in sets.items():
        slugs = icons.slugs()
        present = set(slugs)
        for slug in slugs:
            points, place = by_slug.get(slug), FLAG.sub("", slug)
            # Sets without codepoints call a flag flag-for-malta, flag-for-flag-malta or malta
            country = (
                is_country(points)
                if points
                else (place in countries and (FLAG.match(slug) or place not in words))
                or (slug.startswith("flag-for-") and not slug.endswith("-flag"))
            )
            if is_toned(slug, present) or (country and not flags):
                continue
            if country:
                name, aliases = f"flag of {from_slug(place)}", ()
            else:
                name, aliases = name_emoji(slug.removeprefix("flag-for-"), by_slug, words)
            if is_usable(name, slug) and not UNNAMED.search(name) and (flags or not REGION.match(name)):
                drawings.append(_drawing(source, slug, name, aliases, icons))
    return drawings


def is_country(points: str) -> bool:
    """Whether these are the two letters, or the tags, by which Unicode writes the flag of a country or a region."""
    parts = [int(part, 16) for part in points.split("-")]
    return all(0x1F1E6 <= part <= 0x1F1FF for part in parts) or any(0xE0061 <= part <= 0xE007A for part in parts)


def name_emoji(slug: str, by_slug: dict[str, str], words: Words) -> tuple[str, tuple[str, ...]]:
    """(plain name, further names) of a slug; ('', ()) if nobody can say.

    Args:
        by_slug: slugs, with and without hyphens, to bare codepoints.
    """
    stem = re.sub(r"-\d+$", "", slug)  # "baby-2" is a second picture of a baby
    points = by_slug.get(stem) or by_slug.get(stem.replace("-", ""))
    if points in unicode_names():
        return unicode_names()[points]
    name = from_slug(stem) if "-" in stem else words.split(stem)
    return ("", ()) if CHANGED.match(name) else (name, ())


def is_toned(slug: str, present: set[str]) -> bool:
    """Whether this is one of the five skin tones of another picture of the set."""
    if slug.endswith("-skin-tone"):
        return True
    for tone in TONES:
        base = slug.removesuffix(f"-{tone}")
        if base != slug and all(f"{base}-{other}" in present for other in TONES):
            return True
    return False


def _size(slug: str) -> int:
    size = re.search(r"-(16|20|24|28|32|48)$", slug)
    return int(size[1]) if size else 0


def _drawing(source: Source, slug: str, name: str, aliases: tuple[str, ...], icons: IconSet) -> Drawing:
    captions = [caption for one in (name, *aliases) for caption in ((one,) if source.plain else ()) + (f"{one}, {source.style} style",)]
    return Drawing(source.name, slug, name, captions, icons.svg(slug))
