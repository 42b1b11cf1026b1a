"""`t2igan train`: what it leaves, what it goes on from."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from tiny import environment

from t2igan.cli import main
from t2igan.data.write import write_shards


def test_help_of_every_command_comes_without_a_heavy_import():
    code = """
import sys
from t2igan.cli import main

for arguments in ([], ["train"], ["sample"], ["edit"], ["edit", "truncate"], ["upsample"], ["show"], ["diff"]):
    try:
        main([*arguments, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
heavy = {"torch", "numpy", "transformers", "open_clip", "accelerate", "PIL", "yaml"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment("unused"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: t2igan") == 8 == done.stdout.count("--debug  ") and "RUN" not in done.stderr
    for word in ("train", "sample", "show", "diff", "--truncation", "--seeds", "--resume", "--json", "section.key=value"):
        assert word in done.stdout


def test_no_command_and_an_unknown_one_end_with_code_2(capsys):
    for arguments in ([], ["paint"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2 and "usage" in capsys.readouterr().err


def test_train_leaves_a_whole_run_folder(run, tiny):
    assert {path.name for path in run.iterdir()} == {"recipe.yaml", "metrics.jsonl", "tensorboard", "samples", "checkpoints", "model"}
    assert [json.loads(line)["images"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [8, 16]
    resolved = yaml.safe_load((run / "recipe.yaml").read_text())
    assert resolved["training"]["keep_checkpoints"] == 2 and resolved["resolution"] == 16, "with the defaults written out"
    assert not list(run.rglob("*.pt")) + list(run.rglob("*.pkl")) + list(run.rglob("*.bin")) + list(run.rglob("*.partial"))


def test_train_goes_on_from_a_run_folder_with_its_own_recipe(tiny, recipe, tmp_path, call):
    out = tmp_path / "run"
    call("train", recipe(), "training.total_images=8", "--out", out)
    text = call("train", out, "training.total_images=16", "--out", out, "--resume")
    assert "8 of 16 images seen" in text
    assert [json.loads(line)["images"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [8, 16]


def test_overrides_reach_the_run(recipe, tmp_path, call):
    call("train", recipe(), "training.total_images=8", "objective.discriminator.2.gamma=0.25", "seed=11", "--out", tmp_path / "run")
    resolved = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert (
        resolved["seed"] == 11 and resolved["objective"]["discriminator"][2]["gamma"] == 0.25 and resolved["training"]["total_images"] == 8
    )


def test_overrides_and_prompts_may_stand_after_options(recipe, run, tmp_path, call):
    call("train", recipe(), "--out", tmp_path / "run", "training.total_images=8", "seed=11")
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["seed"] == 11
    assert call("sample", run, "--seeds", "0-1", "thing 1", "thing 2", "--out", "folder").startswith("4 images")


def test_unknown_options_are_refused(recipe, capsys):
    for arguments in (["train", str(recipe()), "--out", "run", "--sede=1"], ["diff", "a", "b", "c"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2 and "unrecognized arguments: " + arguments[-1] in capsys.readouterr().err


def test_broken_pictures_are_replaced_and_counted(samples, recipe, tmp_path, call):
    """A third of the pictures are no pictures; the run ends and says how many were replaced."""
    broken = [replace(sample, image=b"no picture" if n % 3 == 0 else sample.image) for n, sample in enumerate(samples)]
    write_shards(broken, tmp_path / "broken", per_shard=10)
    call("train", recipe(data__shards=str(tmp_path / "broken")), "--out", tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    counts = [line["data/replaced"] for line in lines]
    assert len(lines) == 2 and 0 < counts[0] < counts[1], "a running count"


def test_a_training_begins_with_a_model(recipe, run, call, tmp_path):
    out = tmp_path / "warm"
    assert f"generator begins with {run}: " in call("train", recipe(), "--from", run, "--out", out)
    start = yaml.safe_load((out / "recipe.yaml").read_text())["start"]
    assert start["run"] == str(run) and start["fitting"] and start["parts"] == ["generator", "discriminator"]
    call("train", out, "training.total_images=24", "--resume", "--out", out)  # its own recipe knows what it began with
    call("train", out, "training.total_images=32", "--from", run, "--resume", "--out", out)
