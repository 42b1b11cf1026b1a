"""data_prep/drawings.py: splits, near duplicates, determinism, packages, refusals."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from art.packages import debian_package, debian_source
from drawing_set import build as builder
from drawing_set.avatars import read_avatars
from drawing_set.build import build
from drawing_set.drawing import Drawing
from drawing_set.drawn import draw_all
from drawing_set.near_duplicates import NEAR, drop_near_duplicates, small
from drawing_set.silhouettes import choose_colours
from drawing_set.sources import HELD_OUT_STYLE, LICENSE_TEXTS, SOURCES
from drawing_set.splits import SPLITS, assign_splits, normalised, settle
from PIL import Image
from small_packages import SIZE, disc, drawn, fake, write_icons

from t2igan.errors import UserError


def test_what_is_held_out_is_nowhere_in_the_captions_of_train():
    styles = ["noto", "twemoji", "openmoji", "fluent-emoji", "emojione", HELD_OUT_STYLE]
    names = [f"thing {chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(400)]
    drawings = [drawn(style, name, name) for style in styles for name in names]
    drawings += [drawn("openclipart", f"small {name}", f"small {name}") for name in names]
    left_out = assign_splits(drawings)
    counts = {split: sum(drawing.split == split for drawing in drawings) for split in SPLITS}
    in_style = [drawing.split for drawing in drawings if drawing.source == HELD_OUT_STYLE]
    assert set(in_style) == {"held_out_style", "held_out_concepts"} and counts["held_out_style"] > 350
    assert 20 < counts["held_out_concepts"] < 150 and 30 < counts["held_out_pairs"] < 200
    held_out = {drawing.name for drawing in drawings if drawing.split == "held_out_concepts"}
    assert {drawing.name for drawing in left_out} == {f"small {name}" for name in held_out}
    trained = {drawing.name for drawing in drawings if drawing.split == "train"}
    assert not trained & held_out and {drawing.name for drawing in drawings if drawing.split == "held_out_pairs"} <= trained


def test_compositions_are_of_colours_and_things_that_train_has():
    drawings = []
    for i in range(80):
        for colour, ground in choose_colours(f"thing {i}"):
            options = {"colour": colour, "thing": f"thing {i}", "ground": ground}
            drawings.append(drawn("maki", f"{i}{colour}", f"{colour} thing {i}", options=options))
    assign_splits(drawings)
    held_out = [drawing.options for drawing in drawings if drawing.split == "held_out_compositions"]
    trained = [drawing.options for drawing in drawings if drawing.split == "train"]
    assert held_out and {o["thing"] for o in held_out} <= {o["thing"] for o in trained}
    assert not {(o["colour"], o["thing"]) for o in held_out} & {(o["colour"], o["thing"]) for o in trained}


@pytest.mark.parametrize(
    ("caption", "name", "leaks"),
    [
        ("three skulls", "skull", True),
        ("up down arrow", "up-down arrow", True),
        ("a Piñata party", "pinata", True),
        ("two compasses", "compass", True),
        ("mrs claus", "mrs. claus", True),
        ("glass", "glas", False),
        ("skullcap", "skull", False),
    ],
)
def test_a_name_is_found_however_it_is_spelled(caption, name, leaks):
    assert (f" {normalised(name)} " in f" {normalised(caption)} ") is leaks


def test_what_was_dropped_breaks_no_promise_of_the_splits():
    alone = drawn("noto", "a", "thing a", split="held_out_pairs")
    both = [drawn("noto", "b", "thing b", split="held_out_pairs"), drawn("twemoji", "b", "thing b")]
    options = {"colour": "red", "thing": "cup", "ground": "blue"}
    orphan = drawn("maki", "c", "red cup", options=options, split="held_out_compositions")
    known = [drawn("maki", "d", "red mug", options=options | {"thing": "mug"}, split="held_out_compositions")]
    known.append(drawn("maki", "e", "blue mug", options=options | {"thing": "mug", "colour": "blue"}))
    assert settle([alone, *both, orphan, *known]) == [orphan]
    assert alone.split == "train" and both[0].split == "held_out_pairs"


def test_things_that_no_emoji_shows_are_held_out_in_every_source():
    names = [f"{chr(97 + i % 26)}a {chr(97 + i // 26)}b" for i in range(400)]
    tiles = [drawn("crawl", name, name) for name in names]
    options = {"colour": "red", "ground": "blue"}
    silhouettes = [drawn("maki", name, f"red {name}", options=options | {"thing": name}) for name in names]
    single = [drawn("crawl", f"s{i}", f"word{i}") for i in range(400)]
    shown = [drawn("noto", name, name) for name in names[:200]]
    assign_splits([*tiles, *silhouettes, *single, *shown])
    held_out = {drawing.name for drawing in tiles if drawing.split == "held_out_concepts"}
    assert 2 <= len(held_out) <= 14 and not held_out & set(names[:200])
    assert {drawing.options["thing"] for drawing in silhouettes if drawing.split == "held_out_concepts"} == held_out
    assert all(drawing.split == "train" for drawing in single)


def test_near_duplicates_are_those_that_a_loop_finds(tmp_path):
    rng = np.random.default_rng(0)
    bases = rng.integers(0, 255, (40, 16, 16, 3))
    arrays = [np.clip(bases[i % 40] + rng.normal(0, 3 if i % 3 else 20, (16, 16, 3)), 0, 255).astype(np.uint8) for i in range(120)]
    images = [Image.fromarray(array) for array in arrays]
    drawings = [drawn("noto", str(i), str(i), file=tmp_path / f"{i}.png") for i in range(120)]
    for drawing, image in zip(drawings, images, strict=True):
        image.save(drawing.file)
    kept, expected = [], []
    for i, array in enumerate(arrays):
        like = [j for j in kept if np.sqrt(((array / 255 - arrays[j] / 255) ** 2).mean()) < NEAR]
        expected += [str(i)] if like else []
        kept += [] if like else [i]
    assert sorted(drawing.key for drawing, _ in drop_near_duplicates(drawings)) == sorted(expected) and len(expected) > 5
    assert small(images[0]).size == (16, 16)


def test_a_picture_is_drawn_once(tmp_path, monkeypatch):
    drawings = [Drawing("noto", "a", "a", ["a"], f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{disc("red")}</svg>')]
    draw_all(drawings, SIZE, tmp_path, 1)
    first = drawings[0].image.tobytes()
    monkeypatch.setattr("drawing_set.drawn.draw", lambda *_: 1 / 0)
    draw_all(drawings, SIZE, tmp_path, 1)
    assert drawings[0].image.tobytes() == first
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".png"]


@pytest.fixture
def small_world(tmp_path, monkeypatch) -> tuple[list, Path]:
    """Four sources of few pictures, and their cache."""
    packages = tmp_path / "cache/packages"
    shades = {f"thing-x{chr(97 + i)}": disc(f"rgb({20 + i * 22},{200 - i * 15},{(i * 67) % 255})", 3 + i % 4) for i in range(10)}
    write_icons(packages, "noto", shades | {"no-thing": "", "same-thing": shades["thing-xa"]})
    write_icons(packages, "twemoji", {slug: body.replace("circle", "circle stroke='black'") for slug, body in shades.items()})
    write_icons(packages, "game-icons", {slug: body.replace("fill", "fill='currentColor' data-fill") for slug, body in shades.items()})
    monkeypatch.setattr(builder, "read_avatars", lambda source: read_avatars(source, 6))
    return [SOURCES[name] for name in ("noto", "twemoji", "game-icons", "landscape")], tmp_path / "cache"


def test_two_runs_give_the_same_bytes_and_the_report_counts_them(small_world, tmp_path, read_shards):
    sources, cache = small_world
    reports = [build(tmp_path / out, sources, SIZE, cache, False, 1) for out in ("one", "two")]
    first, second = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("one", "two")
    )
    assert first == second and reports[0] == reports[1] == json.loads((tmp_path / "one/report.json").read_text())
    samples = {split: read_shards(tmp_path / "one" / split) for split in SPLITS}
    assert {split: len(found) for split, found in samples.items()} == reports[0]["splits"] and reports[0]["pictures"] > 30
    for split, found in samples.items():
        for png, text, record in found:
            assert Image.open(io.BytesIO(png)).size == (SIZE, SIZE)
            assert text == record["captions"][0] and record["split"] == split and record["license"] in LICENSE_TEXTS
    assert reports[0]["dropped"] == {"blank": 1, "near duplicate": reports[0]["dropped"]["near duplicate"]}
    card = (tmp_path / "one/README.md").read_text()
    assert all(source.author in card and source.license in card for source in sources)
    assert reports[0]["renderer"].startswith("resvg-py ") and reports[0]["renderer"] in card


def test_the_pictures_do_not_depend_on_the_size(small_world, tmp_path):
    sources, cache = small_world
    reports = [build(tmp_path / str(size), sources, size, cache, False, 1) for size in (16, 24)]
    assert reports[0]["splits"] == reports[1]["splits"] and reports[0]["dropped_pictures"] == reports[1]["dropped_pictures"]


def test_every_licence_has_its_text():
    assert {source.license for source in SOURCES.values()} <= set(LICENSE_TEXTS)


def test_debians_packages_are_unpacked_once(tmp_path, monkeypatch):
    fake(tmp_path, "apt-get", 'test "$1" = download && echo deb > "$2_1.deb"')
    fake(tmp_path, "dpkg-deb", 'mkdir -p "$3/usr" && cp "$2" "$3/usr/picture.svg"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    folder = debian_package("art", tmp_path / "cache", "go on")
    assert [path.name for path in folder.iterdir()] == ["usr"]
    fake(tmp_path, "apt-get", "exit 1")
    assert debian_package("art", tmp_path / "cache", "go on") == folder
    with pytest.raises(UserError, match=r"could not fetch other .* or go on"):
        debian_package("other", tmp_path / "cache", "go on")


def test_debians_sources_are_unpacked_and_the_lists_removed(tmp_path, monkeypatch):
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles/rat.png").write_text("rat")
    with tarfile.open(tmp_path / "art_1.orig.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "tiles", "art-1/tiles")
    fake(tmp_path, "apt-get", f'case "$*" in *update) ;; *) cp {tmp_path}/art_1.orig.tar.gz . ;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    folder = debian_source("art", tmp_path / "cache", "go on")
    assert (folder / "art-1/tiles/rat.png").read_text() == "rat"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["art-source"]


def test_what_comes_broken_is_one_line(tmp_path, monkeypatch):
    fake(tmp_path, "apt-get", 'echo no archive > "$2_1.deb"')
    fake(tmp_path, "dpkg-deb", "echo not a package >&2; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UserError, match=r"could not fetch art: what came cannot be unpacked \(.*\); run .* or go on"):
        debian_package("art", tmp_path / "cache", "go on")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_script_refuses_what_it_cannot_do(refused, tmp_path):
    assert "twemoji" in refused("drawings.py", "--out", tmp_path / "a", "--sources", "apple")
    assert "--size" in refused("drawings.py", "--out", tmp_path / "a", "--size", "1")
    assert "--processes" in refused("drawings.py", "--out", tmp_path / "a", "--processes", "0")
    line = refused("drawings.py", "--out", tmp_path / "a", "--sources", "noto", "--cache", tmp_path / "c", env={"PATH": str(tmp_path)})
    assert "install Node.js" in line and "leave noto out of --sources" in line
    assert list(tmp_path.iterdir()) == []
