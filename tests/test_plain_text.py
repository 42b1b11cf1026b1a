"""Text from outside: decoded or refused, never guessed; long texts are not read whole."""

import codecs
import json

import pytest

from t2igan.errors import UserError
from t2igan.plain_text import BYTES_PER_TOKEN, beginning, clean_caption, decode_text, read_json, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_or_utf_8_settles_the_encoding(encoding):
    assert decode_text("un café ❤".encode(encoding)) == "un café ❤"
    assert decode_text("".encode(encoding)) == ""


@pytest.mark.parametrize("mark, encoding", [(codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_BE, "utf-32-be")])
def test_big_endian_marks(mark, encoding):
    assert decode_text(mark + "ein Bär".encode(encoding)) == "ein Bär"


@pytest.mark.parametrize(
    "data, reason",
    [
        ("a café".encode("latin-1"), "not UTF-8 text (byte 5)"),
        ("a cat".encode("utf-16-le"), "NUL at character 1"),
        (codecs.BOM_UTF16_LE + b"a", "not UTF-16-LE text (byte 2)"),
        (codecs.BOM_UTF8 + b"\xff", "not UTF-8 text (byte 3)"),
    ],
)
def test_the_rest_is_an_error_that_names_the_place(data, reason, tmp_path):
    with pytest.raises(ValueError, match=r"save it as UTF-8") as error:
        decode_text(data)
    assert reason in str(error.value)
    (tmp_path / "cat.txt").write_bytes(data)
    with pytest.raises(UserError, match=r"^cat\.txt is not "):
        read_text(tmp_path / "cat.txt")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path)


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b\ufeff", "\x07", "\u3164 \u2800"])
def test_what_shows_nothing_is_empty(text):
    assert clean_caption(text) == ""


def test_white_space_is_joined_and_visible_text_stays():
    assert clean_caption("  a\tred \n heart\u2028❤️ ") == "a red heart ❤️"
    assert clean_caption("👩‍🚀") == "👩‍🚀", "a joiner inside a visible text belongs to it"


def test_half_of_a_surrogate_pair_is_refused():
    with pytest.raises(ValueError, match=r"half a character \(U\+D83D at 2\)"):
        clean_caption(json.loads('"a \\ud83d"'))
    assert clean_caption(json.loads('"a \\ud83d\\ude3a"')) == "a 😺"


def words(text: str) -> int:
    words.read.append(len(text))
    return len(text.split())


@pytest.mark.parametrize("text, least", [("cat " * 25_000, 8), ("a" * 100_000, 1), ("猫 " * 50_000, 8)])
def test_the_beginning_holds_the_tokens_of_the_whole(text, least):
    words.read = []
    part = beginning(text, 8, words)
    assert text.startswith(part) and words(part) >= least
    assert part == text or (len(part.encode()) <= BYTES_PER_TOKEN * 8 and max(words.read) <= BYTES_PER_TOKEN * 8)


def test_a_text_of_ordinary_length_is_not_even_counted():
    words.read = []
    text = "a red apple on a plate"
    assert beginning(text, 8, words) is text and words.read == []


def test_a_beginning_of_few_tokens_grows():
    text = " " * 5_000 + "a cat on a mat in the sun today"
    assert len(beginning(text, 8, lambda part: len(part.split())).split()) == 9


DAMAGED = [(b"[" * 100_000, "nested too deeply"), (b"{", "Expecting"), (b"\xff\xfe\0", "utf"), (b"", "Expecting")]


@pytest.mark.parametrize(("content", "why"), DAMAGED)
def test_a_damaged_file_of_json_says_how_to_mend_it(content, why, tmp_path):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(UserError, match=f"plan.json is damaged .*{why}.*; remove it") as error:
        read_json(tmp_path / "plan.json", "remove it")
    assert "\n" not in str(error.value)
