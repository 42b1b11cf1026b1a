"""The order of samples, a pure function."""

import numpy as np
import pytest

from t2igan.data.order import CaptionGroups, hashed, mix, shuffled


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("seed", [0, 12345])
def test_every_epoch_is_a_permutation(size, seed):
    for epoch in range(3):
        assert sorted(shuffled(np.arange(epoch * size, (epoch + 1) * size), size, seed)) == list(range(size))


def test_epochs_and_seeds_differ():
    epochs = [tuple(shuffled(np.arange(epoch * 1000, (epoch + 1) * 1000), 1000, seed)) for seed in (0, 1) for epoch in range(4)]
    assert len(set(epochs)) == 8
    agreement = np.mean(np.array(epochs[0]) == np.array(epochs[1]))
    assert agreement < 0.02


def test_any_position_alone_gives_what_it_gives_in_a_run():
    run = shuffled(np.arange(5000), 77, seed=3)
    picks = [4999, 0, 76, 77, 2500]
    assert list(shuffled(np.array(picks), 77, seed=3)) == list(run[picks])
    assert np.array_equal(shuffled(np.arange(5000), 77, seed=3), run)


def test_the_order_of_a_known_seed_never_changes():
    """Resuming with a newer version of the library must read the same pictures."""
    assert shuffled(np.arange(12), 10, seed=7).tolist() == [5, 0, 9, 2, 4, 8, 7, 1, 3, 6, 9, 2]


def test_neighbours_are_spread():
    """A shuffle in name only would keep neighbours together."""
    order = shuffled(np.arange(1000), 1000, seed=0)
    assert np.mean(np.abs(np.diff(order)) == 1) < 0.01
    assert abs(np.corrcoef(np.arange(1000), order)[0, 1]) < 0.1


def test_hashes_are_uniform_and_depend_on_every_argument():
    values = hashed(5, np.arange(40_000), 1)
    assert len(np.unique(values)) == 40_000
    counts = np.bincount((values % np.uint64(16)).astype(int), minlength=16)
    assert ((counts - 2500) ** 2 / 2500).sum() < 37.7  # 15 degrees of freedom, one in a thousand
    for other in (hashed(6, 1, 2), hashed(5, 2, 1), hashed(5, 1, 3), hashed(5, 1), hashed(5, 1, 2, 0)):
        assert other != hashed(5, 1, 2)


def test_mix_is_splitmix64s_finaliser():
    """The first output of splitmix64 with seed 0 (Vigna's reference): mix of the golden gamma."""
    assert int(mix(np.uint64(0x9E3779B97F4A7C15))) == 0xE220A8397B1DCDAF


CAPTIONS = np.array([*(0,) * 9, *(1,) * 4, *(2,) * 2, *range(3, 11)])  # 23 samples: 12 in three whole groups of 4


def test_groups_show_images_of_one_caption_and_an_epoch_each_image_at_most_once():
    order, mixed = CaptionGroups(CAPTIONS, 4, seed=5), 0
    for epoch in range(5):
        numbers = order(np.arange(20 * epoch, 20 * (epoch + 1)))
        assert len(set(numbers.tolist())) == 20
        groups = [tuple(group) for group in CAPTIONS[numbers].reshape(-1, 4).tolist()]
        assert groups.count((0,) * 4) == 2 and groups.count((1,) * 4) == 1
        mixed += groups != sorted(groups, key=lambda group: len(set(group)))
    assert mixed > 2, "the others come between whole groups"


def test_groups_of_another_epoch_have_other_members_and_any_image_comes():
    order = CaptionGroups(CAPTIONS, 4, seed=5)
    epochs = [{tuple(sorted(group)) for group in order(np.arange(20 * e, 20 * (e + 1))).reshape(-1, 4).tolist()} for e in range(20)]
    assert len({frozenset(epoch) for epoch in epochs}) == 20
    assert {number for epoch in epochs for group in epoch for number in group} == set(range(23))


def test_groups_are_a_function_of_position_alone():
    run = CaptionGroups(CAPTIONS, 4, seed=5)(np.arange(200))
    picks = np.array([199, 0, 20, 19, 77, 21])
    assert CaptionGroups(CAPTIONS, 4, seed=5)(picks).tolist() == run[picks].tolist()
    assert CaptionGroups(CAPTIONS, 4, seed=6)(np.arange(200)).tolist() != run.tolist()
