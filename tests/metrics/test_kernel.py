"""Kernel distances against direct loops, and what unbiased means."""

import math

import numpy as np
import pytest
import torch

from t2igan.metrics.kernel import clip_mmd, kernel_inception_distance


def unbiased_cubic(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    n, m = len(a), len(b)
    within_a = sum(kernel(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(kernel(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(kernel(x, y) for x in a for y in b) / (n * m)


def test_one_subset_of_everything_is_the_direct_loop():
    a, b = torch.randn(12, 5), 1.5 * torch.randn(12, 5) + 0.3
    value, deviation = kernel_inception_distance(a, b, subsets=3, size=12)
    assert value == pytest.approx(unbiased_cubic(a.double().numpy(), b.double().numpy()), rel=1e-9)
    assert deviation == pytest.approx(0, abs=1e-12)  # the same twelve, in other orders


def test_equal_distributions_are_at_zero_on_average():
    """Below zero as often as above: the mean over draws is within three of its standard errors of zero; the biased one is not."""
    draws = [kernel_inception_distance(torch.randn(40, 6), torch.randn(40, 6), subsets=1, size=40)[0] for _ in range(200)]
    error = np.std(draws) / math.sqrt(len(draws))
    assert abs(np.mean(draws)) < 3 * error
    assert 0.2 < np.mean(np.array(draws) < 0) < 0.8
    shifted = [kernel_inception_distance(torch.randn(40, 6), torch.randn(40, 6) + 0.5, subsets=1, size=40)[0] for _ in range(20)]
    assert np.mean(shifted) > 10 * error


def test_cmmd_is_the_double_loop():
    a, b = torch.randn(7, 4), torch.randn(9, 4) + 1
    a, b = (torch.nn.functional.normalize(x, dim=1) for x in (a, b))

    def mean(x, y):
        return sum(math.exp(-float((p.double() - q.double()).square().sum()) / 200) for p in x for q in y) / (len(x) * len(y))

    assert clip_mmd(a, b) == pytest.approx(1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b)), rel=1e-9)
    assert clip_mmd(a, a) == pytest.approx(0, abs=1e-9)


def test_cmmd_in_blocks_is_cmmd_whole(monkeypatch):
    a, b = torch.randn(23, 6), torch.randn(17, 6)
    whole = clip_mmd(a, b)
    monkeypatch.setattr("t2igan.metrics.kernel.BLOCK", 5)
    assert clip_mmd(a, b) == pytest.approx(whole, rel=1e-10)
