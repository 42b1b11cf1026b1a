"""benchmarks/gigagan.py: our networks have published sizes, and a step is what is counted."""

import pytest
import torch
from tiny import ROOT

from t2igan.config import Recipe
from t2igan.recipe import parse
from t2igan.system import build_generator, build_system
from t2igan.types import TextDims


@pytest.fixture
def ours(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import gigagan_ours

    return gigagan_ours


def test_our_networks_have_the_sizes_of_published_results(ours, tmp_path):
    """The peer's to a tenth: 8.4 and 8.6 million parameters in G and D of `small`, 13.3 in the upsampler."""
    with torch.device("meta"):
        system = build_system(parse(Recipe, ours.our_recipe("small", 4, "fp32", tmp_path), ""))
        recipe = parse(Recipe, ours.our_upsampler(4), "")
        upsampler = build_generator(recipe.generator, recipe.resolution, TextDims(ours.TEXT_DIM, ours.TEXT_DIM))
    counts = [sum(p.numel() for p in module.parameters()) for module in (system.generator, system.discriminator, upsampler)]
    assert counts == [8_351_237, 8_586_776, 13_273_973]


def test_fresh_fakes_take_one_more_pass_of_the_generator(ours, tmp_path, monkeypatch):
    from benchmarks.gigagan_clock import counted

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ours.SIZES, "small", (4, 32, 32, 4, 4))
    monkeypatch.setitem(ours.BLOCKS, "small", ([1] * 5, [1] * 5))
    shared, fresh = (ours.Ours("small", 2, "fp32", reuse_fakes) for reuse_fakes in (True, False))

    def one_pass(system):
        with torch.no_grad():
            system.trainer.generate(system.micro_batch)

    difference = counted(lambda system: system.step(1), fresh) - counted(lambda system: system.step(1), shared)
    assert difference == pytest.approx(counted(one_pass, shared), rel=1e-6)
    assert counted(lambda system: system.d_backward(penalty=True), shared) > counted(lambda system: system.d_backward(False), shared)
