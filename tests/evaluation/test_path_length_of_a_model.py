"""The path length of a run, from its folder to a number."""

import json

import pytest
import torch
from tiny import tiny_recipe
from torchvision.models import vgg16

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.evaluation.path_length import clip_distance, lpips_distance, measure_path_length, read_prompts
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
    return clip_distance(f"local-dir:{kit.clip}", None, pipeline.device)


def test_a_batch_does_not_change_it_and_the_place_does(pipeline, clip):
    whole = measure_path_length(pipeline, PROMPTS, clip, 12)
    assert whole["path_length"] > 0 and (whole["pairs"], whole["prompts"]) == (12, 2)
    in_batches = measure_path_length(pipeline, PROMPTS, clip, 12, batch=5)
    assert in_batches["path_length"] == pytest.approx(whole["path_length"], rel=0.05)  # a step of 1e-4 in single precision
    assert measure_path_length(pipeline, PROMPTS, clip, 12, endpoint=True)["path_length"] != pytest.approx(whole["path_length"], rel=0.05)


def test_lpips_is_the_published_distance(pipeline, tmp_path):
    torch.save(vgg16().state_dict(), tmp_path / "vgg.pth")
    heads = {f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1) for i, channels in enumerate((64, 128, 256, 512, 512))}
    torch.save(heads, tmp_path / "heads.pth")
    found = measure_path_length(pipeline, PROMPTS, lpips_distance(tmp_path / "vgg.pth", tmp_path / "heads.pth", pipeline.device), 12)
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
        measure_path_length(pipeline, [], clip)


def test_the_script(script, run, kit, pipeline, clip, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    words = ["--model", run, "--clip", f"local-dir:{kit.clip}", "--count", 12, "--out", tmp_path / "new/length.json"]
    assert script("path_length", *words, "--prompts", tmp_path / "prompts.txt") == 0
    result = json.loads((tmp_path / "new/length.json").read_text())
    expected = measure_path_length(pipeline, PROMPTS, clip, 12)
    assert result == expected | {"path_length": pytest.approx(expected["path_length"], rel=1e-3)}
    assert "over 12 pairs, anywhere between two latents" in capsys.readouterr().out
    assert script("path_length", *words, "--prompts", tmp_path / "none.txt") == 2
    assert capsys.readouterr().err.startswith("error: no prompts at")
