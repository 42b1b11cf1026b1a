"""data_prep/folder.py: what it writes, and what it refuses."""

from pathlib import Path

import pytest
from PIL import Image

from t2igan.files import one_writer


def save(path: Path, colour="red", size=(40, 30), mode="RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def images(tmp_path) -> Path:
    """Twelve captioned squares of different greys."""
    for n in range(12):
        save(tmp_path / "in" / f"p{n:02d}.png", (20 * n, 20 * n, 20 * n)).with_suffix(".txt").write_text(f"grey {n}\n")
    return tmp_path / "in"


def test_the_command_writes_shards_report_and_sheet(run_script, images, tmp_path):
    done = run_script("folder.py", images, "--out", tmp_path / "out", "--size", 32)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"train", "report.json", "contact_sheet.png"}


def test_bad_input_is_one_line_and_writes_nothing(refused, images, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    assert "no image in" in refused("folder.py", tmp_path / "empty", "--out", out)
    assert "is not a folder" in refused("folder.py", tmp_path / "missing", "--out", out)
    for text in images.glob("*.txt"):
        text.unlink()
    line = refused("folder.py", images, "--out", out)
    assert "no caption" in line and "p00.txt" in line and "--captions" in line
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_pictures_that_all_fail_to_decode_write_nothing(refused, images, tmp_path):
    for image in images.glob("*.png"):
        image.write_bytes(b"no")
    assert "do not decode" in refused("folder.py", images, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_a_foreign_folder_or_file_is_not_replaced(refused, images, tmp_path):
    assert "is a file" in refused("folder.py", images, "--out", images / "p00.png")
    assert "was not written by this script" in refused("folder.py", images, "--out", images)
    assert len(list(images.iterdir())) == 24


def test_two_commands_do_not_write_one_folder(refused, images, tmp_path):
    with one_writer(tmp_path / "out"):
        assert "another process is writing" in refused("folder.py", images, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_left_out_is_told(run_script, images, tmp_path):
    (images / "p00.txt").write_bytes(b"caf\xe9")
    (images / "photo.heic").write_bytes(b"x")
    (tmp_path / "c.csv").write_text("file,caption\nP01.png,grey\n")
    done = run_script("folder.py", images, "--out", tmp_path / "out", "--captions", tmp_path / "c.csv")
    assert done.returncode == 0, done.stderr
    assert "1 whose captions are not text: p00.txt is not UTF-8 text (byte 3)" in done.stdout
    assert "c.csv names 1 file(s) that are not in the folder: 'P01.png'; it has 'p00.png'" in done.stdout
    assert "passed over: 1 .heic" in done.stdout


def test_captions_may_be_classes_or_none(run_script, refused, images, tmp_path):
    assert "needs below it a folder for each class" in refused("folder.py", images, "--out", tmp_path / "out", "--captions", "folders")
    (images.parent / "classes").mkdir()
    images.rename(images.parent / "classes" / "greys")
    for captions, count in (("folders", 12), ("none", 0)):
        done = run_script("folder.py", images.parent / "classes", "--out", tmp_path / "out", "--captions", captions, "--held-out", 0)
        assert f"12 images in train, 0 in held_out; {count} captions" in done.stdout, done.stderr
        assert ('text: {kind: label, num_classes: 1, names: ["greys"]}' in done.stdout) == (captions == "folders")
    (images.parent / "classes" / "rare").mkdir()
    (images.parent / "classes" / "greys" / "p00.png").rename(images.parent / "classes" / "rare" / "p00.png")
    shares = [["--held-out", share] for share in (0.4, 0.5)]
    told = [
        run_script("folder.py", images.parent / "classes", "--out", tmp_path / "out", "--captions", "folders", *s).stdout for s in shares
    ]
    assert ["without an image in train, for --held-out took all: rare" in text for text in told] == [False, True]
