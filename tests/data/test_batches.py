"""Samples to batches: the same images whatever the ranks, workers and restarts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from t2igan.data import shards as shards_module
from t2igan.data.batches import PairedBatches, TrainingBatches, batches
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError


def same(a, b) -> bool:
    """Whether two batches are equal in everything."""
    tensors = torch.equal(a.images, b.images) and torch.equal(a.positions, b.positions)
    return tensors and replace(a, images=b.images, positions=b.positions) == b


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


# ---------------------------------------------------------------------------------------------------- images of one caption


@pytest.fixture
def roses(tmp_path, png):
    """Six roses, each with a caption that names its style and some with a third one, and four other things."""
    names = [
        *(("rose", f"rose, style {i}", "flower")[: 2 + i % 2] for i in range(6)),
        *((f"thing {i}", f"thing {i}, style 0") for i in range(4)),
    ]
    samples = [Sample(f"{i:02}", png(np.full((16, 16, 3), 20 * i, np.uint8)), list(captions)) for i, captions in enumerate(names)]
    write_shards(samples, tmp_path / "roses")
    return Shards(str(tmp_path / "roses"))


def test_images_of_one_caption_follow_one_another_and_half_of_the_groups_show_it(roses):
    data, shown = TrainingBatches(roses, 16, 4, seed=0, images_per_caption=2), []
    for position in range(0, 400, 4):
        batch = data[position]
        for first in (0, 2):
            primary, captions = batch.primary_captions[first : first + 2], batch.captions[first : first + 2]
            assert (primary[0] == "rose") == (primary[1] == "rose")
            assert batch.sample_ids[first] != batch.sample_ids[first + 1]
            shown.append(captions == primary)
    assert 0.5 < np.mean(shown) < 0.75  # half by the group's coin, some more by chance


def test_ranks_share_groups_as_one_process_makes_them(roses):
    options = {"caption_dropout": 0.3, "images_per_caption": 2}
    alone = TrainingBatches(roses, 16, 8, seed=4, **options)
    ranks = [TrainingBatches(roses, 16, 8, seed=4, rank=rank, world=2, **options) for rank in (0, 1)]
    for position in range(0, 48, 8):
        whole, parts = alone[position], [rank[position] for rank in ranks]
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        for name in ("captions", "primary_captions", "sample_ids"):
            assert getattr(parts[0], name) + getattr(parts[1], name) == getattr(whole, name)
        dropped = [caption == "" for caption in whole.captions]
        assert dropped[::2] == dropped[1::2], "a group is left without captions as a whole"


def test_groups_resume_at_a_position(roses):
    options = {"seed": 0, "images_per_caption": 2}
    uninterrupted = list(batches(TrainingBatches(roses, 16, 4, **options), range(0, 32, 4)))
    resumed = list(batches(TrainingBatches(roses, 16, 4, **options), range(20, 32, 4), workers=2))
    assert all(same(a, b) for a, b in zip(uninterrupted[5:], resumed, strict=True))


def test_a_broken_sample_does_not_keep_groups_from_being_made(roses, monkeypatch):
    read = roses.captions

    def broken(number):
        if number == 0:
            raise ValueError("it has no caption")
        return read(number)

    monkeypatch.setattr(roses, "captions", broken)
    assert roses.caption_numbers.tolist() == [0, *[1] * 5, 2, 3, 4, 5]


def test_groups_that_the_shards_cannot_give_are_refused(roses, monkeypatch):
    with pytest.raises(UserError, match=r"data\.images_per_caption is 11, the shards hold 10 images"):
        TrainingBatches(roses, 16, 22, seed=0, images_per_caption=11)
    monkeypatch.setattr(shards_module, "MAX_GROUPED", 9)
    with pytest.raises(UserError, match=r"data\.images_per_caption reads every caption, of at most 9 images; here are 10"):
        TrainingBatches(roses, 16, 4, seed=0, images_per_caption=2)
