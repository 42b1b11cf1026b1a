"""Shards to a report: what it counts."""

import io

import numpy as np
import pytest
from PIL import Image

from t2igan.data.check import check_shards, find_tars, write_indices
from t2igan.data.index import index_path
from t2igan.data.shards import Shards
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


def found(*places) -> dict:
    return check_shards(find_tars([str(place) for place in places])).report()


def test_good_and_bad_samples_are_counted(shards):
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


def test_a_record_that_is_not_json_is_a_broken_sample_as_in_training(tmp_path):
    write_shards([Sample("a", png(1), ["one"]), Sample("b", png(2), ["two"])], tmp_path / "data", 3)
    tar = tmp_path / "data" / "00000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'{"captions": ["one"]}', b'{"captions": ["one" }'))
    assert found(tmp_path / "data")["undecodable"] == 1
    with pytest.raises(ValueError):
        Shards(str(tmp_path / "data")).read(0)


def test_a_half_written_folder_is_skipped(shards):
    write_shards([Sample("x", png(9), ["x"])], shards / ".train.partial" / "deep", 3)
    assert found(shards)["samples"] == 7


def test_a_stale_index_is_named(shards):
    np.save(index_path(shards / "00001.tar"), np.zeros((1, 6), np.int64))
    index_path(shards / "00002.tar").write_bytes(b"junk")
    assert [line.split("/")[-1][:9] for line in found(shards)["stale_indices"]] == ["00001.tar", "00002.tar"]


def test_written_indices_are_the_tars_own_and_a_broken_tar_gets_none(shards):
    index_path(shards / "00001.tar").unlink()
    (shards / "00002.tar").write_bytes(b"not a tar" * 100)
    index_path(shards / "00002.tar").unlink()
    assert write_indices(find_tars([str(shards)])) == 2
    assert index_path(shards / "00001.tar").exists() and not index_path(shards / "00002.tar").exists()
    assert found(shards)["stale_indices"] == []


def test_the_sheet_shows_images_that_decode_with_their_captions(shards):
    findings = check_shards(find_tars([str(shards)]))
    assert [caption for caption, _ in findings.sheet] == ["a b c", "one", "x", "(no caption)", "z", "again"]
    assert all(image.mode == "RGB" for _, images in findings.sheet for image in images)
