"""Captions and images to one image: where everything stands."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from t2igan.grids import CAPTION_HEIGHT, DRAWN, MARGIN, READABLE, contact_sheet, grid, sheet, truncate


def noise(side: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 200, (side, side, 3), dtype=np.uint8))


def part(image: Image.Image, left: int, top: int, side: int) -> np.ndarray:
    return np.asarray(image)[top : top + side, left : left + side]


def enlarged(image: Image.Image, factor: int) -> np.ndarray:
    return np.asarray(image).repeat(factor, 0).repeat(factor, 1)


def test_a_grid_has_a_row_of_images_below_each_caption():
    rows = [[noise(16, 3 * y + x) for x in range(3)] for y in range(2)]
    drawn = grid(rows, ["one", "two"])
    assert drawn.size == (3 * (64 + MARGIN) + MARGIN, 2 * (64 + CAPTION_HEIGHT + MARGIN))
    for y, row in enumerate(rows):
        top = y * (64 + CAPTION_HEIGHT + MARGIN)
        assert np.asarray(drawn)[top : top + CAPTION_HEIGHT].min() < 100, "the caption"
        for x, image in enumerate(row):
            assert np.array_equal(part(drawn, MARGIN + x * (64 + MARGIN), top + CAPTION_HEIGHT, 64), enlarged(image, 4))


def test_a_grid_is_as_wide_as_its_longest_caption_up_to_a_limit():
    assert grid([[noise(64)]], ["a caption of some length"]).width > 64 + 2 * MARGIN
    assert grid([[noise(64)]], ["long " * 100]).width == 480
    assert grid([[noise(16)]], [""], scale=2).width == 32 + 2 * MARGIN


def test_captions_of_a_grid_may_stand_beside_each_other():
    rows = [[noise(64, 2 * i), noise(64, 2 * i + 1)] for i in range(5)]
    drawn = grid(rows, list("abcde"), columns=2)
    width, height = 2 * (64 + MARGIN) + MARGIN, 64 + CAPTION_HEIGHT + MARGIN
    assert drawn.size == (2 * width, 3 * height)
    for i, row in enumerate(rows):
        for x, image in enumerate(row):
            left = i % 2 * width + MARGIN + x * (64 + MARGIN)
            assert np.array_equal(part(drawn, left, i // 2 * height + CAPTION_HEIGHT, 64), np.asarray(image))


def test_a_sheet_has_a_caption_above_each_image():
    images = [noise(8, i) for i in range(5)]
    drawn = sheet(images, ["a", "b", "c", "d", "e"], columns=2, scale=3)
    assert drawn.size == (2 * (24 + MARGIN) + MARGIN, 3 * (24 + CAPTION_HEIGHT) + MARGIN)
    for i, image in enumerate(images):
        left, top = MARGIN + i % 2 * (24 + MARGIN), i // 2 * (24 + CAPTION_HEIGHT)
        assert np.array_equal(part(drawn, left, top + CAPTION_HEIGHT, 24), enlarged(image, 3))
        assert np.asarray(drawn)[top : top + CAPTION_HEIGHT, left : left + 24].min() < 100


@pytest.mark.parametrize("count", [1, 2])
def test_every_image_of_grid_and_sheet_needs_a_caption(count):
    with pytest.raises(ValueError, match=r"shorter|longer"):
        grid([[noise(8)]] * (3 - count), ["a"] * count)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        sheet([noise(8)] * (3 - count), ["a"] * count)


def test_a_contact_sheet_enlarges_by_whole_factors_and_reduces_in_proportion():
    rows = [("one", [noise(20), noise(20, 1)]), ("two", [Image.new("RGB", (128, 64), "red")])]
    drawn = contact_sheet(rows, 64)
    block = 2 * 66 + 8
    assert drawn.size == (2 * block, 64 + 18)
    assert np.array_equal(part(drawn, 66, 0, 60), enlarged(rows[0][1][1], 3))
    assert (part(drawn, block, 0, 32) == (255, 0, 0)).all() and (np.asarray(drawn)[33:64, block:] == 255).all()


def test_a_contact_sheet_starts_a_new_line_where_its_width_ends():
    assert contact_sheet([("a", [noise(64)])] * 7, 64, max_width=400).size == (3 * 128, 3 * 82)


def test_a_wide_text_is_truncated_with_an_ellipsis():
    font = ImageFont.load_default(11)
    cut = truncate("a long caption", 40, font)
    assert cut.endswith("…") and "a long caption".startswith(cut[:-1]) and font.getlength(cut) <= 40
    assert truncate("short", 40, font) == "short"


@pytest.mark.parametrize("caption", ["cat " * 25_000, "a" * 100_000, " " * 100_000 + "cat", "\u0301" * 100_000])
def test_the_cost_of_a_caption_does_not_depend_on_its_length(caption, monkeypatch):
    measured = []
    original = ImageFont.FreeTypeFont.getlength
    monkeypatch.setattr(ImageFont.FreeTypeFont, "getlength", lambda font, text: measured.append(len(text)) or original(font, text))
    image = Image.new("RGB", (32, 32), "red")
    assert grid([[image]], [caption]).width <= READABLE
    sheet([image], [caption])
    contact_sheet([(caption, [image])])
    assert max(measured) <= DRAWN + 1 and len(measured) < 60


def test_a_caption_of_several_lines_is_drawn_on_one():
    image = Image.new("RGB", (32, 32), "red")
    assert grid([[image]], ["a cat\non a mat"]).tobytes() == grid([[image]], ["a cat on a mat"]).tobytes()
