"""Shards to batches: the same images whatever the ranks, workers, restarts and broken samples."""

import gc
import io
import json
import multiprocessing
import os
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2igan.data.check import check_shards
from t2igan.data.index import BrokenShard
from t2igan.data.shards import PairedBatches, Shards, TrainingBatches, batches, find_shards
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError


def same(a, b) -> bool:
    """Whether two batches are equal in everything."""
    tensors = torch.equal(a.images, b.images) and torch.equal(a.positions, b.positions)
    return tensors and replace(a, images=b.images, positions=b.positions) == b


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


# ---------------------------------------------------------------------------------------------------- the order


def test_two_ranks_together_read_exactly_what_one_reads(shards):
    read = Shards(str(shards))
    alone = TrainingBatches(read, 16, 8, seed=4)
    ranks = [TrainingBatches(read, 16, 8, seed=4, rank=rank, world=2) for rank in (0, 1)]
    for position in range(0, 48, 8):
        parts = [rank[position] for rank in ranks]
        assert [len(part) for part in parts] == [4, 4]
        assert torch.equal(torch.cat([part.images for part in parts]), alone[position].images)
        assert parts[0].captions + parts[1].captions == alone[position].captions
        assert torch.cat([part.positions for part in parts]).tolist() == list(range(position, position + 8))
        assert parts[0].primary_captions + parts[1].primary_captions == alone[position].primary_captions
        after = [[caption.text for caption in part.following] for part in parts]
        assert after == [parts[1].captions, parts[0].captions] and list(alone[position].following) == []


def test_an_epoch_shows_every_image_once(shards, samples):
    """23 images in batches of 4: 23 steps are four epochs."""
    dataset = TrainingBatches(Shards(str(shards)), 16, 4, seed=0)
    seen = [name for position in range(0, 92, 4) for name in dataset[position].primary_captions]
    for epoch in range(4):
        assert sorted(seen[23 * epoch : 23 * (epoch + 1)]) == sorted(sample.captions[0] for sample in samples)
    assert seen[:23] != seen[23:46]


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_at_a_position_equals_going_on(workers, shards):
    uninterrupted = list(batches(TrainingBatches(Shards(str(shards)), 16, 4, seed=0), range(0, 32, 4)))
    resumed = list(batches(TrainingBatches(Shards(str(shards)), 16, 4, seed=0), range(20, 32, 4), workers))
    assert len(uninterrupted) == 8 and len(resumed) == 3
    assert all(same(a, b) for a, b in zip(uninterrupted[5:], resumed, strict=True))


def test_other_seeds_give_another_order_and_captions_vary(shards, samples):
    read = Shards(str(shards))
    assert TrainingBatches(read, 16, 8, seed=0)[0].primary_captions != TrainingBatches(read, 16, 8, seed=1)[0].primary_captions
    dataset, drawn = TrainingBatches(read, 16, 23, seed=0), {}
    for position in range(0, 60 * 23, 23):
        batch = dataset[position]
        for image, caption in zip(batch.images, batch.captions, strict=True):
            drawn.setdefault(image.sum().item(), []).append(caption)
    assert len(drawn) == 23
    counts = [[captions.count(caption) for caption in set(captions)] for captions in drawn.values()]
    assert all(len(count) == 3 for count in counts), "each of an image's three captions gets its turn"


def test_a_share_of_the_captions_is_left_out_the_same_on_every_rank(shards):
    read = Shards(str(shards))
    whole, blank = TrainingBatches(read, 16, 8, seed=4), TrainingBatches(read, 16, 8, seed=4, caption_dropout=0.3)
    ranks = [TrainingBatches(read, 16, 8, seed=4, rank=rank, world=2, caption_dropout=0.3) for rank in (0, 1)]
    left_out = []
    for position in range(0, 400, 8):
        captions = blank[position].captions
        assert all(caption in ("", full) for caption, full in zip(captions, whole[position].captions, strict=True))
        assert blank[position].primary_captions == whole[position].primary_captions
        assert captions == ranks[0][position].captions + ranks[1][position].captions
        left_out += [not caption for caption in captions]
    assert 0.22 < sum(left_out) / len(left_out) < 0.38


