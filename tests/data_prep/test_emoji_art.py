"""data_prep/emoji.py: names, splits, framing, determinism, refusals."""

import functools
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from art.render import draw_svg, frame
from emoji_art import build as builder
from emoji_art.build import build
from emoji_art.collect import Dropped, EmojiImage, distinct
from emoji_art.concepts import Concept, is_another_word, read_concepts, unambiguous
from emoji_art.splits import PAIR_SHARE, SPLITS, assign_splits, fraction
from emoji_art.styles import STYLES, bare
from PIL import Image

from t2igan.errors import UserError

SMALL = """
concepts: {shapes/heart: ❤ 💙 🧡 💛, shapes/circle: 🔵 🔴, body/hand: 👍}
held_out_compositions: [blue heart]
held_out_concepts: []
names: {🔵: blue disc}
aliases: {🔴: [red disc, blue heart shape]}
rejected_aliases: ["+1"]
"""


@pytest.fixture(scope="session")
def data(emoji_32) -> Path:
    """The default data set."""
    return emoji_32


@pytest.fixture(scope="session")
def records(data, read_shards) -> dict[str, list]:
    return {split: read_shards(data / split) for split in SPLITS}


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A curated list of seven concepts in place of the real one."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    monkeypatch.setattr(builder, "read_concepts", functools.partial(read_concepts, path))
    return path


def styles(*names: str) -> list:
    return [STYLES[name] for name in names]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name))


def test_images_are_rgb_squares_captioned_by_the_plain_name_first(records):
    for split, samples in records.items():
        for png, text, record in samples:
            assert pixels(png).shape == (32, 32, 3)
            assert text == record["captions"][0] == record["captions_plain"][0] == record["concept"]
            assert record["split"] == split
            assert sorted(record["captions"]) == sorted(record["captions_plain"] + record["captions_styled"])
            assert record["captions_styled"] == [f"{plain}, {record['style']} style" for plain in record["captions_plain"]]


def test_report_and_splits_agree_with_the_shards(data, records):
    report, splits = (json.loads((data / name).read_text()) for name in ("report.json", "splits.json"))
    assert report["splits"] == {split: len(samples) for split, samples in records.items()}
    assert 350 <= report["concepts"] <= 420
    for split in ("train", "held_out_concepts", "held_out_compositions"):
        assert splits[split] == sorted({record["concept"] for _, _, record in records[split]})
    assert splits["held_out_pairs"] == sorted([record["concept"], record["style"]] for _, _, record in records["held_out_pairs"])


def test_no_training_caption_contains_a_held_out_name(data, records):
    splits = json.loads((data / "splits.json").read_text())
    held = splits["held_out_compositions"] + splits["held_out_concepts"]
    assert len(splits["held_out_compositions"]) >= 12 and len(splits["held_out_concepts"]) >= 14
    for split in ("train", "held_out_pairs"):
        for _, _, record in records[split]:
            for caption in record["captions"]:
                assert not [name for name in held if re.search(rf"\b{name}\b", caption)], caption


def test_colour_and_thing_of_every_composition_are_in_train_apart(data):
    splits = json.loads((data / "splits.json").read_text())
    for name in splits["held_out_compositions"]:
        colour, thing = name.split(" ", 1)
        assert any(words(colour) <= words(other) for other in splits["train"]), name
        assert any(words(thing) <= words(other) for other in splits["train"]), name


def test_words_of_every_held_out_concept_occur_in_train(data):
    splits = json.loads((data / "splits.json").read_text())
    known = {word for name in splits["train"] for word in words(name) if len(word) > 2}
    assert [name for name in splits["held_out_concepts"] if not words(name) & known] == []


def test_a_held_out_pair_leaves_the_concept_in_train_in_another_style(records):
    trained = {(record["concept"], record["style"]) for _, _, record in records["train"]}
    held = {(record["concept"], record["style"]) for _, _, record in records["held_out_pairs"]}
    assert not trained & held
    assert {concept for concept, _ in held} <= {concept for concept, _ in trained}
    assert 0.05 < len(held) / (len(held) + len(trained)) < 0.11


def test_a_plain_caption_means_one_concept(records):
    meant: dict[str, set] = {}
    for samples in records.values():
        for _, _, record in samples:
            for caption in record["captions_plain"]:
                meant.setdefault(caption, set()).add(record["concept"])
    assert {caption: concepts for caption, concepts in meant.items() if len(concepts) > 1} == {}


