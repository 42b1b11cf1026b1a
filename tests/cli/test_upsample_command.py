"""`t2igan upsample` and `t2igan sample --upsampler`: files in, larger files out, and one clear line for bad input."""

import numpy as np
import pytest
from PIL import Image
from tiny import generator_of, override, tiny_upsampler, without_text, write_recipe

from t2igan.cli import main
from t2igan.config import Recipe
from t2igan.inference.model_folder import save_model
from t2igan.recipe import parse

pytest_plugins = ["kit"]


@pytest.fixture(scope="module")
def upsampler(kit, tmp_path_factory):
    """A finished run, for reading only."""
    folder = tmp_path_factory.mktemp("upsampler")
    recipe = write_recipe(folder / "tiny.yaml", override(tiny_upsampler(kit), training__total_images=16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T2IGAN_CACHE", str(folder / "cache"))
        main(["train", str(recipe), "--out", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def image_file(tmp_path):
    def make(name: str, size=(20, 12)):
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / name)
        return tmp_path / name

    return make


def test_its_training_shows_small_enlarged_and_true_images(upsampler):
    (grid,) = (upsampler / "samples").glob("*.png")
    assert Image.open(grid).size == (3 * (64 + 4) + 4, 8 * (64 + 16 + 4))


def test_files_of_any_size_become_larger_ones(upsampler, image_file, call, tmp_path):
    said = call("upsample", upsampler, image_file("a.png"), image_file("b.jpg", (8, 70)), "--prompt", "thing 1", "--out", tmp_path / "out")
    assert said == f"2 images in {tmp_path / 'out'}\n"
    assert [Image.open(tmp_path / "out" / name).size for name in ("a.png", "b.png")] == [(40, 24), (16, 140)]


def test_half_precision_is_a_little_different(run, upsampler, image_file, call, tmp_path):
    small = image_file("a.png")
    for name, more in (("full", []), ("half", ["--bf16"])):
        call("upsample", upsampler, small, "--out", tmp_path / name, *more)
        call("sample", run, "thing 1", "--upsampler", upsampler, "--out", tmp_path / name / "drawn", *more)
    for name in ("a.png", "drawn/00000_seed0.png"):
        full, half = (np.asarray(Image.open(tmp_path / kind / name)).astype(int) for kind in ("full", "half"))
        assert 0 < np.abs(full - half).max() < 25 and np.abs(full - half).mean() < 2


def test_twice_is_the_second_enlargement_of_the_first(upsampler, image_file, call, tmp_path):
    call("upsample", upsampler, image_file("a.png"), "--out", tmp_path / "once")
    call("upsample", upsampler, tmp_path / "once" / "a.png", "--out", tmp_path / "again")
    call("upsample", upsampler, tmp_path / "a.png", "--times", "2", "--out", tmp_path / "twice")
    twice = Image.open(tmp_path / "twice" / "a.png")
    assert twice.size == (80, 48) and twice.tobytes() == Image.open(tmp_path / "again" / "a.png").tobytes()


def test_sample_enlarges_what_it_draws(run, upsampler, call, tmp_path):
    call("sample", run, "thing 1", "thing 2", "--seeds", "0-1", "--out", tmp_path / "small")
    call("sample", run, "thing 1", "thing 2", "--seeds", "0-1", "--upsampler", upsampler, "--out", tmp_path / "large")
    call("upsample", upsampler, tmp_path / "small" / "00001_seed1.png", "--prompt", "thing 2", "--out", tmp_path / "by_hand")
    large = Image.open(tmp_path / "large" / "00001_seed1.png")
    assert large.size == (32, 32) and len(list((tmp_path / "large").glob("*.png"))) == 4
    assert large.tobytes() == Image.open(tmp_path / "by_hand" / "00001_seed1.png").tobytes()


def test_sample_enlarges_images_of_a_model_without_text(tiny, upsampler, call, tmp_path):
    recipe = parse(Recipe, without_text(tiny), "")
    save_model(tmp_path / "unconditional" / "model", generator_of(recipe), recipe, {})
    call("sample", "unconditional", "--seeds", "2", "--out", "small")
    call("sample", "unconditional", "--seeds", "2", "--upsampler", upsampler, "--out", "large")
    call("upsample", upsampler, "small/00000_seed2.png", "--out", "by_hand")
    large = Image.open(tmp_path / "large" / "00000_seed2.png")
    assert large.size == (32, 32) and large.tobytes() == Image.open(tmp_path / "by_hand" / "00000_seed2.png").tobytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--times", "0"], "--times is 0"),
        (["--prompt", " "], "--prompt is empty"),
        (["--tile", "33"], "a tile is 33 px"),
        (["--overlap", "30"], "overlap by 30 px"),
    ],
)
def test_bad_options_are_one_line(options, said, upsampler, image_file, refused, tmp_path):
    assert said in refused("upsample", upsampler, image_file("a.png"), "--out", tmp_path / "out", *options)


def test_bad_images_are_one_line(upsampler, image_file, refused, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    assert "text.png: not an image" in refused("upsample", upsampler, tmp_path / "text.png", "--out", tmp_path / "out")
    assert "gone.png: not an image" in refused("upsample", upsampler, tmp_path / "gone.png", "--out", tmp_path / "out")
    assert "takes 8 px or more each way" in refused("upsample", upsampler, image_file("b.png", (7, 9)), "--out", tmp_path / "out")
    good = image_file("good.png")
    line = refused("upsample", upsampler, good, tmp_path / "b.png", "--out", tmp_path / "out")
    assert f"{tmp_path / 'b.png'}: an image is 7 x 9 px" in line and "takes 8 px or more each way" in line
    assert "would be overwritten by an enlargement" in refused("upsample", upsampler, good, "--out", tmp_path)
    photo = image_file("good.jpg")
    assert f"{tmp_path / 'good.png'}, which lies beside the originals" in refused("upsample", upsampler, photo, "--out", tmp_path)
    (tmp_path / "sub").mkdir()
    same = image_file("a.png"), image_file("sub/a.png")
    assert "two images are called a" in refused("upsample", upsampler, *same, "--out", tmp_path / "out")


def test_the_wrong_kind_of_model_is_one_line(run, upsampler, image_file, refused, tmp_path):
    assert "is not an upsampler" in refused("upsample", run, image_file("a.png"), "--out", tmp_path / "out")
    assert "is an upsampler" in refused("sample", upsampler, "thing 1", "--out", tmp_path / "out")
    assert "is not an upsampler" in refused("sample", run, "thing 1", "--upsampler", run, "--out", tmp_path / "out")


def test_an_upsampler_for_larger_images_than_the_models_own(run, kit, refused, tmp_path):
    larger = parse(Recipe, override(tiny_upsampler(kit), resolution=64, generator__synthesis__low_resolution=32), "")
    generator = generator_of(larger)
    save_model(tmp_path / "larger" / "model", generator, larger, {})
    said = refused("sample", run, "thing 1", "--upsampler", "larger", "--out", tmp_path / "out")
    assert said == "error: the upsampler larger enlarges images of 32 px or more, the model's have 16 px; choose another"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generator__synthesis__low_resolution": 16}, "low_resolution is 16, needs a power of two from 8 px to below the resolution 16"),
        ({"generator__synthesis__num_kernels": [1, 1]}, "generator.synthesis.num_kernels has 2 entries"),
        ({"training__prompts": ["thing 1"]}, "training.prompts has no use for an upsampler"),
        ({"data__caption_dropout": 1.0}, "data.caption_dropout is 1.0"),
        ({"discriminator__network__inputs": [16, 4]}, "it takes images of 4 px, and generator.synthesis makes images of 16, 8 px only"),
        ({"resolution": 48}, "resolution must be a power of two >= 8, got 48"),
    ],
)
def test_bad_recipes_are_one_line(change, said, kit, refused, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", override(tiny_upsampler(kit), **change))
    assert said in refused("train", recipe, "--out", tmp_path / "run")


def test_a_term_that_needs_images_below_the_small_one_is_one_line(kit, refused, tmp_path):
    recipe = tiny_upsampler(kit)
    recipe["objective"]["generator"][2]["sides"] = [8, 4]
    assert "sides is [8, 4], needs some of [16, 8], which G makes" in refused(
        "train", write_recipe(tmp_path / "recipe.yaml", recipe), "--out", tmp_path / "run"
    )


def test_a_missing_weight_file_is_one_line(kit, refused, tmp_path):
    recipe = tiny_upsampler(kit)
    recipe["objective"]["generator"][-1]["vgg"] = str(tmp_path / "vgg.pth")
    assert "no weights at" in refused("train", write_recipe(tmp_path / "recipe.yaml", recipe), "--out", tmp_path / "run")
