"""A model that copies is found out; one that does not is not."""

import json
import sys

import pytest
import torch
from PIL import Image
from tiny import ROOT, tiny_recipe

from t2igan.config import Recipe, parse
from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.data.write import write_shards
from t2igan.errors import UserError
from t2igan.inference.pipeline import Pipeline, save_model
from t2igan.system import build_system

pytest_plugins = ["kit"]
sys.path.insert(0, str(ROOT))  # eval is a folder of scripts, not an installed package

from eval import neighbours as script  # noqa: E402


@pytest.fixture
def near(kit, samples, tmp_path, monkeypatch):
    """near(...) -> the result of the script on a model of random weights, the first 18 pictures being its training set."""
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    write_shards(samples[:18], tmp_path / "train")
    write_shards(samples[18:], tmp_path / "held_out")
    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    torch.manual_seed(0)
    save_model(tmp_path / "run/model", build_system(recipe).generator, recipe, {})

    def run(*more) -> dict:
        paths = ["--model", tmp_path / "run", "--data", tmp_path / "train", "--held-out", tmp_path / "held_out"]
        options = ["--clip", f"local-dir:{kit.clip}", "--count", 24, "--out", tmp_path / "near.json", *more]
        monkeypatch.setattr(sys, "argv", ["neighbours.py", *map(str, [*paths, *options])])
        script.main()
        assert Image.open(tmp_path / "near.png").width > 200
        return json.loads((tmp_path / "near.json").read_text())

    return run


def test_a_model_of_random_weights_copies_nothing(near):
    distance = near()["distance"]
    assert distance["generated_to_training_least"] > 0.01 and distance["held_out_to_training_least"] > 0.01
    assert distance["held_out_to_training_mean"] > 0.01


def test_a_copy_is_at_no_distance_and_beside_itself(near, tmp_path, monkeypatch):
    def copies(self, prompts, seeds, truncation=1.0):
        shards = Shards(str(tmp_path / "train"))
        by_caption = {caption: n for n in range(len(shards)) for caption in shards.read(n).captions}
        return to_signed(torch.stack([decode(shards.read(by_caption[prompt]).image, 16) for prompt in prompts]))

    monkeypatch.setattr(Pipeline, "each", copies)
    result = near()
    assert result["distance"]["generated_to_training_mean"] < 1e-3
    assert result["distance"]["share_of_generated_nearer_than_any_held_out"] == 1
    shards = Shards(str(tmp_path / "train"))
    for found in result["closest"]:
        assert found["caption"] in shards.read(found["training_picture"]).captions


def test_too_few_pictures_are_refused(near):
    with pytest.raises(UserError, match="--count is 3, needs 12 or more"):
        near("--count", "3")
