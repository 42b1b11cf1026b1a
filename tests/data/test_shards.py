"""Shards to samples, and what becomes of broken ones."""

import gc
import io
import json
import multiprocessing
import os
import pickle
import tarfile
from dataclasses import replace

import pytest
import torch

from t2igan.data.batches import TrainingBatches, batches
from t2igan.data.check import check_shards
from t2igan.data.index import BrokenShard
from t2igan.data.shards import Shards, find_shards
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError


def written(tmp_path, samples, **options):
    write_shards(samples, tmp_path / "train", **options)
    return Shards(str(tmp_path / "train"))


def plain_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


# ---------------------------------------------------------------------------------------------------- finding and reading


def test_folder_file_glob_and_range(shards):
    names = [path.name for path in find_shards(str(shards))]
    assert names == ["00000.tar", "00001.tar", "00002.tar"]
    for pattern, expected in (("00001.tar", names[1:2]), ("*.tar", names), ("0000[02].tar", names[::2]), ("{00001..00009}.tar", names[1:])):
        assert [path.name for path in find_shards(str(shards / pattern))] == expected


@pytest.mark.parametrize(("pattern", "hint"), [("", "did you mean .*train"), ("train/x.tar", "data_prep"), ("nothing", "data_prep")])
def test_missing_shards_are_an_error_with_a_hint(pattern, hint, shards):
    with pytest.raises(UserError, match=f"no .tar shards at .*{hint}"):
        find_shards(str(shards.parent / pattern))


def test_every_sample_is_read_back_as_it_was_written(shards, samples):
    read = Shards(str(shards))
    assert len(read) == len(samples) == 23
    for number in (22, *range(23)):
        record = read.read(number)
        assert (record.image, record.captions) == (samples[number].image, samples[number].captions)
        assert record.meta == {"captions": samples[number].captions, "style": samples[number].meta["style"]}
    assert read.primary_captions() == sorted({sample.captions[0] for sample in samples})


def test_shards_travel_to_worker_processes(shards):
    read = Shards(str(shards))
    first = read.read(0)
    copy = pickle.loads(pickle.dumps(read))
    assert copy.read(0) == first


def test_a_large_index_is_not_copied_to_worker_processes(shards, monkeypatch):
    monkeypatch.setattr("t2igan.data.index.SHARED_FROM", 0)
    read = Shards(str(shards))
    first, whole = read.read(0), read.fingerprint
    assert len(pickle.dumps(read.index)) < 400 < read.index.rows.nbytes, "an address"
    workers = multiprocessing.get_context("forkserver").Pool(1)
    with workers:
        assert workers.apply(Shards.read, (read, 0)) == first
        assert workers.apply(Shards.__len__, (read,)) == 23
    descriptor = int(read.index.address.rpartition("/")[2])
    del read
    with pytest.raises(OSError):
        os.fstat(descriptor)
    assert Shards(str(shards)).fingerprint == whole


# ---------------------------------------------------------------------------------------------------- broken samples


def broken(samples, numbers, image=b"no image"):
    return [Sample(s.key, image if i in numbers else s.image, s.captions, s.meta) for i, s in enumerate(samples)]


