"""File names, slugs and titles to plain names."""

import re
from functools import cache
from pathlib import Path

from emoji import EMOJI_DATA
from emoji_art.concepts import read_concepts
from emoji_art.styles import bare, codepoints

LONGEST_NAME = 48  # characters; longer titles describe a scene, or are no names
SPELLING = {"pre": "", "lables": "labels", "labtop": "laptop", "clound": "cloud", "reciept": "receipt", "databse": "database"}
MARKS = {"alt", "duo", "fill", "outline", "negative", "ii", "iii", "iv"}  # of a further picture, at the end of a slug
LETTERS = {"x", "t", "u", "e"}  # that begin a word: x-ray, t-shirt, u-turn, e-mail
COLOUR_WORDS = {"red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "gray", "gold", "silver"}
# Words that name no thing by themselves
LONE = COLOUR_WORDS | {"a", "and", "big", "black and white", "bw", "clip", "for", "in", "large", "little", "new", "of", "old", "on", "open"}
LONE |= {"simple", "small", "the", "thin", "van", "with", "wall"}


def from_slug(slug: str) -> str:
    """'red-apple_2' to 'red apple': separators to spaces, numbers and other marks of further pictures dropped, misspellings mended."""
    parts = re.split(r"[^a-zA-Z0-9']+", slug.replace("’", "'").lower())
    words = [re.sub(r"\d+$", "", part) for part in parts if part]
    words = [word for word in words if word and not re.search(r"\d", word)]
    while words and words[-1] in MARKS:
        words.pop()
    if len(words) > 1 and words[0] in LETTERS:
        words[:2] = [f"{words[0]}-{words[1]}"]
    words = [SPELLING.get(word, word) for word in words if len(word) > 1]
    return " ".join(word for word in words if word)


def with_articles(text: str) -> str:
    """'a orange' to 'an orange'."""
    return re.sub(r"\ba (?=[aeio]|u(?!ni|k|v|f|s))", "an ", text)


@cache
def trademarks() -> re.Pattern:
    """What matches a name that holds a trademark, or a character that somebody owns."""
    lines = Path(__file__).with_name("trademarks.txt").read_text(encoding="utf-8").splitlines()
    return re.compile(rf"\b({'|'.join(re.escape(line) for line in lines if line and not line.startswith('#'))})\b")


def is_usable(name: str, slug: str = "") -> bool:
    """Whether a name can be a caption: it names something, is not too long, and neither it nor its slug holds somebody's trademark."""
    owned = any(trademarks().search(" ".join(re.findall(r"[a-z]+", text.lower()))) for text in (name, slug))
    return 2 < len(name) <= LONGEST_NAME and any(len(word) > 2 for word in name.split()) and name not in LONE and not owned


@cache
def unicode_names() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Bare codepoints to (plain name, further names) of every emoji; the curated names of emoji_art come before Unicode's."""
    curated = {bare(codepoints(c.character)): (c.name, c.aliases) for c in read_concepts()[0]}
    found = {}
    for character, entry in EMOJI_DATA.items():
        key = bare(codepoints(character))
        name = entry["en"].strip(":").replace("_", " ").replace("’", "'").lower()
        found.setdefault(key, curated.get(key, (name, ())))
    return found


class Words:
    """Splits words that are written without spaces, such as 'bactriancamel', into words that other names have."""

    def __init__(self, names: list[str]):
        self._known = {word for name in names for word in re.findall(r"[a-z]+", name) if len(word) > 1} | {"a"}
        self._whole = {name.replace(" ", "").replace("-", ""): name for name in sorted(names)}

    def __contains__(self, slug: str) -> bool:
        """Whether a name is spelled so, but for spaces and hyphens."""
        return slug.replace("-", "") in self._whole

    def split(self, joined: str) -> str:
        """The name that is spelled so, or else the fewest known words; '' if there are none."""
        if joined in self._whole:
            return self._whole[joined]
        best: list[list[str] | None] = [[]] + [None] * len(joined)
        for end in range(1, len(joined) + 1):
            for start in range(max(0, end - 20), end):
                before, word = best[start], joined[start:end]
                if before is not None and word in self._known and (best[end] is None or len(before) + 1 < len(best[end])):
                    best[end] = [*before, word]
        return " ".join(best[-1] or [])
