"""A report on shards: what it counts, what it refuses."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from data_prep import check as script
from t2igan.data.index import index_path
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards


def png(value: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Seven samples in three shards: one picture of another size, one broken, one caption empty, two of the same pixels."""
    pictures = [png(0), png(1), png(2, 16), png(3)[:40], png(4), png(5), png(1)]
    captions = [["a b c"], ["one", "two words"], ["x"], ["y"], [" "], ["z"], ["again"]]
    samples = [Sample(f"{n:03d}", picture, said) for n, (picture, said) in enumerate(zip(pictures, captions, strict=True))]
    write_shards(samples, tmp_path / "data", 3)
    return tmp_path / "data"


def found(*places) -> dict:
    return script.check(script.find_tars([str(place) for place in places]))[0].report()


def test_it_counts_what_is_there_and_what_is_wrong(shards):
    report = found(shards)
    assert (report["shards"], report["samples"]) == (3, 7)
    assert report["sizes"] == {"8x8": 5, "16x16": 1}
    assert report["undecodable"] == 1 and "00001.tar#0" in report["undecodable_examples"][0]
    assert report["missing_captions"] == 1 and "00001.tar#1" in report["missing_captions_examples"][0]
    assert report["duplicates"] == 1 and [place[-11:] for place in report["duplicate_examples"][0]] == ["00000.tar#1", "00002.tar#0"]
    assert report["captions_per_picture"] == {"min": 1, "median": 1, "max": 2}
    assert report["caption_words"] == {"min": 1, "median": 1, "max": 3}
    assert report["broken_shards"] == report["stale_indices"] == []


def test_a_file_a_folder_and_both_are_the_same_shards(shards):
    assert found(shards / "00000.tar")["samples"] == 3
    assert found(shards, shards / "00000.tar")["samples"] == 7


def test_a_pattern_is_what_training_would_read(shards):
    assert found(shards / "{00000..00001}.tar")["samples"] == found(shards / "0000[01].tar")["samples"] == 6


def test_a_record_that_is_no_json_is_a_broken_sample_as_in_training(tmp_path):
    write_shards([Sample("a", png(1), ["one"]), Sample("b", png(2), ["two"])], tmp_path / "data", 3)
    tar = tmp_path / "data" / "00000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'{"captions": ["one"]}', b'{"captions": ["one" }'))
    assert found(tmp_path / "data")["undecodable"] == 1
    with pytest.raises(ValueError):
        Shards(str(tmp_path / "data")).read(0)


def test_a_half_written_folder_is_passed_over(shards):
    write_shards([Sample("x", png(9), ["x"])], shards / ".train.partial" / "deep", 3)
    assert found(shards)["samples"] == 7


def test_a_stale_index_is_named(shards):
    np.save(index_path(shards / "00001.tar"), np.zeros((1, 6), np.int64))
    index_path(shards / "00002.tar").write_bytes(b"junk")
    assert [line.split("/")[-1][:9] for line in found(shards)["stale_indices"]] == ["00001.tar", "00002.tar"]


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
    assert found(shards)["stale_indices"] == [] and index_path(shards / "00001.tar").exists()


def test_no_shards_is_refused(refused, tmp_path):
    assert "no .tar shards at" in refused("check.py", tmp_path / "nothing")
    assert "no .tar in" in refused("check.py", tmp_path)


def test_report_and_sheet_are_written(shards, run_script, tmp_path):
    done = run_script("check.py", shards, "--json", tmp_path / "r.json", "--sheet", tmp_path / "s.png")
    assert done.returncode == 0, done.stderr
    assert "3 shards, 7 samples" in done.stdout and "duplicates: 1" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["samples"] == 7
    assert Image.open(tmp_path / "s.png").width > 100


def test_a_sheet_in_a_missing_folder_is_refused_before_reading(refused, shards, tmp_path):
    assert "make it first" in refused("check.py", shards, "--sheet", tmp_path / "no" / "s.png")
