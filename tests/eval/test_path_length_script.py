"""The path length of a run, from its folder to a number."""

import json
import sys

import pytest
import torch
from tiny import ROOT, tiny_recipe
from torchvision.models import vgg16

from t2igan.config import Recipe, parse
from t2igan.errors import UserError
from t2igan.inference.pipeline import save_model
from t2igan.system import build_system

pytest_plugins = ["kit"]
sys.path.insert(0, str(ROOT))  # eval is a folder of scripts, not an installed package

from eval import path_length as script  # noqa: E402


@pytest.fixture
def length(kit, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    torch.manual_seed(0)
    generator = build_system(recipe).generator
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    save_model(tmp_path / "run/model", generator, recipe, {})
    (tmp_path / "prompts.txt").write_text("thing 1\n\nnumber 4\n")

    def run(*more, prompts: str = "prompts.txt", lpips: bool = False) -> dict:
        paths = ["--model", tmp_path / "run", "--prompts", tmp_path / prompts, "--out", tmp_path / "l.json"]
        distance = [] if lpips else ["--clip", f"local-dir:{kit.clip}"]
        monkeypatch.setattr(sys, "argv", ["path_length.py", *map(str, [*paths, *distance, "--count", 12, *more])])
        script.main()
        return json.loads((tmp_path / "l.json").read_text())

    return run


def test_a_batch_does_not_change_it_and_the_place_does(length):
    whole = length()
    assert whole["path_length"] > 0 and (whole["pairs"], whole["prompts"]) == (12, 2)
    assert length("--batch", 5)["path_length"] == pytest.approx(whole["path_length"], rel=0.05)  # a step of 1e-4 in single precision
    assert length("--endpoint")["path_length"] != pytest.approx(whole["path_length"], rel=0.05)


def test_lpips_is_the_distance_unless_a_clip_is_given(length, tmp_path):
    torch.save(vgg16().state_dict(), tmp_path / "vgg.pth")
    heads = {f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1) for i, channels in enumerate((64, 128, 256, 512, 512))}
    torch.save(heads, tmp_path / "heads.pth")
    found = length("--vgg16", tmp_path / "vgg.pth", "--lpips", tmp_path / "heads.pth", lpips=True)
    assert found["path_length"] > 0 and found["distance"].startswith("LPIPS ")
    with pytest.raises(UserError, match=r"no weights at .*none.pth; get .*weights-vgg16-lpips.pth"):
        length("--vgg16", tmp_path / "vgg.pth", "--lpips", tmp_path / "none.pth", lpips=True)


def test_bad_input(length, tmp_path):
    with pytest.raises(UserError, match="no prompts at"):
        length(prompts="none.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match="no prompt given"):
        length(prompts="empty.txt")