def test_a_corrupt_image_is_replaced_by_its_successor_and_counted(tmp_path, samples):
    half = samples[5].image[: len(samples[5].image) // 2]
    damaged = [Sample(s.key, half if i == 5 else s.image, s.captions) for i, s in enumerate(broken(samples, {22}))]
    dataset = TrainingBatches(written(tmp_path, damaged, per_shard=8), 16, 23, seed=0)
    whole = TrainingBatches(written(tmp_path / "whole", samples), 16, 23, seed=0)
    batch, expected = dataset[0], whole[0]
    assert batch.num_replaced == 2
    changed = [i for i in range(23) if not torch.equal(batch.images[i], expected.images[i])]
    assert len(changed) == 2
    for i in changed:
        victim = next(n for n in (5, 22) if samples[n].captions[0] == expected.primary_captions[i])
        successor = samples[(victim + 1) % 23]
        assert batch.primary_captions[i] == successor.captions[0]
        assert batch.captions[i] in successor.captions


def test_a_run_of_broken_samples_counts_each(tmp_path, samples):
    dataset = TrainingBatches(written(tmp_path, broken(samples, {3, 4, 5})), 16, 23, seed=0)
    assert dataset[0].num_replaced == 3 + 2 + 1


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_broken_samples_is_an_error_not_a_hang(workers, tmp_path, samples, monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)  # torch waits this long for a worker that failed
    dataset = TrainingBatches(written(tmp_path, broken(samples, set(range(23)))), 16, 4, seed=0)
    with pytest.raises(UserError, match=r"^all 23 samples are broken .*check\.py") as caught:
        next(iter(batches(dataset, range(0, 8, 4), workers)))
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()


def test_a_sample_without_caption_is_replaced(tmp_path, png):
    members = [("0.png", png("red")), ("1.png", png("blue")), ("1.txt", b"a caption"), ("2.png", png("lime")), ("2.txt", b"  \n")]
    plain_tar(tmp_path / "x.tar", members)
    batch = TrainingBatches(Shards(str(tmp_path)), 16, 3, seed=0)[0]
    assert batch.captions == ["a caption"] * 3
    assert batch.num_replaced == 1 + 2  # 0 by 1; 2 by 0 by 1
    assert Shards(str(tmp_path)).primary_captions() == ["a caption"]


def test_shards_of_somebody_else(tmp_path, png):
    """As img2dataset writes LAION: .jpg, .txt, a .json without 'captions', no index."""
    meta = {"url": "http://x", "caption": "ignored", "width": 16, "captions": None}
    members = [("000000000.jpg", png("red")), ("000000000.json", json.dumps(meta).encode()), ("000000000.txt", "ein Bär".encode())]
    path = plain_tar(tmp_path / "00000.tar", members)
    record = Shards(str(path)).read(0)
    assert record.captions == ["ein Bär"]
    assert record.meta["url"] == "http://x"


ODD_JSON = [b'["a", "list"]', b'"text"', b'{"captions": "one string"}', b'{"captions": [3, null, " "]}', b'{"captions": []}']


@pytest.mark.parametrize("meta", ODD_JSON)
def test_odd_json_falls_back_to_the_text_or_counts_as_broken(meta, tmp_path, png):
    members = [("0.png", png("red")), ("0.txt", b"a caption"), ("0.json", meta), ("1.png", png("blue")), ("1.txt", b"b")]
    plain_tar(tmp_path / "x.tar", members)
    batch = TrainingBatches(Shards(str(tmp_path)), 16, 2, seed=0)[0]
    assert set(batch.captions) <= {"a caption", "b"}
    assert batch.num_replaced == (0 if "a caption" in batch.captions else 1)


def test_broken_json_counts_as_broken(tmp_path, png):
    plain_tar(tmp_path / "x.tar", [("0.png", png("red")), ("0.json", b"{half"), ("1.png", png("blue")), ("1.txt", b"b")])
    batch = TrainingBatches(Shards(str(tmp_path)), 16, 2, seed=0)[0]
    assert (batch.captions, batch.num_replaced) == (["b", "b"], 1)


def test_a_truncated_shard_without_index_is_named(shards, tmp_path):
    cut = tmp_path / "00000.tar"
    cut.write_bytes((shards / "00000.tar").read_bytes()[:3000])
    with pytest.raises(BrokenShard, match=r"00000\.tar is cut off"):
        Shards(str(tmp_path))


def test_shards_without_an_image_are_refused(tmp_path):
    plain_tar(tmp_path / "x.tar", [("0.txt", b"a caption")])
    with pytest.raises(UserError, match="hold no image"):
        Shards(str(tmp_path))


# ---------------------------------------------------------------------------------------------------- other shards


def test_a_shard_is_opened_again_where_its_descriptor_has_died(tmp_path, samples):
    shards = written(tmp_path, samples[:5])
    whole = shards.read(0)
    os.close(shards._descriptors[0])
    assert shards.read(0) == whole


def test_a_shard_that_is_gone_is_waited_for_once(tmp_path, samples, monkeypatch):
    shards, waited = written(tmp_path, samples[:5]), []
    (tmp_path / "train" / "00000.tar").unlink()
    monkeypatch.setattr("t2igan.data.shards.time.sleep", waited.append)
    for number in range(5):
        with pytest.raises(OSError, match="No such file"):
            shards.read(number)
    assert len(waited) == 1


def test_captions_that_a_system_cannot_take_make_broken_samples(tmp_path, samples):
    def check(caption):
        if "1" in caption:
            raise ValueError(f"no class {caption}")

    written(tmp_path, samples[:5])
    shards = Shards(str(tmp_path / "train"), check_caption=check)
    found = [len(shards.captions(number)) for number in (0, 2)]
    assert found == [len(samples[0].captions), len(samples[2].captions)]
    with pytest.raises(ValueError, match="no class"):
        shards.read(1)


def test_shards_that_a_pattern_names_but_are_not_there_are_warned_about(shards):
    with pytest.warns(UserWarning, match=r"2 of the 5 shards .* are missing"):
        assert len(find_shards(str(shards / "{00000..00004}.tar"))) == 3


def test_samples_without_captions_are_read_for_systems_without_text(samples, tmp_path):
    write_shards([replace(sample, captions=[""]) for sample in samples], tmp_path / "train")
    with pytest.raises(ValueError, match="has no caption"):
        Shards(str(tmp_path / "train")).read(0)
    shards = Shards(str(tmp_path / "train"), captioned=False)
    assert shards.read(0).captions == [""] and shards.primary_captions() == [""]


def test_the_caption_of_img2dataset_may_be_in_its_json_alone(tmp_path, png):
    meta = {"url": "http://x", "caption": "a cat", "key": "0"}
    plain_tar(tmp_path / "x.tar", [("0.jpg", png("red")), ("0.json", json.dumps(meta).encode())])
    assert Shards(str(tmp_path)).read(0).captions == ["a cat"]


@pytest.mark.parametrize(
    "members, reason",
    [
        ([("0.txt", "a café".encode("latin-1"))], r"its \.txt is not UTF-8 text \(byte 5\)"),
        ([("0.json", b'{"captions": ["a \\ud83d"]}')], "half a character"),
        ([("0.json", b'{"captions": ["a", {"b": 1}]}')], "a caption that is no text"),
        ([("0.json", b"[" * 100_000)], "nested too deeply"),
        ([("0.json", b"{half")], "is not JSON"),
    ],
)
def test_text_that_is_none_breaks_its_sample(tmp_path, png, members, reason):
    plain_tar(tmp_path / "x.tar", [("0.png", png("red")), *members])
    with pytest.raises(ValueError, match=reason):
        Shards(str(tmp_path)).read(0)
    assert check_shards([tmp_path / "x.tar"]).report()["undecodable"] == 1


def test_utf_16_is_read_and_invisible_captions_are_none(tmp_path, png):
    meta = json.dumps({"captions": ["\u200b", "b"]}).encode()
    members = [("0.png", png("red")), ("0.txt", "un café".encode("utf-16")), ("1.png", png("red")), ("1.json", meta)]
    plain_tar(tmp_path / "x.tar", members)
    shards = Shards(str(tmp_path))
    assert [shards.read(number).captions for number in (0, 1)] == [["un café"], ["b"]]


def test_images_that_no_reader_takes_are_told(tmp_path, png):
    names = ("s0.input.jpg", "IMG_2020.01.02.jpg", "good.jpg")
    members = [(name, png("red")) for name in names] + [("good.txt", b"a"), ("good.cls", b"1"), ("alone.txt", b"b")]
    plain_tar(tmp_path / "x.tar", members)
    with pytest.warns(UserWarning, match=r"2 images of .* are not read: a name ends at its first dot, and \.input\.jpg is no ending"):
        assert len(Shards(str(tmp_path))) == 1
    passed_over = check_shards([tmp_path / "x.tar"]).report()["passed_over"]
    assert passed_over == {".input.jpg": 1, ".01.02.jpg": 1, ".cls": 1, "samples without an image": 1}
