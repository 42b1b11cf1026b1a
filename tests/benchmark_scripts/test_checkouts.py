"""benchmarks/checkouts.py: the figures of two checkouts."""

import json
import resource
import runpy

import pytest
from tiny import ROOT

from t2igan.errors import UserError


@pytest.fixture
def checkouts():
    return runpy.run_path(str(ROOT / "benchmarks" / "checkouts.py"))


def test_the_length_of_a_training_by_either_name(checkouts, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("training: {batch: 24}\n")
    overrides = checkouts["recipe_overrides"]
    common = ["training.log_every=8", "training.checkpoint_every=1152", "training.sample_every=1152"]
    assert overrides(recipe, 48, []) == ("training.total_images=1152", *common)
    assert overrides(recipe, 48, ["training.images={images}"]) == (*common, "training.images=1152")
    assert overrides(recipe, 48, ["training.batch=2"])[0] == "training.total_images=96"
    with pytest.raises(UserError, match="give a file that both checkouts have"):
        overrides(tmp_path / "missing.yaml", 48, [])


def test_warm_up_does_not_count(checkouts):
    lines = [json.dumps({"images_per_second": speed}) for speed in (1, 2, 50, 70, 60, 20)]
    assert checkouts["later_speed"]("\n".join(lines)) == 55
    with pytest.raises(UserError, match="2 lines"):
        checkouts["later_speed"]("\n".join(lines[:2]))


def test_ratios_are_of_neighbours_in_time(checkouts):
    Training = checkouts["Training"]
    here, there = [Training(10, 1), Training(20, 1), Training(30, 4)], [Training(5, 2), Training(20, 2), Training(20, 2)]
    result = checkouts["summary"](here, there)
    assert result["images_per_second"] == {"here": 20, "there": 20, "ratio": 1.5}
    assert result["peak_gib"] == {"here": 1, "there": 2, "ratio": 0.5}


PROGRAM = """
import json, sys
from pathlib import Path

if "fail=1" in sys.argv:
    sys.exit("error: nothing to train on")
block = b"x" * (900 << 20)
out = Path(sys.argv[-1])
out.mkdir()
lines = [{"images_per_second": len(sys.argv)}] * 3
(out / "metrics.jsonl").write_text("".join(json.dumps(line) + chr(10) for line in lines))
"""


def test_a_training_runs_its_checkouts_code(checkouts, tmp_path):
    """Also where another t2igan is installed; its peak memory is measured, and its error is passed on."""
    package = tmp_path / "clone" / "t2igan"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    checkout = checkouts["Checkout"]("there", tmp_path / "clone", "recipe.yaml", (), tmp_path / "cache")
    found = checkouts["train"](checkout, 1, tmp_path / "out")
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # a process starts with the peak of the one that starts it
    assert found.images_per_second == 5 and 0.87 < found.peak_gib < max(1.1, inherited + 0.1)
    failing = checkouts["Checkout"]("there", tmp_path / "clone", "recipe.yaml", ("fail=1",), tmp_path / "cache")
    with pytest.raises(UserError, match=r"clone: nothing to train on"):
        checkouts["train"](failing, 1, tmp_path / "failed")
