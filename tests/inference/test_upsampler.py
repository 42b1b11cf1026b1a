"""Pictures of any size, from anywhere, to large ones."""

import pytest
import torch
from PIL import Image
from tiny import generator_of, tiny_upsampler, without_text

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline
from t2igan.inference.upsampler import PADDING_REACH, Upsampler, tile_starts, tile_weight
from t2igan.layers.resample import upsample
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]
TILES = {"tile": 32, "overlap": 16}


@pytest.fixture(scope="module")
def recipe(kit):
    return parse(Recipe, tiny_upsampler(kit), "")


def saved(recipe, folder, spread: float) -> Upsampler:
    torch.manual_seed(4)
    generator = build_system(recipe).generator
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
        if not spread:
            for name in ("8", "16"):
                generator.synthesis.stages[name].to_rgb.weight.zero_()
    save_model(folder / "model", generator, recipe, {"images_seen": 1})
    return Upsampler.load(folder, "cpu")


@pytest.fixture(scope="module")
def upsampler(recipe, tmp_path_factory):
    return saved(recipe, tmp_path_factory.mktemp("upsampler"), 0.3)


@pytest.fixture(scope="module")
def plain(recipe, tmp_path_factory):
    """One that adds nothing to what it gets."""
    return saved(recipe, tmp_path_factory.mktemp("plain"), 0.0)


@pytest.mark.parametrize("shape", [(8, 8), (9, 31), (40, 40), (67, 33)])
def test_tiles_that_add_nothing_leave_the_enlarged_image(shape, plain):
    """Every pixel is covered, and the weights of those that cover it add to one."""
    low = torch.rand(1, 3, *shape) * 2 - 1
    large = plain.upsample_tensor(low, **TILES)
    assert large.shape == (1, 3, 2 * shape[0], 2 * shape[1])
    assert (large - upsample(low)).abs().max() < 1e-5


@pytest.mark.parametrize(("size", "tile", "overlap"), [(8, 8, 3), (16, 8, 4), (100, 32, 16), (68, 32, 9), (148, 64, 22), (1024, 64, 32)])
def test_tiles_cover_a_side_overlap_enough_and_begin_where_maps_halve(size, tile, overlap):
    begin = tile_starts(size, tile, overlap, 4)
    assert all(start % 4 == 0 for start in begin)
    assert begin[0] == 0 and begin[-1] + tile >= size and begin[-1] + tile <= max(size, tile)
    assert all(a + tile - b >= overlap for a, b in zip(begin, begin[1:], strict=False))


def test_a_tile_fades_towards_its_neighbours_and_is_never_shown_near_its_border():
    falling, rising = tile_weight(32, 16, 4, first=True, last=False), tile_weight(32, 16, 4, first=False, last=True)
    assert torch.allclose(falling[-16 * 4 :] + rising[: 16 * 4], torch.ones(64))
    assert rising[: 4 * PADDING_REACH].max() == 0 and falling[: 16 * 4].min() == 1 and (rising[1:] >= rising[:-1]).all()


def test_tiles_differ_from_the_whole_only_by_what_they_do_not_see(upsampler):
    """The network's attention sees its tile alone; convolutions, all but what reaches in from a border far away."""
    low = torch.rand(1, 3, 32, 64) * 2 - 1
    whole = upsampler.upsample_tensor(low, "thing 1", tile=64)
    attended = (upsampler.upsample_tensor(low, "thing 1", **TILES) - whole).abs()
    synthesis = upsampler.generator.synthesis
    attention, synthesis.stages["4"].attention = synthesis.stages["4"].attention, None
    try:
        local = (upsampler.upsample_tensor(low, "thing 1", **TILES) - upsampler.upsample_tensor(low, "thing 1", tile=64)).abs()
    finally:
        synthesis.stages["4"].attention = attention
    assert 0 < local.mean() < attended.mean() < 1e-2
    assert local[..., : 2 * (32 - PADDING_REACH - 12)].max() < 1e-5


@pytest.mark.parametrize("shape", [(45, 32), (33, 75)])
def test_an_image_of_uneven_sides_is_drawn_as_the_whole_is(shape, upsampler):
    """Tiles begin where the network's maps halve, so that convolutions alone draw each as the whole."""
    low = torch.rand(1, 3, *shape) * 2 - 1
    synthesis = upsampler.generator.synthesis
    attention, synthesis.stages["4"].attention = synthesis.stages["4"].attention, None
    try:
        whole, tiled = upsampler.upsample_tensor(low, tile=80), upsampler.upsample_tensor(low, **TILES)
    finally:
        synthesis.stages["4"].attention = attention
    assert (tiled - whole).abs().mean() < 2e-3 < 0.1 < whole.abs().mean()


def test_prompt_and_seed_have_a_say_and_nothing_else(upsampler):
    low = torch.rand(1, 3, 16, 16) * 2 - 1
    once = upsampler.upsample_tensor(low, "thing 1", seed=3, **TILES)
    assert torch.equal(once, upsampler.upsample_tensor(low, "thing 1", seed=3, batch=1, **TILES))
    for other in (upsampler.upsample_tensor(low, "thing 2", seed=3, **TILES), upsampler.upsample_tensor(low, "thing 1", seed=4, **TILES)):
        assert (other - once).abs().max() > 1e-3


def test_images_of_every_mode_with_and_without_prompts(upsampler):
    images = [Image.new("RGB", (8, 8), "red"), Image.new("RGBA", (12, 9), (0, 0, 0, 0)), Image.new("L", (20, 8), 7)]
    large = upsampler(images)
    assert [image.size for image in large] == [(16, 16), (24, 18), (40, 16)] and {image.mode for image in large} == {"RGB"}
    assert (
        upsampler(images, ["", "", ""])[1].tobytes() == large[1].tobytes() == upsampler([Image.new("RGB", (12, 9), "white")])[0].tobytes()
    )
    assert upsampler(images, ["thing 1"] * 3)[0].tobytes() != large[0].tobytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"prompts": ["a"]}, "1 prompts for 2 images"),
        ({"tile": 7}, "a tile is 7 px, needs a multiple of 2 px from 8 px on"),
        ({"tile": 32, "overlap": 8}, "overlap by 8 px, needs more than 8 px"),
        ({"tile": 32, "overlap": 17}, "at most half a tile"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, said, upsampler):
    with pytest.raises(UserError, match=said):
        upsampler([Image.new("RGB", (40, 40))] * 2, **arguments)


def test_an_upsampler_without_text_refuses_a_prompt(kit, tmp_path):
    recipe = parse(Recipe, without_text(tiny_upsampler(kit)), "")
    save_model(tmp_path / "model", generator_of(recipe), recipe, {})
    upsampler, image = Upsampler.load(tmp_path, "cpu"), Image.new("RGB", (8, 8), "red")
    assert [large.size for large in upsampler([image])] == [(16, 16)]
    with pytest.raises(UserError, match="trained without text and takes no prompt, got 'thing 1'"):
        upsampler([image], ["thing 1"])


def test_too_small_an_image_is_refused(upsampler):
    with pytest.raises(UserError, match="an image is 30 x 7 px, this upsampler takes 8 px or more"):
        upsampler([Image.new("RGB", (30, 7))])


def test_each_kind_of_run_is_loaded_by_its_own_class(upsampler, recipe, tmp_path):
    saved(recipe, tmp_path, 0.1)
    with pytest.raises(UserError, match="is an upsampler, which starts from images"):
        Pipeline.load(tmp_path)
    assert "t2igan upsample" in (tmp_path / "model" / "README.md").read_text()
