"""benchmarks/seeds.py: one recipe, several seeds."""

import json
import runpy
import sys

import pytest
import yaml
from tiny import ROOT, tiny_recipe

pytest_plugins = ["kit"]


@pytest.fixture
def seeds():
    return runpy.run_path(str(ROOT / "benchmarks" / "seeds.py"))


def test_a_study_ends_in_a_row_per_seed_and_the_range(seeds):
    rows = {seed: {"train": value, "frechet": value / 10} for seed, value in ((0, 0.5), (1, 0.9), (7, 0.6))}
    title, *lines = (line.split() for line in seeds["table"](rows).splitlines())
    assert title == ["seed", "train", "frechet"]
    assert lines[:3] == [["0", "0.500", "0.050"], ["1", "0.900", "0.090"], ["7", "0.600", "0.060"]]
    assert lines[3:] == [["least", "0.500", "0.050"], ["median", "0.600", "0.060"], ["most", "0.900", "0.090"]]


def test_a_broken_training_is_resumed(seeds, tmp_path):
    command = seeds["train_command"]
    assert command("r.yaml", ["seed=3"], 2, tmp_path)[-5:] == ["train", "r.yaml", "seed=3", "--out", str(tmp_path)]
    checkpoint = tmp_path / "checkpoints/000000000008"
    checkpoint.mkdir(parents=True)
    assert "--resume" not in command("r.yaml", [], 1, tmp_path)
    (checkpoint / "state.json").touch()
    assert command("r.yaml", [], 1, tmp_path)[-2:] == [str(tmp_path), "--resume"]


@pytest.mark.slow
def test_a_study_of_two_seeds(seeds, kit, emoji_32, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "study"
    recipe.write_text(yaml.safe_dump(tiny_recipe(kit)))
    words = [recipe, "training.total_images=32", "--seeds", 4, 5, "--processes", 1, "--data", emoji_32, "--scorer", kit.clip, "--out", out]
    monkeypatch.setattr(sys, "argv", ["seeds.py", *map(str, words)])
    seeds["main"]()
    rows = json.loads((out / "result.json").read_text())["seeds"]
    assert list(rows) == ["4", "5"] and rows["4"] != rows["5"]
    finished = (out / "4/result.json").stat().st_mtime_ns
    seeds["main"]()
    assert (out / "4/result.json").stat().st_mtime_ns == finished
