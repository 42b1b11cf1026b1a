"""Exact resume: N steps = k steps, kill -9 in the middle, resume, N - k steps, bit for bit."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import command, environment, on_cpu, override, tiny_recipe, trainer_of, write_recipe

pytest_plugins = ["kit"]
BATCH, STEPS, EVERY = 4, 16, 4  # EVERY: steps between checkpoints
KILLED_AFTER = 6  # steps; the newest whole checkpoint is then that of step 4


def lines(run: Path) -> list[dict]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] if file.is_file() else []


def kill_in_the_middle(process: subprocess.Popen, run: Path) -> None:
    """SIGKILL once the step after a checkpoint is in the log."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if len(lines(run)) >= KILLED_AFTER:
            process.kill()
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL, "the run must die before its end"


@pytest.fixture(scope="module")
def runs(kit, tmp_path_factory):
    """(run trained in one go, run killed and resumed, its clock readings when it was killed)."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = override(
        tiny_recipe(kit),
        training__batch=BATCH,
        training__images=BATCH * STEPS,
        training__checkpoint_every=BATCH * EVERY,
        training__sample_every=BATCH * STEPS,
        training__keep=2,
    )
    path, straight, broken = write_recipe(folder / "tiny.yaml", recipe), folder / "straight", folder / "broken"
    options = {"env": environment(folder / "cache"), "cwd": folder, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(command("train", path, "--out", broken), stderr=subprocess.DEVNULL, **options)
    try:
        kill_in_the_middle(process, broken)
    finally:
        process.kill()
    seen = [line["images"] for line in lines(broken)]
    assert not (broken / "model").exists()
    # what a kill inside a write leaves behind: a folder under its temporary name; and one without the file that is written last
    whole = broken / "checkpoints" / f"{BATCH * EVERY:012d}"
    shutil.copytree(whole, whole.with_name(f".{2 * BATCH * EVERY:012d}.partial"))
    shutil.copytree(whole, whole.with_name("000000099999"), ignore=shutil.ignore_patterns("state.json"))
    done = subprocess.run(command("train", path, "--out", broken, "--resume"), stderr=subprocess.PIPE, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    with on_cpu():
        trainer_of(recipe, straight).train()
    return straight, broken, seen


@pytest.mark.parametrize("name", ["generator", "discriminator", "ema", "generator_optimizer", "discriminator_optimizer"])
def test_a_killed_and_resumed_run_ends_in_the_same_bits(name, runs):
    straight, broken, _ = runs
    last = f"{BATCH * STEPS:012d}"
    a, b = (load_file(run / "checkpoints" / last / f"{name}.safetensors") for run in (straight, broken))
    assert a and set(a) == set(b)
    for key, value in a.items():
        assert value.dtype == b[key].dtype and torch.equal(value, b[key]), key


def test_the_published_model_is_the_same(runs):
    straight, broken, _ = runs
    a, b = ((run / "model" / "model.safetensors").read_bytes() for run in (straight, broken))
    assert a == b


def test_the_run_was_killed_between_two_checkpoints(runs):
    """So that steps were lost and had to be repeated."""
    _, _, seen = runs
    assert seen == [BATCH * (step + 1) for step in range(len(seen))]
    assert KILLED_AFTER <= len(seen) < STEPS and len(seen) % EVERY, "some steps after a checkpoint were lost"


def test_the_log_has_each_step_once_with_the_same_losses(runs):
    straight, broken, _ = runs
    a, b = lines(straight), lines(broken)
    assert [line["images"] for line in b] == [BATCH * (step + 1) for step in range(STEPS)]
    clocks = {"seconds", "images_per_second", "data_wait_share"}
    for one, other in zip(a, b, strict=True):
        assert {key: value for key, value in one.items() if key not in clocks} == {k: v for k, v in other.items() if k not in clocks}
    terms = {"D/nonsaturating", "D/matching", "D/r1", "G/nonsaturating", "G/clip_contrastive"}
    terms |= {"G/matching", "G/reconstruction"}
    assert terms <= set(a[0]), "with everything switched on"


def test_the_newest_checkpoints_are_kept_and_leftovers_never_chosen(runs):
    straight, broken, _ = runs
    expected = [f"{BATCH * EVERY * n:012d}" for n in (STEPS // EVERY - 1, STEPS // EVERY)]
    assert sorted(path.name for path in (straight / "checkpoints").iterdir()) == expected
    assert sorted(path.name for path in (broken / "checkpoints").iterdir()) == [*expected, "000000099999"]
    assert [json.loads((broken / "checkpoints" / name / "state.json").read_text())["images"] for name in expected] == [
        BATCH * EVERY * 3,
        BATCH * EVERY * 4,
    ]
