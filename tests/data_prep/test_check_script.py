"""data_prep/check.py: exit codes, and what it writes."""

import io
import json
import subprocess

import pytest
from PIL import Image

from t2igan.data.check import check_shards, find_tars
from t2igan.data.index import index_path
from t2igan.data.write import Sample, write_shards


def png(value: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Seven samples in three shards: one image of another size, one broken, one caption empty, two of the same pixels."""
    images = [png(0), png(1), png(2, 16), png(3)[:40], png(4), png(5), png(1)]
    captions = [["a b c"], ["one", "two words"], ["x"], ["y"], [" "], ["z"], ["again"]]
    samples = [Sample(f"{n:03d}", image, texts) for n, (image, texts) in enumerate(zip(images, captions, strict=True))]
    write_shards(samples, tmp_path / "data", 3)
    return tmp_path / "data"


def test_a_truncated_tar_is_one_line_and_exit_code_2_and_the_rest_is_reported(shards, refused, run_script, tmp_path):
    tar = shards / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:1500])
    line = refused("check.py", shards, "--json", tmp_path / "r.json")
    assert "00001.tar" in line and "cut off" in line
    assert json.loads((tmp_path / "r.json").read_text())["samples"] == 4


def test_every_broken_tar_gets_a_line(shards, run_script):
    (shards / "00000.tar").write_bytes(b"no tar at all" * 100)
    (shards / "00002.tar").write_bytes(b"")
    done = run_script("check.py", shards)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert [name in line for name, line in zip(("00000.tar", "00002.tar"), done.stderr.splitlines(), strict=True)] == [True, True]


def test_indices_are_written_where_asked_and_used(shards, run_script):
    index_path(shards / "00001.tar").unlink()
    index_path(shards / "00002.tar").write_bytes(b"junk")
    assert run_script("check.py", shards).returncode == 0 and not index_path(shards / "00001.tar").exists()
    assert "indices written: 3" in run_script("check.py", shards, "--index").stdout
    assert check_shards(find_tars([str(shards)])).stale_indices == [] and index_path(shards / "00001.tar").exists()


def test_no_shards_is_refused(refused, tmp_path):
    assert "no .tar shards at" in refused("check.py", tmp_path / "nothing")
    assert "no .tar in" in refused("check.py", tmp_path)


def test_report_and_sheet_are_written(shards, run_script, tmp_path):
    done = run_script("check.py", shards, "--json", tmp_path / "r.json", "--sheet", tmp_path / "s.png")
    assert done.returncode == 0, done.stderr
    assert "3 shards, 7 samples" in done.stdout and "duplicates: 1" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["samples"] == 7
    assert Image.open(tmp_path / "s.png").width > 100


def test_a_report_to_stdout_leaves_the_device_as_it_is(shards, run_script):
    done = run_script("check.py", shards, "--json", "/dev/stdout", stdin=subprocess.DEVNULL)  # a process with a stdout of its own
    assert done.returncode == 0, done.stderr
    assert '"samples": 7' in done.stdout


def test_a_sheet_in_a_missing_folder_is_refused_before_reading(refused, shards, tmp_path):
    assert "make it first" in refused("check.py", shards, "--sheet", tmp_path / "no" / "s.png")
