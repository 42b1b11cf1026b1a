"""benchmarks/training.py: what share of a step each loss takes."""

import runpy

import pytest
import yaml
from tiny import ROOT, tiny_recipe

from t2igan.config import ObjectiveConfig
from t2igan.errors import UserError
from t2igan.recipe import parse
from t2igan.system import build_objective

pytest_plugins = ["kit"]


@pytest.fixture
def training():
    return runpy.run_path(str(ROOT / "benchmarks" / "training.py"))


def objective(*discriminator: dict):
    terms = {"discriminator": list(discriminator), "generator": [{"kind": "nonsaturating"}, {"kind": "matching"}]}
    return build_objective(parse(ObjectiveConfig, terms, "objective"))


def test_a_loss_is_left_out_and_the_others_stay(training):
    whole = objective({"kind": "r1", "every": 4}, {"kind": "nonsaturating"}, {"kind": "matching"})
    assert training["optional"](whole) == ["D/r1", "D/matching", "G/matching"]
    for name in training["optional"](whole):
        left = training["named"](training["leave_out"](whole, name))
        assert left == {key: entry for key, entry in training["named"](whole).items() if key != name}


def test_a_half_keeps_a_loss_at_every_step(training):
    whole = objective({"kind": "nonsaturating"}, {"kind": "r1", "every": 4}, {"kind": "matching", "after": 100})
    with pytest.raises(UserError, match="D would have no loss at some steps"):
        training["leave_out"](whole, "D/nonsaturating")
    with pytest.raises(UserError, match="no such loss; it has D/nonsaturating, D/r1"):
        training["leave_out"](whole, "D/r2")


def test_shares_are_of_the_whole(training, kit, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe(kit)))
    result = training["measure"](str(recipe), [], 1, ["D/r1"])
    assert list(result["shares"]) == ["data", "text", "D", "D/r1", "G"]
    assert sum(result["shares"].values()) == pytest.approx(1) and result["images_per_second"] > 0
    assert all(result["shares"][name] > 0 for name in ("data", "text", "G"))
