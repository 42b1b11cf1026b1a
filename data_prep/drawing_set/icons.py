"""Iconify's sets of emoji and of coloured icons to drawings."""

import re
from pathlib import Path

from art.iconify import IconSet
from art.packages import npm_package
from emoji_art.styles import bare

from drawing_set.drawing import Drawing
from drawing_set.names import Words, from_slug, is_usable, unicode_names
from drawing_set.sources import Source

TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
COUNTRY = re.compile(r"^flag-(for-)?(?!flag-)|^flag-for-flag-")
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
    for slug in sorted(icons.slugs(), key=lambda slug: (_size(slug), slug)):
        if not slug.endswith(("-duo", "-logo")):  # two colours only; a trademark
            chosen[re.sub(r"-(16|20|24|28|32|48)$", "", slug)] = slug
    named = ((slug, from_slug(slug.removesuffix("-fill"))) for slug in sorted(chosen.values()))
    return [_drawing(source, slug, name, (), icons) for slug, name in named if is_usable(name)]


def read_emoji(sources: list[Source], cache: Path, flags: bool) -> list[Drawing]:
    """The pictures of sets of emoji, in one skin tone. A concept has the same name in every set.

    Args:
        flags: whether flags of countries and regions are read.
    """
    sets = {source: IconSet(npm_package(source.package, cache, f"leave {source.name} out of --sources")) for source in sources}
    by_slug = {slug: bare(points) for icons in sets.values() for points, slug in sorted(icons.codepoints.items())}
    by_slug |= {slug.replace("-", ""): points for slug, points in sorted(by_slug.items(), reverse=True)} | by_slug
    words = Words([name for name, _ in unicode_names().values()] + [alias for _, aliases in unicode_names().values() for alias in aliases])
    drawings = []
    countries = {COUNTRY.sub("", slug) for icons in sets.values() for slug in icons.slugs() if COUNTRY.match(slug)}
    for source, icons in sets.items():
        slugs = icons.slugs()
        present = set(slugs)
        for slug in slugs:
            country = COUNTRY.sub("", slug) in countries  # some sets call the flag by the country alone
            if is_toned(slug, present) or (country and not flags):
                continue
            name, aliases = (f"flag of {from_slug(COUNTRY.sub('', slug))}", ()) if country else name_emoji(slug, by_slug, words)
            if is_usable(name) and not UNNAMED.search(name) and (flags or not REGION.match(name)):
                drawings.append(_drawing(source, slug, name, aliases, icons))
    return drawings


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
    names = [name, *aliases]
    captions = [caption for one in names for caption in (one, f"{one}, {source.style} style")]
    return Drawing(source.name, slug, name, captions, icons.svg(slug))