def test_art_is_centred_with_one_margin_for_every_style(records):
    """The longer side spans 92 % of 32 px; pale outlines may fall below the threshold, so up to 3 px of slack."""
    off = []
    for _, _, record in (sample := records["train"]):
        assert record["style"] in ("twemoji", "openmoji")
    for png, name, record in sample:
        ink = np.argwhere(pixels(png).min(axis=2) < 250)
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
        longer = max(bottom - top, right - left)
        if not 27 <= longer <= 32 or abs(top + bottom - 32) > 3 or abs(left + right - 32) > 3:
            off.append((name, record["style"], int(longer)))
    assert off == []


def test_neighbours_in_a_shard_are_different_concepts(records):
    names = [text for _, text, _ in records["train"]]
    assert sum(one == other for one, other in zip(names, names[1:], strict=False)) <= 3


def test_card_names_every_licence_and_its_attribution(data):
    card = (data / "README.md").read_text()
    for style in styles("twemoji", "openmoji"):
        assert style.attribution in card and style.license in card
    assert Image.open(data / "contact_sheet.png").width > 500


def test_skin_tones_are_grouped_under_the_base(records):
    thumbs = [record for samples in records.values() for _, text, record in samples if text == "thumbs up"]
    assert thumbs and all(len(record["skin_tones"]) == 5 for record in thumbs)
    assert not any(tone in record["unicode"] for s in records.values() for _, _, record in s for tone in ("1f3fb", "1f3fd", "1f3ff"))


def test_same_arguments_give_the_same_bytes(small, tmp_path):
    for out in ("one", "two"):
        build(tmp_path / out, styles("twemoji", "openmoji"), 24, tmp_path)
    first = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*") if path.is_file()}
    second = {path.relative_to(tmp_path / "two"): path.read_bytes() for path in (tmp_path / "two").rglob("*") if path.is_file()}
    assert first == second and any(path.suffix == ".tar" for path in first)


def test_concepts_do_not_depend_on_the_size(small, tmp_path):
    reports = [build(tmp_path / str(size), styles("openmoji"), size, tmp_path) for size in (16, 48)]
    assert reports[0]["splits"] == reports[1]["splits"] and reports[0]["dropped"] == reports[1]["dropped"]


def test_renames_and_aliases_come_from_the_curated_file(small):
    concepts, held = read_concepts(small)
    named = {concept.name: concept.aliases for concept in concepts}
    assert "blue disc" in named and "blue circle" not in named
    assert named["red circle"] == ("red disc",)  # "blue heart shape" would leak the held-out "blue heart"
    assert held["held_out_compositions"] == ["blue heart"]


def test_an_alias_of_two_concepts_or_a_name_is_dropped():
    def concept(name: str, *aliases: str) -> Concept:
        return Concept("x", name, aliases, "c", "s", name)

    kept = unambiguous([concept("cat face", "cat", "kitty"), concept("cat", "tom", "pet"), concept("dog", "pet", "mutt")], {}, {"mutt"})
    assert [one.aliases for one in kept] == [("kitty",), ("tom",), ()]


@pytest.mark.parametrize(("alias", "kept"), [("cat2", False), ("v", False), ("hotdog", False), ("hot-dog", False), ("sausage", True)])
def test_codes_and_spellings_are_no_aliases(alias, kept):
    assert is_another_word(alias, "hot dog") is kept


def test_blanks_and_near_identical_images_are_dropped_and_the_held_out_one_stays():
    def drawn(name: str, body: str):
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{body}</svg>'
        return EmojiImage(Concept("x", name, (), "c", "s", name), STYLES["twemoji"], svg)

    disc, ring = '<circle cx="16" cy="16" r="9" fill="red"/>', '<circle cx="16" cy="16" r="9" fill="none" stroke="blue"/>'
    near = disc.replace('"red"', '"#fe0000"')
    images = [drawn("moon", disc), drawn("ring", ring), drawn("air", ""), drawn("ball", near), drawn("sun", near)]
    dropped = Dropped()
    kept = distinct(images, {"held_out_concepts": ["ball"]}, dropped)
    assert {item.concept.name for item in kept} == {"ball", "ring"}
    assert dropped.counts() == {"blank": 1, "near-identical": 1, "pixel duplicate": 1}


def test_a_further_style_moves_no_pair():
    def split(*names: str) -> dict:
        images = [EmojiImage(Concept("x", f"thing {n}", (), "c", "s", ""), STYLES[name], "<svg/>") for n in range(300) for name in names]
        assign_splits(images, {})
        return {(item.concept.name, item.style.name): item.split for item in images}

    two, three = split("twemoji", "openmoji"), split("twemoji", "openmoji", "noto")
    crowded = {name for name, _ in two if all(fraction(name, style) < PAIR_SHARE for style in ("twemoji", "openmoji"))}
    assert "held_out_pairs" in two.values()
    assert {pair[0] for pair in two if two[pair] != three[pair]} <= crowded  # there, one of two drawn styles had to stay in train