def test_images_are_decoded_to_the_size_asked_for_in_signed_floats(shards):
    batch = TrainingBatches(Shards(str(shards)), 8, 4, seed=0)[0]
    assert batch.images.shape == (4, 3, 8, 8)
    assert batch.images.dtype == torch.float32
    assert -1 <= batch.images.min() < -0.2 < 0.2 < batch.images.max() <= 1
    assert batch.num_replaced == 0


def test_a_batch_that_cannot_be_shared_equally_is_refused(shards):
    with pytest.raises(UserError, match=r"batch 8 .* 3 processes; make it a multiple of 3"):
        TrainingBatches(Shards(str(shards)), 16, 8, seed=0, world=3)


# ---------------------------------------------------------------------------------------------------- mirrored, paired


def test_every_second_visit_may_be_mirrored_the_same_on_every_rank(shards):
    read = Shards(str(shards))
    plain, mirrored = TrainingBatches(read, 16, 8, seed=4), TrainingBatches(read, 16, 8, seed=4, mirror=True)
    ranks = [TrainingBatches(read, 16, 8, seed=4, rank=rank, world=2, mirror=True) for rank in (0, 1)]
    flipped = []
    for position in range(0, 400, 8):
        a, b = plain[position], mirrored[position]
        assert (a.captions, a.sample_ids) == (b.captions, b.sample_ids)
        assert torch.equal(torch.cat([rank[position].images for rank in ranks]), b.images)
        same, turned = ((a.images == images).flatten(1).all(1) for images in (b.images, b.images.flip(-1)))
        assert (same ^ turned).all()
        flipped += turned.tolist()
    assert 0.42 < sum(flipped) / len(flipped) < 0.58


@pytest.mark.parametrize("workers", [0, 1])
def test_paired_batches_come_as_pairs_in_orders_of_their_own(workers, shards):
    read = Shards(str(shards))
    halves = TrainingBatches(read, 16, 4, seed=0), TrainingBatches(read, 16, 4, seed=0, stream=1)
    pairs = list(batches(PairedBatches(*halves), range(0, 24, 4), workers))
    assert len(pairs) == 6 and all(isinstance(pair, tuple) for pair in pairs)
    for position, pair in zip(range(0, 24, 4), pairs, strict=True):
        assert torch.equal(pair[0].positions, pair[1].positions)
        assert all(same(batch, half[position]) for batch, half in zip(pair, halves, strict=True))
    orders = [[number for pair in pairs for number in pair[half].sample_ids][:23] for half in (0, 1)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == list(range(23))


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


# ---------------------------------------------------------------------------------------------------- the index beside a shard


def test_the_stored_index_is_used_and_a_stale_one_is_not(tmp_path, samples):
    written(tmp_path, samples[:5])
    tar = tmp_path / "train" / "00000.tar"
    index = tmp_path / "train" / "00000.tar.idx.npy"
    np.save(index, np.load(index)[:2])
    assert len(Shards(str(tar))) == 2
    older = tar.stat().st_mtime - 10
    os.utime(index, (older, older))
    assert len(Shards(str(tar))) == 5


def test_an_unreadable_index_is_read_anew(tmp_path, samples):
    written(tmp_path, samples[:5])
    for rubbish in (b"", b"no numpy file", b"\x93NUMPY\x01\x00"):
        (tmp_path / "train" / "00000.tar.idx.npy").write_bytes(rubbish)
        assert len(Shards(str(tmp_path / "train"))) == 5


def test_shards_that_a_pattern_names_but_are_not_there_are_warned_about(shards):
    with pytest.warns(UserWarning, match=r"2 of the 5 shards .* are missing"):
        assert len(find_shards(str(shards / "{00000..00004}.tar"))) == 3


def test_a_tar_cut_inside_its_last_member_is_found_although_its_index_is_newer(tmp_path, samples):
    write_shards(samples[:3], tmp_path / "train")
    tar = tmp_path / "train" / "00000.tar"
    last = int(Shards(str(tmp_path / "train")).index.rows[:, ::2].max())
    tar.write_bytes(tar.read_bytes()[: last + 2])
    os.utime(tar, (0, 0))
    with pytest.raises(UserError, match="cut off"):
        Shards(str(tmp_path / "train"))


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
