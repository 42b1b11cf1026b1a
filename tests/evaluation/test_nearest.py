"""A model that copies is found out; one that does not is not."""

import json

import pytest
import torch
from PIL import Image
from tiny import tiny_recipe

from t2igan.config import Recipe
from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.data.write import write_shards
from t2igan.evaluation.nearest import NearestNeighbors, nearest_neighbors
from t2igan.features.open_clip import ClipScorer
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline
from t2igan.metrics.chunks import distributed_state
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]


@pytest.fixture
def data(samples, tmp_path):
    """The first 18 images to train on, the others held out."""
    write_shards(samples[:18], tmp_path / "train")
    write_shards(samples[18:], tmp_path / "held_out")
    return tmp_path


@pytest.fixture
def run(kit, tmp_path):
    """A model of random weights."""
    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    torch.manual_seed(0)
    save_model(tmp_path / "run/model", build_system(recipe).generator, recipe, {})
    return tmp_path / "run"


@pytest.fixture
def near(kit, data, run):
    """near() -> the 24 generated images and their nearest training images."""

    def find() -> NearestNeighbors:
        state, cache = distributed_state(), data / "cache"
        clip = ClipScorer(f"local-dir:{kit.clip}", None, cache)
        clip.load_pretrained()
        clip.to(state.device)
        pipeline = Pipeline.load(run, state.device, cache)
        return nearest_neighbors(pipeline, clip, state, str(data / "train"), cache, str(data / "held_out"), 24)

    return find


def test_a_model_of_random_weights_copies_nothing(near):
    distance = near().result["distance"]
    assert distance["generated_to_training_least"] > 0.01 and distance["held_out_to_training_least"] > 0.01
    assert distance["held_out_to_training_mean"] > 0.01


def test_a_copy_is_at_no_distance_and_beside_itself(near, data, monkeypatch):
    def copies(self, prompts, seeds, truncation=1.0):
        shards = Shards(str(data / "train"))
        by_caption = {caption: n for n in range(len(shards)) for caption in shards.read(n).captions}
        return to_signed(torch.stack([decode(shards.read(by_caption[prompt]).image, 16) for prompt in prompts]))

    monkeypatch.setattr(Pipeline, "sample_pairs", copies)
    result = near().result
    assert result["distance"]["generated_to_training_mean"] < 1e-3
    assert result["distance"]["share_of_generated_nearer_than_any_held_out"] == 1
    shards = Shards(str(data / "train"))
    for found in result["closest"]:
        assert found["caption"] in shards.read(found["training_picture"]).captions


def test_the_script(script, kit, data, run, near, tmp_path, capsys):
    words = ["--model", run, "--data", data / "train", "--held-out", data / "held_out", "--clip", f"local-dir:{kit.clip}"]
    assert script("nearest_neighbors", *words, "--count", 24, "--out", tmp_path / "new/near.json") == 0
    assert "held out to training least" in capsys.readouterr().out
    assert Image.open(tmp_path / "new/near.png").width > 200
    assert json.loads((tmp_path / "new/near.json").read_text()) == near().result
    assert script("nearest_neighbors", *words, "--count", 3, "--out", tmp_path / "few.json") == 2
    assert "--count is 3, needs 12 or more" in capsys.readouterr().err and not (tmp_path / "few.json").exists()
