"""Atomic writes: complete or not at all."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2igan import files
from t2igan.data.images import save_image
from t2igan.errors import MACHINE_REFUSES, UserError
from t2igan.files import (
    atomic_file,
    atomic_folder,
    is_partial,
    one_writer,
    replace_folder,
    write_folder,
    write_json,
    write_tensors,
    write_text,
)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_replaced_whole(tmp_path):
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "out") as folder:
            (folder / content).write_text(content)
            assert folder.parent == tmp_path and folder.name.startswith(".")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["two"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    write_text_into(tmp_path / "out", "old")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
        raise ZeroDivisionError
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["old"]


def write_text_into(folder, name):
    folder.mkdir()
    (folder / name).write_text(name)


def test_what_a_killed_process_left_is_not_in_the_new_folder(tmp_path):
    write_text_into(tmp_path / ".out.0123abcd.partial", "leftover")
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["new"]


def test_what_another_folder_s_writer_makes_is_left_alone(tmp_path):
    with atomic_folder(tmp_path / "out.b") as other:
        with atomic_folder(tmp_path / "out"):
            assert other.is_dir()
        (other / "file").write_text("whole")
    assert names(tmp_path) == ["out", "out.b"] and names(tmp_path / "out.b") == ["file"]


HOLD = """
import sys, time, pathlib
from t2igan.files import one_writer
with one_writer(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_folder_has_one_writer_until_that_ends_however(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "out"], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    expected = r"another process is writing .*out; wait for its end, or choose another place"
    with pytest.raises(UserError, match=expected), atomic_folder(tmp_path / "out"):
        raise AssertionError
    with one_writer(tmp_path / "other"):
        pass
    assert names(tmp_path) == [".out.lock"], "nothing was written"
    other.kill()
    other.wait()
    with atomic_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out"]


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    write_text_into(tmp_path / ".out.0123abcd.partial", "perhaps another process's")
    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match="has no locks: let no other command write there"), atomic_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == [".out.0123abcd.partial", "out"]


def test_a_root_is_no_place(tmp_path):
    with pytest.raises(UserError, match="/ is no place for a folder"), atomic_folder(Path("/")):
        pass


def test_a_folder_is_made_with_its_parents_and_a_file_in_the_way_is_refused(tmp_path):
    with atomic_folder(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write beside .*choose another place"), atomic_folder(tmp_path / "file" / "out"):
        pass


def test_if_the_new_folder_cannot_be_renamed_the_old_one_returns(tmp_path, monkeypatch):
    write_text_into(tmp_path / "out", "old")
    write_text_into(tmp_path / "new", "new")
    replace = os.replace

    def failing(source, target):
        if source == tmp_path / "new":
            raise OSError("no")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", failing)
    with pytest.raises(OSError, match="no"):
        replace_folder(tmp_path / "new", tmp_path / "out")
    assert names(tmp_path) == ["new", "out"] and names(tmp_path / "out") == ["old"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old ü")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text(encoding="utf-8") == "old ü"


def test_two_processes_write_the_same_file_through_different_names(tmp_path):
    with atomic_file(tmp_path / "a") as ours:
        code = f"import pathlib; from t2igan.files import write_text; write_text(pathlib.Path({str(tmp_path / 'a')!r}), 'theirs')"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert (tmp_path / "a").read_text() == "theirs"
        ours.write_text("ours")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "ours"


def test_what_is_being_written_is_told_from_what_is_whole(tmp_path):
    with atomic_file(tmp_path / "a.json") as file, atomic_folder(tmp_path / "b") as folder:
        file.write_text("half")
        assert is_partial(file) and is_partial(folder) and is_partial(tmp_path / ".b.lock")
    assert not is_partial(tmp_path / "a.json") and not is_partial(tmp_path / ".hidden")


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_is_strict_sorted_and_readable(tmp_path, number):
    value = {"b": [1, 2.5, None], "a": "ü"}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value and text.startswith('{\n "a": "ü",') and text.endswith("}\n")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": number})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == text and names(tmp_path) == ["a.json"]


def test_a_full_disk_leaves_what_was_there(tmp_path, full_disk):
    """Whichever library writes, it is an OSError, which run_script makes one line of."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    tensors = {"model": {"weight": torch.ones(10_000)}}
    save_image(Image.new("RGB", (4, 4), "red"), tmp_path / "a.png")
    write_folder(tmp_path / "checkpoint", {"model": {"weight": torch.zeros(1)}}, {})
    before = {path: path.read_bytes() for path in (tmp_path / "a.png", tmp_path / "checkpoint/model.safetensors")}
    with full_disk(1000):
        for write in (
            lambda: save_image(noise, tmp_path / "a.png"),
            lambda: save_image(noise, tmp_path / "new.png"),
            lambda: write_folder(tmp_path / "checkpoint", tensors, {}),
            lambda: write_text(tmp_path / "new.txt", "x" * 5000),
        ):
            with pytest.raises(OSError) as refused:
                write()
            assert refused.value.errno in MACHINE_REFUSES
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "checkpoint"]


def test_others_may_read_tensors_where_they_may_read_any_new_file(tmp_path):
    (tmp_path / "plain.txt").touch()
    write_tensors(tmp_path / "tensors.safetensors", {"x": torch.zeros(2)})
    assert (tmp_path / "tensors.safetensors").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode
