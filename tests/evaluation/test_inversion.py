"""eval/inversion.py: pictures that the model itself drew come back, and edits are scored."""

import io
import json

import pytest
import torch
from PIL import Image
from tiny import generator_of, override, tiny_recipe, without_text

from t2igan.config import Recipe
from t2igan.data.images import to_pil
from t2igan.data.write import Sample, write_shards
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]
PROMPTS = ["thing 1", "thing 2", "number 4"]


@pytest.fixture(scope="module")
def model(kit, tmp_path_factory):
    """A generator whose styles matter."""
    folder = tmp_path_factory.mktemp("run")
    recipe = parse(Recipe, override(tiny_recipe(kit, guided=False), training__cluster_features=None), "")
    torch.manual_seed(0)
    save_model(folder / "model", build_system(recipe).generator, recipe, {"images_seen": 1})
    return folder


@pytest.fixture(scope="module")
def drawn(model, tmp_path_factory):
    """Shards of what the model draws from seeds that the search does not try."""
    images = Pipeline.load(model, "cpu").sample_pairs(PROMPTS, [1000, 1001, 1002])
    samples = []
    for prompt, image in zip(PROMPTS, images, strict=True):
        to_pil(image).save(data := io.BytesIO(), "PNG")
        samples.append(Sample(prompt, data.getvalue(), [prompt]))
    folder = tmp_path_factory.mktemp("drawn")
    write_shards(samples, folder / "data")
    return folder / "data"


def test_the_models_own_pictures_come_back(model, drawn, kit, script, tmp_path):
    clip = f"local-dir:{kit.clip}"
    words = ("--model", model, "--data", drawn, "--pictures", 2, "--clip", clip, "--scorer", clip, "--edit", "thing 3", "--layer", 1)
    steps = ("--latent-steps", 30, "--style-steps", 30)
    assert script("inversion", *words, *steps, "--out", tmp_path / "result.json", "--picture", tmp_path / "grid.png") == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["pictures"] == 2
    assert result["psnr of one seed"] < result["psnr of latent"] <= result["psnr of styles"] + 0.5
    assert result["psnr of styles"] > result["psnr of one seed"] + 3
    assert result["cosine of styles"] == pytest.approx(1, abs=0.05)
    assert -1 <= result["thing 3: cosine before"] <= 1 and result["thing 3: cosine after"] != result["thing 3: cosine before"]
    assert Image.open(tmp_path / "grid.png").height == 2 * (64 + 16 + 4)


def test_a_model_without_text_is_inverted_without_prompts(kit, drawn, script, tmp_path, capsys):
    recipe = parse(Recipe, without_text(tiny_recipe(kit, guided=False)), "")
    save_model(tmp_path / "model", generator_of(recipe), recipe, {"images_seen": 1})
    clip = f"local-dir:{kit.clip}"
    words = ("--model", tmp_path, "--data", drawn, "--clip", clip, "--scorer", clip, "--latent-steps", 1, "--style-steps", 1)
    assert script("inversion", *words, "--pictures", 1, "--out", tmp_path / "result.json") == 0
    assert json.loads((tmp_path / "result.json").read_text())["pictures"] == 1
    assert script("inversion", *words, "--edit", "thing 3", "--out", tmp_path / "other.json") == 2
    assert "without text" in capsys.readouterr().err


def test_bad_input_is_named(model, drawn, kit, script, tmp_path, capsys):
    clip = f"local-dir:{kit.clip}"
    words = ("--model", model, "--data", drawn, "--clip", clip, "--scorer", clip, "--out", tmp_path / "result.json")
    refused = (
        (("--pictures", 0), "--pictures is 0"),
        (("--pictures", 4), "holds 3 pictures, asked for are 4"),
        (("--style-steps", -1), "need whole numbers from 0 on"),
        (("--edit", "thing 3", "--layer", 9), "--layer is 9"),
    )
    for extra, said in refused:
        assert script("inversion", *words, *extra) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()
