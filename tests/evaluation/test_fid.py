"""eval/fid.py: models with labels and without anything, against the images of their shards."""

import json
import runpy

import pytest
import torch
from shrink import classes
from tiny import ROOT, stylegan2_recipe

from t2igan.config import Recipe
from t2igan.data.images import to_signed
from t2igan.data.shards import Shards
from t2igan.features.inception import Inception
from t2igan.inference.model_folder import save_model
from t2igan.metrics.frechet import frechet_distance
from t2igan.metrics.images import ImageSet
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]
COUNT = 8
FRECHET = ("fid", "sfid", "rfid")


@pytest.fixture(scope="module")
def models(kit, tmp_path_factory):
    """The folder of a model with labels and of one without text or labels, and of random weights of Inception."""
    folder, names = tmp_path_factory.mktemp("models"), classes(kit)
    runpy.run_path(str(ROOT / "benchmarks/coco_pipeline.py"))["write_inception"](folder / "inception.pth")
    for name, text in (("labels", {"kind": "label", "num_classes": len(names), "names": names}), ("plain", {"kind": "none"})):
        recipe = stylegan2_recipe(kit) | {"text": text}
        recipe["generator"], recipe["discriminator"] = ({**recipe[part], "adapter": None} for part in ("generator", "discriminator"))
        recipe["training"] |= {"prompts": []}
        recipe = parse(Recipe, recipe, "")
        torch.manual_seed(4)
        save_model(folder / name / "model", build_system(recipe).generator, recipe, {})
    return folder


@pytest.fixture
def score(script, models, kit, tmp_path, monkeypatch):
    """score(model, metrics, *options) -> the code with which the script ends, and its result"""
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))

    def run(model, metrics, *options):
        weights = [f"inception={models / 'inception.pth'}", f"clip=local-dir:{kit.clip}"]
        words = ["--model", models / model, "--data", kit.shards, "--metrics", *metrics, "--weights", *weights, "--count", COUNT]
        code = script("fid", *words, "--out", tmp_path / "found.json", *options)
        return code, json.loads((tmp_path / "found.json").read_text()) if not code else None

    return run


def test_distances_of_a_model_with_labels_are_those_of_its_images(score, models, kit, tmp_path):
    code, found = score("labels", FRECHET, "--force")
    protocol = found["protocol"]
    assert code == 0 and (protocol["name"], protocol["side"], protocol["pictures"]) == ("stylegan", 16, COUNT)
    pictures = Shards(str(tmp_path / "found" / "pictures"))
    assert {pictures.read(number).captions[0] for number in range(COUNT)} <= set(classes(kit))
    real = Shards(str(kit.shards))
    assert protocol["reference"]["pictures"] == len(real)
    sets = [ImageSet(shards, 16) for shards in (pictures, real)]
    published = Inception("tensorflow", ("pool", "spatial"), models / "inception.pth")
    for network, layer, metric in (
        (published, "pool", "fid"),
        (published, "spatial", "sfid"),
        (Inception("tensorflow", seed=0), "pool", "rfid"),
    ):
        network.load_pretrained()
        with torch.no_grad():
            a, b = (network(to_signed(images.read(range(len(images)))))[layer] for images in sets)
        assert found["metrics"][metric]["value"] == pytest.approx(frechet_distance(a, b), rel=1e-3), metric


def test_a_model_without_text_needs_no_captions_and_has_no_clip_score(score, capsys):
    code, found = score("plain", ["rfid"], "--force")
    assert code == 0, capsys.readouterr().err
    assert found["metrics"]["rfid"]["value"] > 0
    capsys.readouterr()
    assert score("plain", ["clip_score"])[0] == 2
    assert "clip_score compares images with their captions, and some have none; leave it out" in capsys.readouterr().err
