"""data_prep/drawings.py: names, sources, splits, near duplicates, determinism, refusals; on small packages of the real layout."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from art.packages import debian_package, debian_source
from drawing_set import build as builder
from drawing_set.avatars import FAMILIES, is_combined, read_avatars
from drawing_set.build import build
from drawing_set.clip_art import Titled, is_english, possible_names, read_clip_art, with_view_box
from drawing_set.drawing import FRAMED, TILE, Drawing
from drawing_set.drawn import draw, draw_all
from drawing_set.icons import is_toned, read_emoji, read_icons
from drawing_set.names import Words, from_slug, is_usable, with_articles
from drawing_set.near_duplicates import NEAR, drop_near_duplicates, small
from drawing_set.silhouettes import COLOURS, PER_THING, choose_colours, is_composed, read_silhouettes
from drawing_set.sources import HELD_OUT_STYLE, LICENSE_TEXTS, SOURCES
from drawing_set.splits import SPLITS, assign_splits, normalised, settle
from drawing_set.tiles import name_tile
from PIL import Image

from t2igan.errors import UserError

SIZE = 16


def disc(fill: str, radius: int = 6) -> str:
    return f'<circle cx="8" cy="8" r="{radius}" fill="{fill}"/>'


def write_icons(packages: Path, source: str, bodies: dict[str, str], codepoints: dict[str, str] | None = None) -> None:
    """A package of a source as npm unpacks it."""
    folder = packages / SOURCES[source].package.rpartition("/")[2] / "package"
    folder.mkdir(parents=True)
    (folder / "icons.json").write_text(json.dumps({"icons": {slug: {"body": body} for slug, body in bodies.items()}, "height": 16}))
    (folder / "chars.json").write_text(json.dumps(codepoints or {}))


def drawn(source: str, key: str, name: str, **details) -> Drawing:
    return Drawing(source, key, name, [name], f"<svg>{key}</svg>", **details)


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("red-apple_2", "red apple"),
        ("Wine Glass 03", "wine glass"),
        ("x-ray", "x-ray"),
        ("t-shirt-b", "t-shirt"),
        ("negative-space-outline", "negative space"),
        ("labtop", "laptop"),
        ("card-10-spades", "card spades"),
    ],
)
def test_slugs_become_plain_names(slug, name):
    assert from_slug(slug) == name


@pytest.mark.parametrize(
    ("name", "slug", "usable"),
    [
        ("red apple", "", True),
        ("apple", "apple-2", True),
        ("facebook", "", False),
        ("wall robot", "wall-e-robot", False),
        ("ab", "", False),
        ("a b", "", False),
        ("and", "", False),
        ("green", "", False),
        ("w" * 60, "", False),
    ],
)
def test_trademarks_and_what_is_no_name_are_left_out(name, slug, usable):
    assert is_usable(name, slug) is usable


@pytest.mark.parametrize(
    ("text", "said"), [("a orange on a ice", "an orange on an ice"), ("a unicorn in a umbrella", "a unicorn in an umbrella")]
)
def test_articles(text, said):
    assert with_articles(text) == said


def test_words_without_spaces_are_split_into_known_ones():
    words = Words(["two-hump camel", "old key", "key", "moon"])
    assert words.split("oldkey") == "old key" and words.split("moonkey") == "moon key"
    assert words.split("moonqqq") == ""


def test_only_complete_sets_of_five_tones_are_tones():
    present = {
        "wave",
        *(f"wave-{tone}" for tone in ("light", "medium-light", "medium", "medium-dark", "dark")),
        "police-car",
        "police-car-light",
    }
    assert is_toned("wave-medium-dark", present) and is_toned("thumbs-up-light-skin-tone", present)
    assert not is_toned("police-car-light", present) and not is_toned("wave", present)


def test_emoji_have_one_name_in_every_set_and_flags_are_an_option(tmp_path):
    write_icons(
        tmp_path, "noto", {"red-apple": disc("red"), "flag-malta": disc("white")}, {"1f34e": "red-apple", "1f1f2-1f1f9": "flag-malta"}
    )
    write_icons(tmp_path, "fxemoji", {"redapple": disc("#c00"), "malta": disc("white")})
    write_icons(
        tmp_path, "streamline-emojis", {"red-apple-1": disc("#d00"), "red-apple-2": disc("#e00"), "red-apple-light-skin-tone": disc("pink")}
    )
    sources = [SOURCES[name] for name in ("noto", "fxemoji", "streamline-emojis")]
    found = read_emoji(sources, tmp_path, flags=False)
    assert {drawing.key for drawing in found} == {"red-apple", "redapple", "red-apple-1", "red-apple-2"}
    assert {drawing.name for drawing in found} == {"red apple"}
    assert found[0].captions[:2] == ["red apple", "red apple, noto style"]
    flags = [drawing for drawing in read_emoji(sources, tmp_path, flags=True) if drawing.name.startswith("flag of")]
    assert [drawing.name for drawing in flags] == ["flag of malta", "flag of malta"]


def test_the_flag_of_a_country_is_known_by_its_codepoints_and_other_flags_and_birds_stay(tmp_path):
    art = {slug: disc("red") for slug in ("turkey", "flag-turkey", "white-flag", "flag-in-hole")}
    write_icons(
        tmp_path, "noto", art, {"1f983": "turkey", "1f1f9-1f1f7": "flag-turkey", "1f3f3-fe0f": "white-flag", "26f3": "flag-in-hole"}
    )
    write_icons(tmp_path, "emojione", {slug: disc("red") for slug in ("turkey", "flag-for-turkey", "flag-for-white-flag", "flag-in-hole")})
    sources = [SOURCES["noto"], SOURCES["emojione"]]
    names = [drawing.name for drawing in read_emoji(sources, tmp_path, flags=False)]
    assert names.count("turkey") == names.count("white flag") == 2 and len(names) == 6
    flags = {drawing.name for drawing in read_emoji(sources, tmp_path, flags=True)} - set(names)
    assert flags == {"flag of turkey"}


def test_of_icon_park_numbers_count_pictures_not_things(tmp_path):
    write_icons(tmp_path, "icon-park", {"sofa-two": disc("red"), "two-hands": disc("red")})
    assert {drawing.name for drawing in read_icons(SOURCES["icon-park"], tmp_path)} == {"sofa", "two hands"}


def test_of_an_icons_sizes_the_largest_is_taken_and_two_coloured_and_logos_are_not(tmp_path):
    bodies = {"beach-16": disc("red"), "beach-48": disc("blue"), "beach-20": disc("red"), "map-duo": disc("red"), "mail-logo": disc("red")}
    write_icons(tmp_path, "fluent-color", bodies)
    found = read_icons(SOURCES["fluent-color"], tmp_path)
    assert [(drawing.key, drawing.name) for drawing in found] == [("beach-48", "beach")]


def test_a_silhouette_has_the_colours_of_its_caption(tmp_path):
    slugs = ("sword", "abstract-010", "sword-2", "red-flag")
    write_icons(tmp_path, "game-icons", {slug: disc("currentColor") for slug in slugs})
    found = read_silhouettes(SOURCES["game-icons"], tmp_path)
    assert len(found) == PER_THING + is_composed("sword") and {drawing.options["thing"] for drawing in found} == {"sword"}
    for drawing in found:
        pixels = np.asarray(draw(drawing.art, drawing.form, drawing.ground, 32))
        assert drawing.captions[0] == "{colour} sword on {ground}".format(**drawing.options)
        for at, colour in (((16, 16), drawing.options["colour"]), ((0, 0), drawing.options["ground"])):
            assert "#{:02x}{:02x}{:02x}".format(*pixels[at]) == COLOURS[colour]


def test_a_thing_has_no_colour_twice_and_some_things_have_one_to_hold_out():
    chosen = {str(i): choose_colours(str(i)) for i in range(400)}
    assert all(len({colour for colour, _ in pairs}) == len(pairs) for pairs in chosen.values())
    assert 0.06 < sum(len(pairs) > PER_THING for pairs in chosen.values()) / 400 < 0.2


@pytest.mark.parametrize(
    ("stem", "title", "is_collection", "first"),
    [
        ("farfalla_butterfly_fra1", "Farfalla - Butterfly", False, "butterfly"),
        ("apple", "Clipart by Somebody - pear", True, "apple"),
        ("wine_glass_christian_h._", "Wine Glass", False, "wine glass"),
        ("orange_wedge_and_slice_linda_01", "", False, "orange wedge"),
        ("pizza_bw", "B and W", False, "pizza"),
    ],
)
def test_clip_art_is_named_by_its_title_or_its_file(stem, title, is_collection, first):
    vocabulary = {"butterfly", "apple", "wine", "glass", "orange", "wedge", "pear", "and", "pizza"}
    names = possible_names(Titled(Path(f"{stem}.svg"), stem, title), is_collection)
    assert next(name for name in names if is_english(name, vocabulary)) == first


def test_clip_art_in_points_is_not_cut(tmp_path):
    """A red block in the far corner of a canvas of 100 points, 125 px."""
    block = '<rect x="105" y="105" width="20" height="20" fill="red"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="100pt" height="100pt">{block}</svg>'
    assert (np.asarray(draw(with_view_box(svg), FRAMED, "white", SIZE))[8, 8] == (255, 0, 0)).all()
    assert with_view_box(svg.replace("<svg", '<svg viewBox="0 0 9 9"')) == svg.replace("<svg", '<svg viewBox="0 0 9 9"')
    folder = tmp_path / "openclipart-svg/usr/share/openclipart/svg/animals"
    folder.mkdir(parents=True)
    (folder / "pesce_01.svg").write_text(svg.replace("<rect", "<title/><dc:title>Pesce</dc:title><rect"))
    (folder / "fish_mo_01.svg").write_text(svg.replace("<rect", "<dc:title>Fish</dc:title><rect"))
    found = read_clip_art(SOURCES["openclipart"], tmp_path, {"fish"})
    assert [(drawing.key, drawing.captions) for drawing in found] == [("animals/fish_mo_01", ["fish", "fish, clip art"])]


@pytest.mark.parametrize(
    ("stem", "kind", "name"),
    [
        ("statue_mermaid", "", "mermaid statue"),
        ("ruby", "potion", "ruby potion"),
        ("skeleton_dragon", "", "dragon skeleton"),
        ("tree4", "", "tree"),
    ],
)
def test_tiles_are_named_in_the_order_of_speech(stem, kind, name):
    assert name_tile(stem, kind) == name


def test_pixel_art_keeps_its_pixels():
    tile = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    tile.putpixel((1, 2), (255, 0, 0, 255))
    data = io.BytesIO()
    tile.save(data, "PNG")
    pixels = np.asarray(draw(data.getvalue(), TILE, "white", 8))
    assert (pixels[4:6, 2:4] == (255, 0, 0)).all() and (pixels == 255).all(2).sum() == 60


def test_art_that_cannot_be_read_is_blank():
    assert draw("<svg", FRAMED, "white", 8) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_captions_name_what_the_generator_was_told(family):
    """Each word of a feature stands in the full caption; the same options and seed give the same picture; others another one."""
    found = read_avatars(SOURCES[family], 12)
    again = read_avatars(SOURCES[family], 12)
    assert [drawing.art for drawing in found] == [drawing.art for drawing in again] and len({drawing.art for drawing in found}) == 12
    for drawing in found:
        missing = [word for word in drawing.options.values() if word and word not in drawing.captions[0]]
        assert missing == []
        assert drawing.options["colour"] != drawing.options.get("ground")


def test_a_held_out_combination_is_of_options_that_are_seen_apart():
    for name, family in FAMILIES.items():
        first, second = list(family.options)[:2]
        pairs = {
            (a, b): is_combined(name, {first: a, second: b}) for a in family.options[first].values for b in family.options[second].values
        }
        assert any(pairs.values()), name
        for position, option in enumerate((first, second)):
            for word in family.options[option].values:
                assert not all(held for pair, held in pairs.items() if pair[position] == word), (name, word)


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


def test_near_duplicates_are_those_that_a_loop_finds():
    rng = np.random.default_rng(0)
    bases = rng.integers(0, 255, (40, 16, 16, 3))
    arrays = [np.clip(bases[i % 40] + rng.normal(0, 3 if i % 3 else 20, (16, 16, 3)), 0, 255).astype(np.uint8) for i in range(120)]
    images = [Image.fromarray(array) for array in arrays]
    drawings = [drawn("noto", str(i), str(i)) for i in range(120)]
    kept, expected = [], []
    for i, array in enumerate(arrays):
        like = [j for j in kept if np.sqrt(((array / 255 - arrays[j] / 255) ** 2).mean()) < NEAR]
        expected += [str(i)] if like else []
        kept += [] if like else [i]
    assert sorted(drawing.key for drawing, _ in drop_near_duplicates(drawings, images)) == sorted(expected) and len(expected) > 5
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


def test_the_pictures_do_not_depend_on_the_size(small_world, tmp_path):
    sources, cache = small_world
    reports = [build(tmp_path / str(size), sources, size, cache, False, 1) for size in (16, 24)]
    assert reports[0]["splits"] == reports[1]["splits"] and reports[0]["dropped_pictures"] == reports[1]["dropped_pictures"]


def test_every_licence_has_its_text():
    assert {source.license for source in SOURCES.values()} <= set(LICENSE_TEXTS)


def fake(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


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
