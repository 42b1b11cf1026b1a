"""A CLIP whose training is interrupted ends with the weights of one that is not."""

import time

import pytest
import torch
from safetensors.torch import load_file
from small_clip import checkpoint as module
from small_clip.build import build
from small_clip.checkpoint import Checkpoint
from small_clip.config import ClipTraining
from small_clip.progress import Progress

TINY = ClipTraining({"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}, embed_dim=32, steps=24, batch=8, warmup=5, recolor=0.0)

pytestmark = pytest.mark.filterwarnings("ignore")


class Interrupted(Exception):
    pass


class Stops(Progress):
    """Keeps the shares at which training steps began, and interrupts it at `stop`."""

    def __init__(self, stop: float):
        super().__init__()
        self.stop, self.steps = stop, []

    def __call__(self, task, done, details=""):
        if task.endswith(": training"):
            self.steps.append(done)
            if done >= self.stop:
                raise Interrupted


@pytest.fixture
def make(shards, tmp_path, monkeypatch):
    """make(name, stop=, minutes=, seed=) -> (shares, report and weights): a training that saves after every step, interrupted at `stop`."""
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)

    def make(name: str, stop: float = 2.0, minutes: float | None = None, seed: int = 1):
        progress = Stops(stop)
        try:
            report = build(str(shards), tmp_path / name, TINY, seed, 16, minutes, progress)
        except Interrupted:
            return progress.steps, None
        return progress.steps, report | {"weights": load_file(tmp_path / name / "open_clip_model.safetensors")}

    return make


def test_an_interrupted_training_ends_with_the_same_weights(make, tmp_path):
    steps, whole = make("whole")
    assert len(steps) == 24 and not list(tmp_path.glob(".*.checkpoint"))
    before, none = make("broken", stop=0.5)
    assert none is None and not (tmp_path / "broken").exists() and (tmp_path / ".broken.checkpoint").is_file()
    after, resumed = make("broken")
    assert len(before) + len(after) == 25  # the step that was interrupted before it was saved is taken again
    assert resumed["loss"] == whole["loss"] and not list(tmp_path.glob(".*.checkpoint"))
    for name, weight in whole["weights"].items():
        assert torch.equal(resumed["weights"][name], weight), name


def test_the_checkpoint_of_another_training_is_not_taken(make, tmp_path):
    make("broken", stop=0.5)
    steps, _ = make("broken", seed=2)
    assert len(steps) == 24
    (tmp_path / ".broken.checkpoint").write_bytes(b"half of a fi")
    assert len(make("broken")[0]) == 24


def test_a_training_by_the_clock_counts_the_time_before(make, tmp_path):
    make("broken", stop=0.5, minutes=0.05)
    began = time.monotonic()
    checkpoint = Checkpoint(tmp_path / ".broken.checkpoint", {})
    assert checkpoint.state is None  # of no training at all
    steps, _ = make("broken", minutes=0.05)
    assert 0.3 < steps[0] < 0.8 and time.monotonic() - began < 60
