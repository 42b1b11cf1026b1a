"""Captioned pictures to shards."""

import json
import tarfile

import numpy as np
import pytest

from t2igan.data.index import index_tar
from t2igan.data.write import Sample, write_shards


def test_members_and_indices(tmp_path, samples):
    assert write_shards(samples, tmp_path / "out", per_shard=10) == 23
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"0000{i}.tar{suffix}" for i in range(3) for suffix in ("", ".idx.npy")]  # fmt: skip
    with tarfile.open(tmp_path / "out" / "00000.tar") as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}
    assert len(members) == 30
    assert members["00003.png"] == samples[3].image
    assert members["00003.txt"].decode() == samples[3].captions[0]
    assert json.loads(members["00003.json"]) == {"captions": samples[3].captions, "style": "style 0"}
    assert np.array_equal(np.load(tmp_path / "out" / "00000.tar.idx.npy"), index_tar(tmp_path / "out" / "00000.tar"))


def test_equal_samples_give_equal_bytes(tmp_path, samples):
    for name in ("a", "b"):
        write_shards(samples, tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_older_folder_is_replaced_whole(tmp_path, samples):
    write_shards(samples, tmp_path / "out", per_shard=5)
    write_shards(samples[:2], tmp_path / "out", per_shard=5)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == ["00000.tar"]


def test_a_failure_leaves_the_older_folder_as_it_was(tmp_path, samples):
    write_shards(samples[:3], tmp_path / "out")
    before = (tmp_path / "out" / "00000.tar").read_bytes()

    def failing():
        yield samples[0]
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_shards(failing(), tmp_path / "out")
    assert (tmp_path / "out" / "00000.tar").read_bytes() == before
    write_shards(samples[:4], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_no_samples_give_an_empty_folder(tmp_path):
    assert write_shards([], tmp_path / "out") == 0
    assert list((tmp_path / "out").iterdir()) == []


def test_other_extensions_and_letters(tmp_path):
    write_shards([Sample("0", b"\xff\xd8", ["ünï 🫠"], {}, "jpg")], tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "00000.tar") as archive:
        assert archive.getnames() == ["0.jpg", "0.json", "0.txt"] or set(archive.getnames()) == {"0.jpg", "0.json", "0.txt"}
        assert "🫠" in archive.extractfile("0.json").read().decode()
