"""Checkpoints: whole or absent, the newest ones, without pickle."""

import json
import shutil
from dataclasses import asdict

import pytest
import torch

from t2igan import files as files
from t2igan.errors import UserError
from t2igan.training import checkpoint
from t2igan.training.checkpoint import Checkpoints, RunState


def at(images: int) -> RunState:
    return RunState(images, images // 8, 23, "ab12", 0, {"G": 0, "D": 1}, None)


@pytest.fixture
def tensors():
    return {"generator": {"weight": torch.randn(3, 2), "steps": torch.tensor(7)}, "ema": {"weight": torch.randn(3, 2)}}


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run", keep=2)


def test_what_is_written_is_read_back(checkpoints, tensors):
    path = checkpoints.write(tensors, at(96))
    read, state = checkpoints.read(path)
    assert state == at(96) and set(read) == {"generator", "ema"}
    for name, group in tensors.items():
        assert set(read[name]) == set(group)
        assert all(torch.equal(read[name][key], value) and read[name][key].dtype == value.dtype for key, value in group.items())


def test_a_checkpoint_holds_safetensors_and_json_only(checkpoints, tensors):
    path = checkpoints.write(tensors, at(96))
    assert sorted(file.name for file in path.iterdir()) == ["ema.safetensors", "generator.safetensors", "state.json"]


def test_the_newest_are_kept(checkpoints, tensors):
    for images in (8, 16, 96, 1024):
        checkpoints.write(tensors, at(images))
    assert [int(path.name) for path in checkpoints.all()] == [96, 1024]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["000000000096", "000000001024"]
    assert int(checkpoints.latest().name) == 1024


def test_a_run_without_checkpoints_has_no_latest(checkpoints):
    assert checkpoints.latest() is None


def test_a_half_written_folder_is_never_chosen(checkpoints, tensors):
    whole = checkpoints.write(tensors, at(8))
    for name in (".000000000016.0123abcd.partial", "000000000024"):
        shutil.copytree(whole, checkpoints.folder / name)
    (checkpoints.folder / "000000000024" / "state.json").unlink()
    assert checkpoints.latest() == whole and checkpoints.all() == [whole]
    checkpoints.write(tensors, at(16))
    checkpoints.write(tensors, at(24))
    assert [int(path.name) for path in checkpoints.all()] == [16, 24], "the leftovers are in nobody's way"
    assert not list(checkpoints.folder.glob(".*"))


@pytest.mark.parametrize("call", range(7))
def test_a_write_that_dies_at_any_point_leaves_the_one_before(call, checkpoints, tensors, monkeypatch):
    """The process is killed at the call-th operation on the disk; what `latest` finds afterwards is whole."""
    checkpoints.write(tensors, at(8))
    calls = 0

    def deadly(function):
        def wrapped(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls > call:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return wrapped

    monkeypatch.setattr(files, "save_file", deadly(files.save_file))
    monkeypatch.setattr(files, "_flush", deadly(files._flush))
    monkeypatch.setattr(files.os, "replace", deadly(files.os.replace))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(tensors, at(16))
    monkeypatch.undo()
    assert int(checkpoints.latest().name) == 8
    read, state = checkpoints.read(checkpoints.latest())
    assert state == at(8) and torch.equal(read["ema"]["weight"], tensors["ema"]["weight"])


def test_everything_is_flushed_before_the_folder_gets_its_name(checkpoints, tensors, monkeypatch):
    events = []
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0123abcd")
    flush, replace = files._flush, files.os.replace
    monkeypatch.setattr(files, "_flush", lambda path: (events.append(path.name), flush(path)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (events.append("rename"), replace(a, b)))
    path = checkpoints.write(tensors, at(16))
    before = events[: events.index("rename")]
    assert set(before) == {"ema.safetensors", "generator.safetensors", "state.json", f".{path.name}.0123abcd.partial"}
    assert events[-1] == "checkpoints", "and then the folder that holds the name"


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: (path / "generator.safetensors").write_bytes((path / "generator.safetensors").read_bytes()[:-5]),
        lambda path: (path / "generator.safetensors").write_bytes(b"\0" * 64),
        lambda path: (path / "generator.safetensors").write_bytes(b""),
        lambda path: (path / "state.json").write_text('{"images": 8'),
        lambda path: (path / "state.json").write_text(""),
        lambda path: (path / "state.json").write_text("{}"),
        lambda path: (path / "state.json").write_text("[8]"),
        lambda path: (path / "state.json").write_bytes(b"\xff\xfe\0"),
        lambda path: edit(path / "state.json", images="8"),
        lambda path: edit(path / "state.json", skipped_steps={"G": 1}),
    ],
    ids=[
        *("cut tensors", "zeroed tensors", "empty tensors", "cut state", "empty state", "state without a key", "state that is a list"),
        *("binary state", "state of another type", "state without a half"),
    ],
)
def test_a_damaged_file_is_one_clear_error(harm, checkpoints, tensors):
    path = checkpoints.write(tensors, at(8))
    harm(path)
    with pytest.raises(UserError, match=r"cannot be read.*delete that folder") as error:
        dict(checkpoints.read(path)[0])
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_one_file_is_in_memory_at_a_time(checkpoints, tensors, monkeypatch):
    read, _ = checkpoints.read(checkpoints.write(tensors, at(8)))
    loaded = []
    load = checkpoint.load_file
    monkeypatch.setattr(checkpoint, "load_file", lambda file: (loaded.append(file.name), load(file))[1])
    assert set(read) == {"generator", "ema"} and len(read) == 2 and not loaded
    assert set(read["ema"]) == {"weight"} and loaded == ["ema.safetensors"]
    with pytest.raises(KeyError):
        read["discriminator"]


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_state_is_json(checkpoints, tensors):
    path = checkpoints.write(tensors, at(8))
    assert json.loads((path / "state.json").read_text()) == asdict(at(8))
