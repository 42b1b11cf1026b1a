"""The curated list (concepts.yaml) and the `emoji` package's names to concepts with unambiguous aliases."""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from emoji import EMOJI_DATA

from emoji_art.styles import bare, codepoints
from t2igan.errors import UserError

CURATED = Path(__file__).with_name("concepts.yaml")
HELD_OUT = ("held_out_concepts", "held_out_compositions")
SKIN_TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")
FULLY_QUALIFIED = 2  # the `emoji` package's status of an emoji as keyboards send it


@dataclass(frozen=True)
class Concept:
    """What an emoji shows, by its plain name."""

    character: str
    name: str
    aliases: tuple[str, ...]
    category: str
    subcategory: str
    unicode_name: str
    tones: tuple[str, ...] = ()  # codepoints of the skin-tone variants, which are not drawn

    @property
    def captions(self) -> list[str]:
        return [self.name, *self.aliases]


def read_concepts(path: Path = CURATED) -> tuple[list[Concept], dict[str, list[str]]]:
    """The curated file to concepts in its order and {"held_out_concepts": names, "held_out_compositions": names}.

    Raises:
        UserError: the `emoji` package does not know an emoji, two concepts have one name, or a held-out name is not a concept.
    """
    curated = yaml.safe_load(path.read_text(encoding="utf-8"))
    names, aliases = ({bare(codepoints(key)): value for key, value in curated[section].items()} for section in ("names", "aliases"))
    known = {bare(codepoints(character)): character for character, entry in EMOJI_DATA.items() if entry["status"] == FULLY_QUALIFIED}
    found: dict[str, Concept] = {}
    for group, characters in curated["concepts"].items():
        category, _, subcategory = group.partition("/")
        for key in (bare(codepoints(character)) for character in characters.split()):
            if key not in known:
                raise UserError(f"{path.name}: {key} in {group} is unknown to the `emoji` package; remove it or update the package")
            entry = EMOJI_DATA[known[key]]
            name = names.get(key) or plain(entry["en"])
            if name in found:
                raise UserError(f"{path.name}: {found[name].character} and {known[key]} are both {name!r}; rename or remove one")
            short = aliases.get(key, [plain(alias) for alias in entry.get("alias", [])])
            tones = tuple(f"{key}-{tone}" for tone in SKIN_TONES if f"{key}-{tone}" in known)
            short = tuple(alias for alias in short if is_another_word(alias, name))
            found[name] = Concept(known[key], name, short, category, subcategory, plain(entry["en"]), tones)
    held_out = {split: list(curated[split]) for split in HELD_OUT}
    for name in (name for split_names in held_out.values() for name in split_names):
        if name not in found:
            raise UserError(f"{path.name}: held-out {name!r} is not a concept; use one of the names of `concepts`")
    return unambiguous(list(found.values()), held_out, set(curated["rejected_aliases"])), held_out


def plain(name: str) -> str:
    """':smiling_face_with_heart-eyes:' -> 'smiling face with heart-eyes'."""
    return name.strip(":").replace("_", " ").replace("’", "'").lower().strip()


def is_another_word(alias: str, name: str) -> bool:
    """Whether an alias adds a word: it is not a code ('cat2', 'v') or another spelling of the name ('hotdog')."""
    spelling = [re.sub(r"[ -]", "", text) for text in (alias, name)]
    return len(alias) > 2 and not re.search(r"\d", alias) and spelling[0] != spelling[1]


def unambiguous(concepts: list[Concept], held_out: dict[str, list[str]], rejected: set[str]) -> list[Concept]:
    """Drops every alias that is rejected, is another concept's name or alias, or contains a held-out name."""
    names = {concept.name for concept in concepts}
    uses = Counter(alias for concept in concepts for alias in set(concept.aliases))
    held_out_names = {name for split_names in held_out.values() for name in split_names}

    def is_kept(alias: str, name: str) -> bool:
        leaks = any(re.search(rf"\b{re.escape(other)}\b", alias) for other in held_out_names - {name})
        return alias not in names | rejected and uses[alias] == 1 and not leaks

    return [replace(c, aliases=tuple(dict.fromkeys(alias for alias in c.aliases if is_kept(alias, c.name)))) for c in concepts]
