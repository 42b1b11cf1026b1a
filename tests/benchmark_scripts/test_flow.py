"""benchmarks/flow.py: the flow-matching network beside the lineage."""

import json

import pytest
import torch
from tiny import ROOT, tiny_recipe

from t2igan.config import Recipe
from t2igan.recipe import parse

pytest_plugins = ["kit"]


@pytest.mark.slow
def test_the_flow_matching_network_learns_resumes_and_draws(kit, tmp_path, monkeypatch):
    """On the kit's shards, for seconds; a second call within the time goes on from the checkpoint."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import flow

    recipe = parse(Recipe, tiny_recipe(kit, guided=False) | {"resolution": 16}, "")
    monkeypatch.setattr(flow, "WIDTHS", (16, 32))
    monkeypatch.setattr(flow, "LR", 1e-3)
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    flow.train(recipe, 0.02, tmp_path)
    first = json.loads((tmp_path / "trained.json").read_text())
    flow.train(recipe, 0.04, tmp_path)
    second = json.loads((tmp_path / "trained.json").read_text())
    assert second["images"] > first["images"] > 0 and 0.04 <= second["minutes"] < 0.5
    sampler = flow.FlowSampler.load(recipe, tmp_path, steps=2)
    images = sampler.sample_tensor(["thing 1", "thing 2"], [0, 1])
    assert images.shape == (4, 3, 16, 16) and images.abs().max() <= 1 and not torch.allclose(images[0], images[1])
    assert torch.allclose(sampler.sample_tensor(["thing 2"], [1])[0], images[3], atol=1e-4), "an image depends on its prompt and seed alone"


def test_eulers_method_follows_the_velocity_with_guidance(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import flow

    monkeypatch.setattr(flow, "velocity", lambda network, x, t, text: torch.full_like(x, 0.01 * len(text)) * (1 + t[:, None, None, None]))
    sampler = flow.FlowSampler(torch.nn.Identity(), lambda prompts: prompts[0], 4, steps=2, guidance=3.0)
    (image,) = sampler.sample(["abc"], [5])
    start = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(5))
    wanted = (start + (3.0 * 0.03 * 1.0) / 2 + (3.0 * 0.03 * 1.5) / 2).clamp(-1, 1)
    assert torch.allclose(image, wanted, atol=1e-6)