def test_an_unknown_emoji_or_held_out_name_is_refused(tmp_path):
    path = tmp_path / "curated.yaml"
    path.write_text(SMALL.replace("[blue heart]", "[teal heart]"))
    with pytest.raises(UserError, match="teal heart"):
        read_concepts(path)
    path.write_text(SMALL.replace("👍", "👍 abc"))
    with pytest.raises(UserError, match="unknown"):
        read_concepts(path)


def test_a_failure_midway_leaves_the_old_data_set(small, tmp_path, monkeypatch):
    out = tmp_path / "data"
    build(out, styles("openmoji"), 16, tmp_path)
    before = (out / "report.json").read_bytes()
    monkeypatch.setattr(builder, "data_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(out, styles("twemoji"), 16, tmp_path)
    assert (out / "report.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "small.yaml"]


def test_a_folder_of_somebody_else_is_not_replaced(refused, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "was not written by this script" in refused("emoji.py", "--out", tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_unknown_style_and_size_are_refused(refused, tmp_path):
    assert "twemoji" in refused("emoji.py", "--out", tmp_path / "a", "--styles", "apple")
    assert "--size" in refused("emoji.py", "--out", tmp_path / "a", "--size", "1")
    assert not (tmp_path / "a").exists()


def test_a_style_from_npm_without_npm_says_what_to_do(refused, tmp_path):
    line = refused("emoji.py", "--out", tmp_path / "a", "--styles", "noto", "--cache", tmp_path / "c", env={"PATH": str(tmp_path)})
    assert "install Node.js" in line and "--styles" in line
    assert list(tmp_path.iterdir()) == []


def test_a_failing_npm_says_what_to_do_and_leaves_no_cache(refused, tmp_path):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'network is down' >&2\nexit 1\n")
    npm.chmod(0o755)
    cache = tmp_path / "cache"
    line = refused("emoji.py", "--out", tmp_path / "a", "--styles", "noto", "--cache", cache, env={"PATH": f"{tmp_path}:/bin:/usr/bin"})
    assert "network is down" in line
    assert not (tmp_path / "a").exists() and list(cache.iterdir()) == []


def test_npm_art_is_found_by_codepoint_or_else_by_slug(tmp_path):
    package = tmp_path / STYLES["noto"].package.rpartition("/")[2] / "package"
    package.mkdir(parents=True)
    icons = {"heart": {"body": "<h/>"}, "red-apple": {"body": "<a/>", "width": 20}}
    (package / "icons.json").write_text(json.dumps({"icons": icons, "height": 32}))
    (package / "chars.json").write_text(json.dumps({"2764-fe0f": "heart"}))
    drawings = STYLES["noto"].load({"2764": "red_heart", "1f34e": "red_apple", "1f600": "grinning_face"}, tmp_path)
    assert set(drawings) == {"2764", "1f34e"}
    assert 'viewBox="0 0 16 32"' in drawings["2764"] and 'viewBox="0 0 20 32"' in drawings["1f34e"]


def test_codepoints_have_one_spelling():
    assert bare("2764-FE0F") == bare("2764") and bare("00A9-fe0f") == "a9"


def test_art_is_framed_with_an_equal_margin():
    """A 20 x 10 block somewhere in an image becomes 92 % of the square's width, centred."""
    image = Image.new("RGB", (64, 64), "white")
    image.paste("black", (30, 5, 50, 15))
    framed = np.asarray(frame(image, (30, 5, 50, 15), 100)).astype(int)
    ink = np.argwhere(framed[..., 0] < 128)
    assert ink.min(axis=0).tolist() == [27, 4] and ink.max(axis=0).tolist() == [72, 95]
    assert (framed[:20] == 255).all() and np.abs(framed - framed[::-1, ::-1]).max() <= 1


def test_svg_is_drawn_on_white_and_a_blank_one_is_none():
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{}</svg>'
    drawn = np.asarray(draw_svg(svg.format('<rect x="3" y="3" width="4" height="4" fill="#00f"/>'), 32))
    assert drawn.shape == (32, 32, 3) and (drawn[16, 16] == (0, 0, 255)).all() and (drawn[0, 0] == 255).all()
    assert draw_svg(svg.format(""), 32) is None
