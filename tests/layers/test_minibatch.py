"""The minibatch standard deviation."""

import pytest
import torch

from t2igan.layers.minibatch import EPS, MinibatchStd


def by_loops(x, group, sets):
    """The value of each image's map: image i of group m of a set is the set's image m + i * n / G."""
    per_set = len(x) // sets
    groups = per_set // group
    values = torch.zeros(len(x), dtype=x.dtype)
    for first in range(0, len(x), per_set):
        for m in range(groups):
            members = [first + m + i * groups for i in range(group)]
            values[members] = (x[members].var(0, unbiased=False) + EPS).sqrt().mean()
    return values


@pytest.mark.parametrize(("images", "group", "sets"), [(8, 4, 1), (8, 2, 1), (12, 4, 1), (8, 4, 2), (16, 4, 2), (24, 2, 3), (8, 1, 2)])
def test_equals_a_loop_over_sets_and_strided_groups(images, group, sets):
    x = torch.randn(images, 5, 4, 4, dtype=torch.float64)
    y = MinibatchStd(group)(x, sets)
    assert y.shape == (images, 6, 4, 4)
    assert torch.equal(y[:, :5], x)
    assert (y[:, 5] - by_loops(x, group, sets)[:, None, None]).abs().max() < 1e-12


def test_the_releases_values_of_a_sine():
    """Groups of 4 in 8 images: the releases put every second image in a group, so the two values alternate."""
    x = torch.sin(0.37 * torch.arange(8 * 2 * 2 * 2, dtype=torch.float64)).view(8, 2, 2, 2)
    values = MinibatchStd(4)(x)[:, 2]
    assert torch.equal(values, values[:, :1, :1].expand(8, 2, 2)), "one value per image"
    assert values[:, 0, 0].tolist() == pytest.approx([0.255411, 0.25856] * 4, abs=1e-6)


def test_without_strides_neighbours_are_a_group():
    x = torch.randn(8, 5, 4, 4, dtype=torch.float64)
    y = MinibatchStd(4, strided=False)(x, 1)[:, 5, 0, 0]
    expected = [(group.var(0, unbiased=False) + EPS).sqrt().mean().item() for group in x.split(4)]
    assert y.tolist() == pytest.approx([expected[0]] * 4 + [expected[1]] * 4, abs=1e-12)
    two_sets = MinibatchStd(4, strided=False)(torch.cat([x, 3 * x]), 2)[:, 5, 0, 0]
    assert two_sets[8:].tolist() == pytest.approx((3 * y).tolist(), rel=1e-6)


@pytest.mark.parametrize(("changed", "same"), [([1, 3, 5, 7], [0, 2, 4, 6]), ([0], [1, 3, 5, 7])])
def test_groups_do_not_reach_one_another(changed, same):
    x = torch.randn(8, 5, 4, 4)
    before = MinibatchStd(4)(x)[:, 5]
    x[changed] *= 9
    after = MinibatchStd(4)(x)[:, 5]
    assert torch.equal(after[same], before[same])
    assert (after[changed] > 1.5 * before[changed]).all()


@pytest.mark.parametrize("group", [2, 4, 3])  # 3 does not divide a set: then a set is one group
def test_sets_never_share_a_group(group):
    real, fake = torch.randn(4, 5, 4, 4), 3 * torch.randn(4, 5, 4, 4)
    together = MinibatchStd(group)(torch.cat([real, fake]), sets=2)
    for half, alone in zip(together.chunk(2), (real, fake), strict=True):
        assert torch.equal(half, MinibatchStd(group)(alone))
    assert not torch.allclose(MinibatchStd(group)(torch.cat([real, fake]))[:, 5], together[:, 5]), "as one set they would share groups"


@pytest.mark.parametrize("images", [3, 6])
def test_a_set_that_does_not_divide_is_one_group(images):
    x = torch.randn(images, 2, 4, 4, dtype=torch.float64)
    assert (MinibatchStd(4)(x)[:, 2] - x.std(0, unbiased=False).mean()).abs().max() < 1e-7


def test_equal_images_have_no_deviation_and_finite_gradients():
    x = torch.randn(1, 2, 4, 4).repeat(4, 1, 1, 1).requires_grad_()
    y = MinibatchStd(4)(x)[:, 2]
    y.sum().backward()
    assert y.abs().max() < 1e-3
    assert torch.isfinite(x.grad).all()
