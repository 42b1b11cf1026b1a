"""A CLIP whose training is interrupted ends with the weights of one that is not."""

import pytest
import torch
from safetensors.torch import load_file
from small_clip import checkpoint as module
from small_clip.build import build, content_of
from small_clip.config import ClipTraining
from small_clip.data import CaptionedImages
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


def test_the_checkpoint_of_another_training_is_not_taken(make, tmp_path, capsys):
    make("broken", stop=0.5)
    steps, _ = make("broken", seed=2, stop=0.1)
    assert steps[0] == 0 and ".broken.checkpoint is of another training (seed)" in capsys.readouterr().err
    (tmp_path / ".broken.checkpoint").write_bytes(b"half of a fi")
    assert make("broken", stop=0.1)[0][0] == 0 and "begins anew" in capsys.readouterr().err


def test_captions_of_other_images_make_another_training():
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    one, other = (CaptionedImages(pixels, ["a", "b"], own) for own in ([[0], [1]], [[1], [0]]))
    assert content_of(one) == content_of(one) != content_of(other)


def test_a_training_by_the_clock_counts_the_time_before(make, monkeypatch):
    clock = iter(float(second) for second in range(10_000))  # a second at every look
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    steps, _ = make("broken", stop=0.5, minutes=2.0)
    after, _ = make("broken", minutes=2.0)
    assert steps[0] < 0.1 and steps[-1] - 0.1 < after[0] < steps[-1] + 0.1


def test_a_disk_that_refuses_costs_a_warning(make, monkeypatch, capsys):
    def refuse(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(module.torch, "save", refuse)
    assert make("made")[1]["weights"]
    assert "cannot save" in capsys.readouterr().err


def test_the_time_left_is_counted_from_where_it_went_on(capsys, monkeypatch):
    now = iter([0.0, 60.0])
    monkeypatch.setattr("small_clip.progress.time.monotonic", lambda: next(now))
    progress = Progress()
    progress("training", 0.5)
    progress("training", 0.51)
    assert "training: 51%, 49:00 left" in capsys.readouterr().err
