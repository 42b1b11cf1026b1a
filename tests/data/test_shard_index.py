"""The index beside a shard: when it is used, and when the shard is read from end to end."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from test_shards import written

from t2igan.data.shards import Shards
from t2igan.data.write import write_shards
from t2igan.errors import UserError


def test_the_stored_index_is_used_and_a_stale_one_is_not(tmp_path, samples):
    written(tmp_path, samples[:5])
    tar = tmp_path / "train" / "00000.tar"
    index = tmp_path / "train" / "00000.tar.idx.npy"
    np.save(index, np.load(index)[:2])
    assert len(Shards(str(tar))) == 2
    older = tar.stat().st_mtime - 10
    os.utime(index, (older, older))
    with pytest.warns(UserWarning, match=r"idx\.npy is older than its shard, or another's; the shard is read from end to end"):
        assert len(Shards(str(tar))) == 5


def test_an_index_older_than_its_shard_is_used_where_it_describes_it(tmp_path, samples, monkeypatch):
    """As after a copy that keeps no times, or an upload."""
    written(tmp_path, samples[:5])
    index = tmp_path / "train" / "00000.tar.idx.npy"
    os.utime(index, (0, 0))
    monkeypatch.setattr("t2igan.data.shards.scan_tar", None)
    assert len(Shards(str(tmp_path / "train"))) == 5
    rows = np.load(index)
    rows[:, 0] += 1
    np.save(index, rows)
    os.utime(index, (0, 0))
    with pytest.warns(UserWarning, match="is older than its shard, or another's"), pytest.raises(TypeError):
        Shards(str(tmp_path / "train"))


def test_members_of_no_use_at_the_end_of_a_shard_make_its_index_no_other_ones(tmp_path, samples, monkeypatch):
    written(tmp_path, samples[:3])
    with tarfile.open(tmp_path / "train" / "00000.tar", "a") as archive:
        info = tarfile.TarInfo("9.segmentation.bin")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"1234"))
    monkeypatch.setattr("t2igan.data.shards.scan_tar", None)
    assert len(Shards(str(tmp_path / "train"))) == 3
    with tarfile.open(tmp_path / "train" / "00000.tar", "a") as archive:
        archive.addfile(tarfile.TarInfo("9.png"), io.BytesIO(b""))
    os.utime(tmp_path / "train" / "00000.tar.idx.npy", (0, 0))
    with pytest.warns(UserWarning, match="is older"), pytest.raises(TypeError):
        Shards(str(tmp_path / "train"))


def test_a_large_index_is_written_shard_by_shard(tmp_path, samples, monkeypatch):
    small = written(tmp_path, samples, per_shard=4)
    monkeypatch.setattr("t2igan.data.index.SHARED_FROM", 500)  # bytes, so that the third shard begins the file
    large = Shards(str(tmp_path / "train"))
    assert large.index.address and not small.index.address
    assert (large.index.rows == small.index.rows).all() and large.fingerprint == small.fingerprint
    assert pickle.loads(pickle.dumps(large)).read(9) == small.read(9)


def test_an_unreadable_index_is_read_anew(tmp_path, samples):
    written(tmp_path, samples[:5])
    for rubbish in (b"", b"no numpy file", b"\x93NUMPY\x01\x00"):
        (tmp_path / "train" / "00000.tar.idx.npy").write_bytes(rubbish)
        with pytest.warns(UserWarning, match="is older than its shard, or another's"):
            assert len(Shards(str(tmp_path / "train"))) == 5


def test_a_tar_cut_inside_its_last_member_is_found_although_its_index_is_newer(tmp_path, samples):
    write_shards(samples[:3], tmp_path / "train")
    tar = tmp_path / "train" / "00000.tar"
    last = int(Shards(str(tmp_path / "train")).index.rows[:, ::2].max())
    tar.write_bytes(tar.read_bytes()[: last + 2])
    os.utime(tar, (0, 0))
    with pytest.raises(UserError, match="cut off"):
        Shards(str(tmp_path / "train"))
