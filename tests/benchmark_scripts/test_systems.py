"""benchmarks/systems.py and alias_free.py: any recipe against the fastest convolution; filters."""

import json
import subprocess
import sys

import pytest

pytest_plugins = ["kit"]


@pytest.mark.slow
def test_any_recipes_networks_are_measured(root, tmp_path, kit):
    from tiny import stylegan2_recipe, write_recipe

    path = write_recipe(tmp_path / "recipe.yaml", stylegan2_recipe(kit))
    command = [sys.executable, "-m", "benchmarks.systems", str(path), "--batch", "2", "--rounds", "1", "--out", str(tmp_path / "x.json")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "x.json").read_text())
    assert set(result["rows"]) == {"G forward", "D", "D with lazy penalties", "step"}
    rows = result["rows"].values()
    assert all(row["images_per_second"] > 0 and 0 < row["of_ceiling"] < 1 for row in rows)
    assert result["rows"]["D with lazy penalties"]["gflop_per_image"] > result["rows"]["D"]["gflop_per_image"]
    assert "of ceiling" in done.stdout and f"{result['g']:,}" in done.stdout


@pytest.mark.slow
def test_both_formulations_of_the_filtered_nonlinearity_are_one(root):
    sizes = ["--resolution", "16", "--channels", "4", "--batch", "1", "--rounds", "1"]
    command = [sys.executable, "-m", "benchmarks.alias_free", *sizes, "--only", "up by four"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "up by four" in done.stdout and done.stdout.count("x\n") == 1
