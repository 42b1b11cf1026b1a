"""The path length of a run, from its folder to a number."""

import json

import pytest
import torch
from tiny import tiny_recipe
from torchvision.models import vgg16

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.evaluation.path_length import PathSettings, clip_distance, face, lpips_distance, measure_path_length, reduced
from t2igan.evaluation.prompts import prompts_for, read_prompts
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline
from t2igan.metrics.chunks import distributed_state
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]
PROMPTS = ["thing 1", "number 4"]


@pytest.fixture(scope="module")
def run(kit, tmp_path_factory):
    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    torch.manual_seed(0)
    generator = build_system(recipe).generator
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("run")
    save_model(folder / "model", generator, recipe, {})
    return folder


@pytest.fixture
def pipeline(run):
    return Pipeline.load(run, distributed_state().device)


@pytest.fixture
def clip(kit, pipeline, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    return clip_distance(f"local-dir:{kit.clip}", pipeline.device)


def test_a_batch_does_not_change_it_and_the_place_does(pipeline, clip):
    def length(batch=16, **settings):
        found = measure_path_length(pipeline, PROMPTS, clip, PathSettings(12, **settings), batch)
        assert found.result["path_length"] > 0 and (found.result["pairs"], found.result["prompts"]) == (12, 2)
        assert found.image.size == (7 * (64 + 4) + 4, 3 * (64 + 20)), "three ways of seven images"
        return found.result["path_length"]

    whole = length()
    assert length(batch=5) == pytest.approx(whole, rel=0.05)  # a step of 1e-4 in single precision
    for other in ({"endpoint": True}, {"space": "z"}, {"crop_faces": True}):
        assert length(**other) != pytest.approx(whole, rel=0.02), other


def test_faces_are_the_published_part_and_large_images_are_reduced():
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, 24:56, 16:48] = 1
    assert face(image).shape == (1, 3, 32, 32) and face(image).eq(1).all()
    image = torch.randn(1, 3, 512, 512)
    assert torch.allclose(reduced(image)[0, 0, 3, 5], image[0, 0, 6:8, 10:12].mean(), atol=1e-6) and reduced(image).shape[-1] == 256
    assert reduced(image[:, :, :64, :64]).shape[-1] == 64


def test_lpips_is_the_published_distance(pipeline, tmp_path):
    torch.save(vgg16().state_dict(), tmp_path / "vgg.pth")
    heads = {f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1) for i, channels in enumerate((64, 128, 256, 512, 512))}
    torch.save(heads, tmp_path / "heads.pth")
    lpips = lpips_distance(tmp_path / "vgg.pth", tmp_path / "heads.pth", pipeline.device)
    found = measure_path_length(pipeline, PROMPTS, lpips, PathSettings(12)).result
    assert found["path_length"] > 0 and found["distance"].startswith("LPIPS ")
    with pytest.raises(UserError, match=r"no weights at .*none.pth; get .*weights-vgg16-lpips.pth"):
        lpips_distance(tmp_path / "vgg.pth", tmp_path / "none.pth", pipeline.device)


def test_prompts_that_cannot_be_used(pipeline, clip, tmp_path):
    (tmp_path / "prompts.txt").write_text("thing 1\n\n  number 4\n")
    assert read_prompts(tmp_path / "prompts.txt") == PROMPTS
    (tmp_path / "latin.txt").write_bytes("caf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_prompts(tmp_path / "latin.txt")
    with pytest.raises(UserError, match="no prompt given"):
        measure_path_length(pipeline, [], clip, PathSettings())
    with pytest.raises(UserError, match="this model takes prompts; give --prompts"):
        prompts_for(pipeline, None)


def test_the_script(script, run, kit, pipeline, clip, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    words = ["--model", run, "--clip", f"local-dir:{kit.clip}", "--count", 12, "--out", tmp_path / "new/length.json"]
    assert script("path_length", *words, "--prompts", tmp_path / "prompts.txt") == 0
    result = json.loads((tmp_path / "new/length.json").read_text())
    assert (tmp_path / "new/length.png").is_file()
    expected = measure_path_length(pipeline, PROMPTS, clip, PathSettings(12)).result
    assert result == expected | {"path_length": pytest.approx(expected["path_length"], rel=1e-3)}
    assert "in w over 12 pairs, anywhere between two latents" in capsys.readouterr().out
    assert script("path_length", *words, "--prompts", tmp_path / "none.txt") == 2
    assert capsys.readouterr().err.startswith("error: no prompts at")
