"""In which manner each picture of a name is drawn, and the latents that follow."""

from dataclasses import replace

import pytest
import torch

from t2igan.data.shards import Shards
from t2igan.data.write import write_shards
from t2igan.errors import UserError
from t2igan.style.mapping import latent_mode
from t2igan.training.clusters import OPEN, Drawings, k_means, place_modes, read_drawings, sort_drawings
from t2igan.types import Batch

pytest_plugins = ["kit"]
NAMES = 40


@pytest.fixture
def two_hands():
    """(features, captions, hand): 40 things far apart, each drawn by two hands that differ the same way, and one thing drawn once."""
    things, stroke = torch.randn(NAMES + 1, 12) * 10, torch.randn(12)
    hand = torch.tensor([0, 1] * NAMES + [0])
    thing = torch.arange(NAMES + 1).repeat_interleave(2)[:-1]
    features = things[thing] + hand[:, None] * stroke + 0.1 * torch.randn(len(hand), 12)
    captions = [[f"thing {t}", f"thing {t} by hand {h}"] for t, h in zip(thing.tolist(), hand.tolist(), strict=True)]
    return features, captions, hand


def test_the_hand_is_found_although_things_differ_more(two_hands):
    features, captions, hand = two_hands
    modes = torch.tensor(sort_drawings(features, captions, 2).modes)
    same = modes[:-1] == hand[:-1]
    assert same.all() or not same.any()
    assert modes[-1] == OPEN, "the only picture of its name"


def test_a_caption_is_ambiguous_when_it_fits_pictures_of_several_modes(two_hands):
    features, captions, _ = two_hands
    assert sort_drawings(features, captions, 2).ambiguous == {f"thing {t}" for t in range(NAMES)}


def test_too_few_pictures_are_refused(two_hands):
    features, captions, _ = two_hands
    with pytest.raises(ValueError, match="2 pictures share a name with another one, too few to sort into 3 modes"):
        sort_drawings(features[[0, 1, 2]], [captions[i] for i in (0, 1, 2)], 3)


def test_k_means_finds_separate_clouds_whatever_their_order():
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    truth = torch.arange(4).repeat(25)[torch.randperm(100)]
    found = k_means(centres[truth] + torch.randn(100, 2), 4)
    assert all(len(found[truth == j].unique()) == 1 for j in range(4)) and len(found.unique()) == 4
    assert torch.equal(k_means(centres[truth], 4), k_means(centres[truth], 4))


def test_a_batch_is_told_its_drawings_where_its_captions_leave_them_open():
    drawings = Drawings((0, 1, OPEN, 1), frozenset({"a", "c"}))
    batch = Batch(torch.zeros(5, 3, 2, 2), ["a", "a", "c", "a by hand", "a"], ["a"] * 5, [0, 1, 2, 3, 3])
    assert drawings.of(batch).tolist() == [1, 2, 0, 0, 2]


def test_latents_take_the_wanted_mode_and_no_other_number():
    z, drawing = torch.randn(9000, 8), torch.randint(0, 4, (9000,))
    placed = place_modes(z, drawing, 3)
    assert torch.equal(latent_mode(placed, 3)[drawing > 0] + 1, drawing[drawing > 0])
    assert torch.equal(placed[drawing == 0], z[drawing == 0])
    assert torch.equal(placed.sort(1).values, z.sort(1).values) and torch.equal(placed[:, 3:], z[:, 3:])


def test_latents_of_evenly_drawn_modes_stay_normal():
    """So what sampling draws is what training saw."""
    placed = place_modes(torch.randn(40_000, 5), torch.randint(1, 4, (40_000,)), 3)
    assert placed.mean(0).abs().max() < 0.02 and (torch.cov(placed.T) - torch.eye(5)).abs().max() < 0.03


def test_shards_are_sorted_and_broken_pictures_left_open(kit, samples, tmp_path):
    broken = [replace(sample, image=b"no picture") if i == 4 else sample for i, sample in enumerate(samples)]
    write_shards(broken, tmp_path / "train")
    found = read_drawings(Shards(str(tmp_path / "train")), 16, f"local-dir:{kit.clip}", 2, "cpu")
    assert len(found.modes) == len(samples) and found.modes[4] == OPEN
    assert set(found.modes) == {OPEN, 0, 1} and found.ambiguous <= {f"thing {i}" for i in range(8)}
    assert found == read_drawings(Shards(str(tmp_path / "train")), 16, f"local-dir:{kit.clip}", 2, "cpu")


def test_shards_without_two_pictures_of_a_name_are_refused(kit, samples, tmp_path):
    write_shards(samples[::3], tmp_path / "train")
    with pytest.raises(UserError, match=r"training\.drawings: 0 pictures share a name"):
        read_drawings(Shards(str(tmp_path / "train")), 16, f"local-dir:{kit.clip}", 2, "cpu")
