"""Text from outside to strings: captions, tables, prompts and recipes, whatever wrote them.

Every reader of text uses these functions, so that none guesses: what a byte order mark or valid UTF-8 settles is read, the rest is an error
that names the place.
"""

import codecs
import json
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from t2igan.errors import UserError

# The longer marks first: UTF-32's begins with UTF-16's
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that show nothing
BYTES_PER_TOKEN = 16  # about four times the average of English


def parse_json(text: str | bytes) -> Any:
    """JSON to a value.

    Raises:
        ValueError: it is no JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path, mend: str) -> Any:
    """A file of JSON; `mend` tells the user what to do where it is damaged.

    Raises:
        UserError: it is no JSON.
    """
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {mend}") from None


def decode_text(data: bytes) -> str:
    """Bytes to text, by their byte order mark, which is dropped, or else as UTF-8.

    Raises:
        ValueError: they are neither, or hold NUL, which text does not.
    """
    mark, encoding = next(((mark, name) for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"not {encoding.upper()} text (byte {len(mark) + error.start}); save it as UTF-8") from None
    if "\0" in text:
        raise ValueError(f"not text (NUL at character {text.index(chr(0))}); save it as UTF-8")
    return text


def read_text(path: Path) -> str:
    """A text file with the line ends of this system as they are. Raises UserError where it is not text, or cannot be read."""
    try:
        return decode_text(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the name and the permissions") from None
    except ValueError as error:
        raise UserError(f"{path.name} is {error}") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in which something is visible, without surrounding white space. Raises UserError where `read_text` does."""
    return [line.strip() for line in read_text(path).splitlines() if not is_invisible(line)]


def clean_caption(text: str) -> str:
    """Without surrounding or doubled white space; empty where nothing of it is visible.

    Raises:
        ValueError: half of a surrogate pair, as a broken JSON escape or an undecodable file name leaves it.
    """
    check_encodable(text)
    return "" if is_invisible(text) else " ".join(text.split())


def clean_captions(captions: Iterable[str]) -> list[str]:
    """Captions as `clean_caption` leaves them, without empty ones and repeats; raises ValueError where it does."""
    return list(dict.fromkeys(filter(None, map(clean_caption, captions))))


def is_invisible(text: str) -> bool:
    """Whether a text shows nothing: white space, control and format characters, blank letters."""
    return all(c.isspace() or c in BLANK_LETTERS or unicodedata.category(c) in ("Cc", "Cf") for c in text)


def check_encodable(text: str) -> None:
    """Raises ValueError where a text holds half of a surrogate pair, which no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a character (U+{ord(text[error.start]):04X} at {error.start}); write it again as UTF-8") from None


def beginning(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """The part of a text that holds its first `tokens` tokens, found without tokenizing the whole of a long one.

    Some tokenizers take time by the square of the length. A text of up to BYTES_PER_TOKEN bytes per token is not cut.

    Args:
        count: tokens of a text; where it finds fewer in the part than `tokens`, the part becomes four times as long.
    """
    limit = BYTES_PER_TOKEN * tokens
    while len(text) > limit // 4 and len(encoded := text.encode()) > limit:
        part = encoded[:limit].decode(errors="ignore")
        if count(part) >= tokens:
            return part
        limit *= 4
    return text
