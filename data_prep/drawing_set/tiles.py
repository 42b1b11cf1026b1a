"""Dungeon Crawl Stone Soup's tiles, from Debian's source package, to drawings: 32 px pixel art of creatures, things and places."""

import re
from pathlib import Path

from art.packages import debian_source

from drawing_set.drawing import TILE, Drawing
from drawing_set.names import from_slug, is_usable
from drawing_set.sources import Source

# What a folder's pictures are, where their file names leave it out ("ruby.png" among the potions); "" where they say it
FOLDERS = {
    "mon/animals": "",
    "mon/aberrations": "",
    "mon/amorphous": "",
    "mon/demihumanoids": "",
    "mon/demons": "",
    "mon/draco": "",
    "mon/dragons": "",
    "mon/eyes": "",
    "mon/fungi_plants": "",
    "mon/holy": "",
    "mon/humanoids": "",
    "mon/mutantbeast": "mutant beast",
    "mon/nonliving": "",
    "mon/spriggans": "",
    "mon/statues": "",
    "mon/undead": "",
    "item/amulet": "amulet",
    "item/armour": "",
    "item/book": "book",
    "item/food": "",
    "item/gold": "gold",
    "item/misc": "",
    "item/potion": "potion",
    "item/ring": "ring",
    "item/rod": "rod",
    "item/scroll": "scroll",
    "item/staff": "staff",
    "item/wand": "wand",
    "item/weapon": "",
    "dngn/altars": "altar",
    "dngn/gateways": "",
    "dngn/shops": "shop",
    "dngn/statues": "",
    "dngn/trees": "",
    "UNUSED/monsters": "",
    "UNUSED/weapons": "",
}
# Marks on items, pieces of doors, artefacts and deities whose names tell nobody what they look like
SKIPPED = re.compile(
    r"/(\._|i-)|brands/|artefact/|randarts/|/urand_|/spwpn_|uncollected|_(gone|inert|unseen|small)\b|\.small|/mons?_|/test_|/generic|overlay|base"
)
TURNED = re.compile(r"^(statue|tree|zombie|skeleton|simulacrum|spectral|rune|misc|altar) (.+)$")  # the kind comes first in these file names
AFTER = {
    "statue": "{} statue",
    "tree": "{} tree",
    "zombie": "zombie {}",
    "skeleton": "{} skeleton",
    "rune": "{} rune",
    "altar": "{} altar",
    "misc": "{}",
}


def read_tiles(source: Source, cache: Path) -> list[Drawing]:
    root = next(debian_source(source.package, cache, f"leave {source.name} out of --sources").glob("**/rltiles"))
    drawings = []
    for folder, kind in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.png")):
            key = path.relative_to(root).with_suffix("").as_posix()
            name = name_tile(path.stem, kind)
            if is_usable(name, path.stem) and not SKIPPED.search(f"/{key}"):
                drawings.append(Drawing(source.name, key, name, [name, f"{name}, {source.style}"], path.read_bytes(), form=TILE))
    return drawings


def name_tile(stem: str, kind: str) -> str:
    """'statue_mermaid' to 'mermaid statue', and 'ruby' of the kind 'potion' to 'ruby potion'."""
    name = re.sub(r"\b(new|old|left|right|ego|tile)\b", "", from_slug(stem)).strip()
    turned = TURNED.match(name)
    if turned:
        name = AFTER.get(turned[1], turned[1] + " {}").format(turned[2])
    name = " ".join(name.split())
    return name if not kind or kind.split()[-1] in name.split() else f"{name} {kind}".strip()
