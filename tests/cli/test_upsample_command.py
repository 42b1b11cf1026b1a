"""`t2igan upsample` and `t2igan sample --upsampler`: files in, larger files out, and one clear line for bad input."""

import numpy as np
import pytest
from PIL import Image
from tiny import override, tiny_upsampler, write_recipe

from t2igan.cli import main

pytest_plugins = ["kit"]


@pytest.fixture(scope="module")
def upsampler(kit, tmp_path_factory):
    """A finished run, for reading only."""
    folder = tmp_path_factory.mktemp("upsampler")
    recipe = write_recipe(folder / "tiny.yaml", override(tiny_upsampler(kit), training__images=16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T2IGAN_CACHE", str(folder / "cache"))
        main(["train", str(recipe), "--out", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def picture(tmp_path):
    def make(name: str, size=(20, 12)):
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / name)
        return tmp_path / name

    return make


def test_its_training_shows_small_enlarged_and_true_pictures(upsampler):
    (grid,) = (upsampler / "samples").glob("*.png")
    assert Image.open(grid).size == (3 * (64 + 4) + 4, 8 * (64 + 16 + 4))


def test_files_of_any_size_become_larger_ones(upsampler, picture, call, tmp_path):
    said = call("upsample", upsampler, picture("a.png"), picture("b.jpg", (8, 70)), "--prompt", "thing 1", "--out", tmp_path / "out")
    assert said == f"2 pictures in {tmp_path / 'out'}\n"
    assert [Image.open(tmp_path / "out" / name).size for name in ("a.png", "b.png")] == [(40, 24), (16, 140)]


def test_half_precision_is_a_little_different(run, upsampler, picture, call, tmp_path):
    small = picture("a.png")
    for name, more in (("full", []), ("half", ["--bf16"])):
        call("upsample", upsampler, small, "--out", tmp_path / name, *more)
        call("sample", run, "thing 1", "--upsampler", upsampler, "--out", tmp_path / name / "drawn", *more)
    for name in ("a.png", "drawn/00000_seed0.png"):
        full, half = (np.asarray(Image.open(tmp_path / kind / name)).astype(int) for kind in ("full", "half"))
        assert 0 < np.abs(full - half).max() < 25 and np.abs(full - half).mean() < 2


def test_twice_is_the_second_enlargement_of_the_first(upsampler, picture, call, tmp_path):
    call("upsample", upsampler, picture("a.png"), "--out", tmp_path / "once")
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--times", "0"], "--times is 0"),
        (["--prompt", " "], "--prompt is empty"),
        (["--tile", "33"], "a tile is 33 px"),
        (["--overlap", "30"], "overlap by 30 px"),
    ],
)
def test_bad_options_are_one_line(options, said, upsampler, picture, refused, tmp_path):
    assert said in refused("upsample", upsampler, picture("a.png"), "--out", tmp_path / "out", *options)


def test_bad_pictures_are_one_line(upsampler, picture, refused, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png: not an image" in refused("upsample", upsampler, tmp_path / "text.png", "--out", tmp_path / "out")
    assert "gone.png: not an image" in refused("upsample", upsampler, tmp_path / "gone.png", "--out", tmp_path / "out")
    assert "takes 8 px or more each way" in refused("upsample", upsampler, picture("b.png", (7, 9)), "--out", tmp_path / "out")
    good = picture("good.png")
    assert "takes 8 px or more each way" in refused("upsample", upsampler, good, tmp_path / "b.png", "--out", tmp_path / "out")
    assert "would be overwritten by its own enlargement" in refused("upsample", upsampler, good, "--out", tmp_path)
    (tmp_path / "sub").mkdir()
    same = picture("a.png"), picture("sub/a.png")
    assert "two pictures are called a" in refused("upsample", upsampler, *same, "--out", tmp_path / "out")


def test_the_wrong_kind_of_model_is_one_line(run, upsampler, picture, refused, tmp_path):
    assert "is no upsampler" in refused("upsample", run, picture("a.png"), "--out", tmp_path / "out")
    assert "is an upsampler" in refused("sample", upsampler, "thing 1", "--out", tmp_path / "out")
    assert "is no upsampler" in refused("sample", run, "thing 1", "--upsampler", run, "--out", tmp_path / "out")


def test_an_upsampler_for_larger_pictures_than_the_model_draws(run, refused, tmp_path, upsampler):
    larger = tmp_path / "larger"
    config = (
        (upsampler / "model" / "config.json").read_text().replace('"low": 8', '"low": 32').replace('"resolution": 16', '"resolution": 64')
    )
    (larger / "model").mkdir(parents=True)
    (larger / "model" / "config.json").write_text(config)
    (larger / "model" / "model.safetensors").write_bytes(upsampler.joinpath("model", "model.safetensors").read_bytes())
    said = refused("sample", run, "thing 1", "--upsampler", larger, "--out", tmp_path / "out")
    assert "enlarges pictures of 32 px or more, the model draws 16 px" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generator__synthesis__low": 16}, "generator.synthesis.low is 16, needs a power of two from 8 px to below the resolution 16"),
        ({"generator__synthesis__kernels": [1, 1]}, "generator.synthesis.kernels has 2 entries"),
        ({"training__prompts": ["thing 1"]}, "training.prompts is of no use to an upsampler"),
        ({"data__blank_captions": 1.0}, "data.caption_dropout is 1.0"),
        (
            {"discriminator__network__backend": "xformers"},
            "discriminator.network.backend is 'xformers', and r1 differentiates D's attention",
        ),
        ({"resolution": 48}, "resolution must be a power of two >= 8, got 48"),
    ],
)
def test_bad_recipes_are_one_line(change, said, kit, refused, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", override(tiny_upsampler(kit), **change))
    assert said in refused("train", recipe, "--out", tmp_path / "run")


def test_a_term_or_d_that_looks_below_the_small_picture(kit, refused, tmp_path):
    recipe = tiny_upsampler(kit)
    recipe["objective"]["generator"][2]["sides"] = [8, 4]
    assert "draws no picture of 4 px" in refused("train", write_recipe(tmp_path / "recipe.yaml", recipe), "--out", tmp_path / "run")


def test_a_missing_weight_file_is_one_line(kit, refused, tmp_path):
    recipe = tiny_upsampler(kit)
    recipe["objective"]["generator"][-1]["vgg"] = str(tmp_path / "vgg.pth")
    assert "no weights at" in refused("train", write_recipe(tmp_path / "recipe.yaml", recipe), "--out", tmp_path / "run")
