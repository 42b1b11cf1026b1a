"""data_prep/drawings.py: names and sources, on small packages of the real layout."""

import io
from pathlib import Path

import numpy as np
import pytest
from drawing_set.avatars import FAMILIES, is_combined, read_avatars
from drawing_set.clip_art import Titled, is_english, possible_names, read_clip_art, with_view_box
from drawing_set.drawing import FRAMED, TILE
from drawing_set.drawn import draw
from drawing_set.icons import is_toned, read_emoji, read_icons
from drawing_set.names import Words, from_slug, is_usable, with_articles
from drawing_set.silhouettes import COLOURS, PER_THING, choose_colours, is_composed, read_silhouettes
from drawing_set.sources import SOURCES
from drawing_set.tiles import name_tile
from PIL import Image
from small_packages import SIZE, disc, write_icons


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


def test_trademarks_that_a_package_sorts_as_such_stay_out(tmp_path):
    bodies = {name: disc("red") for name in ("apple", "apple-one", "windows")}
    write_icons(tmp_path, "icon-park", bodies, categories={"Brand": ["apple", "windows"], "Foods": ["apple-one"]})
    assert [drawing.key for drawing in read_icons(SOURCES["icon-park"], tmp_path)] == ["apple-one"]


def test_sets_of_two_colours_are_always_named(tmp_path):
    for source, captions in (("icon-park", ["sofa, icon park style"]), ("flat-color-icons", ["sofa", "sofa, flat style"])):
        write_icons(tmp_path, source, {"sofa": disc("blue")})
        assert read_icons(SOURCES[source], tmp_path)[0].captions == captions


def test_what_an_animation_lets_appear_is_drawn(tmp_path):
    drop = '<path fill="#00f" d="M2 2h4v4h-4z" opacity="0"><animateTransform attributeName="transform" dur="1s"/>'
    drop += '<animate id="a" attributeName="opacity" values="0; 1; 0"/></path>'
    hidden = '<path fill="#0f0" d="M9 9h4v4h-4z" opacity="0"/>'
    write_icons(tmp_path, "meteocons", {"rain-fill": disc("#eee") + drop + hidden})
    (found,) = read_icons(SOURCES["meteocons"], tmp_path)
    pixels = np.asarray(draw(found.art, found.form, found.ground, 32)).astype(int)
    assert found.name == "rain" and (pixels[..., 2] > pixels[..., 0] + 100).any() and not (pixels[..., 1] > pixels[..., 0] + 100).any()


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
        bare = "" in {drawing.options[name] for name in FAMILIES[family].features}
        assert len(drawing.captions) == (1 if family in ("planets", "landscape", "pixel-art") else 2) or not bare
    shorter = {caption for drawing in read_avatars(SOURCES[family], 200) for caption in drawing.captions[1:]}
    assert not shorter & {drawing.captions[0] for drawing in read_avatars(SOURCES[family], 200)}, "one caption, two meanings"


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
