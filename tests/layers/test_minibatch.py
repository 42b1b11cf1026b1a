"""The minibatch standard deviation."""

import pytest
import torch

from t2igan.layers.minibatch import MinibatchStd


def test_equals_a_loop_over_groups():
    x = torch.randn(8, 5, 4, 4, dtype=torch.float64)
    y = MinibatchStd(4)(x)
    assert y.shape == (8, 6, 4, 4)
    assert torch.equal(y[:, :5], x)
    for first in (0, 4):
        expected = x[first : first + 4].std(0, unbiased=False).mean()
        assert (y[first : first + 4, 5] - expected).abs().max() < 1e-7


def test_groups_do_not_see_each_other():
    x = torch.randn(8, 5, 4, 4)
    before = MinibatchStd(4)(x)
    x[4:] *= 9
    assert torch.equal(MinibatchStd(4)(x)[:4], before[:4])


@pytest.mark.parametrize("pictures", [3, 6])
def test_a_batch_that_does_not_divide_is_one_group(pictures):
    x = torch.randn(pictures, 2, 4, 4, dtype=torch.float64)
    assert (MinibatchStd(4)(x)[:, 2] - x.std(0, unbiased=False).mean()).abs().max() < 1e-7


def test_equal_pictures_have_no_spread_and_finite_gradients():
    x = torch.randn(1, 2, 4, 4).repeat(4, 1, 1, 1).requires_grad_()
    y = MinibatchStd(4)(x)[:, 2]
    y.sum().backward()
    assert y.abs().max() < 1e-3
    assert torch.isfinite(x.grad).all()
