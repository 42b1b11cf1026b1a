"""Exact resume: N steps = k steps, kill -9, resume, the other steps, bit for bit."""

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tiny import command, environment, on_cpu, override, run_of, tiny_recipe, write_recipe

pytest_plugins = ["kit"]
BATCH, STEPS, EVERY = 4, 16, 4  # EVERY: steps between checkpoints
SEED = 20  # of the steps at which runs are killed
CLOCKS = {"seconds", "images_per_second", "data_wait_share"}


def lines(run: Path) -> list[dict]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] if file.is_file() else []


def kill_at(step: int, recipe: Path, run: Path, options: dict) -> int:
    """Starts or resumes a run, and sends SIGKILL when that step is in its log; returns how many steps the log then has."""
    resume = ["--resume"] if run.exists() else []
    process = subprocess.Popen(command("train", recipe, "--out", run, *resume), stderr=subprocess.DEVNULL, **options)
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if any(line["images"] >= BATCH * step for line in lines(run)):
                break
            time.sleep(0.005)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "the run must die before its end"
    return len(lines(run))


def finish(recipe: Path, run: Path, options: dict) -> None:
    done = subprocess.run(command("train", recipe, "--out", run, "--resume"), stderr=subprocess.PIPE, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def recipe(kit) -> dict:
    return override(
        tiny_recipe(kit),
        training__batch=BATCH,
        training__total_images=BATCH * STEPS,
        training__checkpoint_every=BATCH * EVERY,
        training__sample_every=BATCH * STEPS,
        training__keep_checkpoints=2,
    )


@pytest.fixture(scope="module")
def straight(recipe, tmp_path_factory) -> Path:
    """A run trained in one go."""
    out = tmp_path_factory.mktemp("straight") / "run"
    with on_cpu():
        run_of(recipe, out).train()
    return out


@pytest.fixture(scope="module")
def place(recipe, tmp_path_factory):
    """(recipe file, how to start a process there)."""
    folder = tmp_path_factory.mktemp("broken")
    options = {"env": environment(folder / "cache"), "cwd": folder, "stdout": subprocess.DEVNULL}
    return write_recipe(folder / "tiny.yaml", recipe), options


@pytest.fixture(scope="module")
def broken(place, tmp_path_factory):
    """(a run killed once between two checkpoints and resumed, how many steps its log had when it was killed)."""
    (path, options), run = place, tmp_path_factory.mktemp("once") / "run"
    seen = kill_at(EVERY + 2, path, run, options)
    assert not (run / "model").exists()
    # what a kill inside a write leaves behind: a folder under its temporary name; and one without the file that is written last
    whole = run / "checkpoints" / f"{BATCH * EVERY:012d}"
    shutil.copytree(whole, whole.with_name(f".{2 * BATCH * EVERY:012d}.0123abcd.partial"))
    shutil.copytree(whole, whole.with_name("000000099999"), ignore=shutil.ignore_patterns("state.json"))
    finish(path, run, options)
    return run, seen


def assert_equal_ends(a: Path, b: Path) -> None:
    """Every file of the last checkpoint and of the model has the same bytes, and the log the same numbers."""
    last = a / "checkpoints" / f"{BATCH * STEPS:012d}"
    files = {path.name for path in last.iterdir()}
    networks = {"generator", "discriminator", "ema", "generator_optimizer", "discriminator_optimizer", "objective", "augment"}
    assert (
        files
        == {path.name for path in (b / "checkpoints" / last.name).iterdir()}
        == {f"{name}.safetensors" for name in networks} | {"state.json"}
    )
    for name in files:
        assert (last / name).read_bytes() == (b / "checkpoints" / last.name / name).read_bytes(), name
    assert (a / "model" / "model.safetensors").read_bytes() == (b / "model" / "model.safetensors").read_bytes()
    one, other = lines(a), lines(b)
    assert [line["images"] for line in other] == [BATCH * (step + 1) for step in range(STEPS)]
    for x, y in zip(one, other, strict=True):
        assert {key: value for key, value in x.items() if key not in CLOCKS} == {
            key: value for key, value in y.items() if key not in CLOCKS
        }


def test_a_killed_and_resumed_run_ends_in_the_same_bits(straight, broken):
    run, seen = broken
    assert EVERY + 2 <= seen < STEPS and seen % EVERY, "some steps after a checkpoint were lost, and were repeated"
    assert_equal_ends(straight, run)
    terms = {"D/nonsaturating", "D/matching", "D/r1", "G/nonsaturating", "G/clip_contrastive", "G/matching", "G/reconstruction"}
    assert terms <= set(lines(straight)[0]), "with everything switched on"


def test_the_newest_checkpoints_are_kept_and_leftovers_never_chosen(straight, broken):
    run, _ = broken
    expected = [f"{BATCH * EVERY * n:012d}" for n in (STEPS // EVERY - 1, STEPS // EVERY)]
    assert sorted(path.name for path in (straight / "checkpoints").iterdir()) == expected
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [*expected, "000000099999"]
    found = [json.loads((run / "checkpoints" / name / "state.json").read_text())["images"] for name in expected]
    assert found == [BATCH * EVERY * 3, BATCH * EVERY * 4]


@pytest.mark.slow
def test_a_run_killed_at_three_random_steps_ends_in_the_same_bits(straight, place, tmp_path):
    path, options = place
    steps = sorted(random.Random(SEED).sample(range(EVERY + 1, STEPS - 2), 3))
    for step in steps:
        assert step <= kill_at(step, path, tmp_path / "run", options) < STEPS
    finish(path, tmp_path / "run", options)
    assert_equal_ends(straight, tmp_path / "run")
