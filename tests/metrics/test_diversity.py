"""Spread and coverage with known answers."""

import pytest
import torch

from t2igan.metrics.diversity import coverage, nearest, spread


def test_spread_of_known_triangles():
    equilateral = torch.tensor([[0.0, 0], [1, 0], [0.5, 0.75**0.5]])
    line = torch.tensor([[0.0, 0], [3, 0], [6, 0]])  # distances 3, 3, 6
    assert spread(equilateral[None]) == pytest.approx(1, rel=1e-5)
    assert spread(torch.stack([equilateral, line])) == pytest.approx((1 + 4) / 2, rel=1e-5)
    assert spread(torch.ones(2, 5, 4)) == pytest.approx(0, abs=1e-3)


def test_spread_does_not_grow_with_the_number_of_images():
    few, many = torch.randn(50, 4, 16), torch.randn(50, 16, 16)
    assert spread(few) == pytest.approx(spread(many), rel=0.03)


REAL = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])


def test_coverage_counts_the_real_images_that_are_somebodys_nearest():
    wobble = REAL[:1] + 0.5 * torch.rand(8, 2)
    two, all_four = torch.cat([REAL[:2], REAL[:2] + 1]), REAL[[3, 2, 1, 0]] + 1
    assert coverage(wobble[None], [REAL]) == 0.25
    assert coverage(two[None], [REAL]) == 0.5
    assert coverage(torch.stack([two, all_four]), [REAL, REAL]) == 0.75


def test_prompts_may_have_different_numbers_of_real_images():
    generated = torch.stack([REAL[:2], REAL[:2]])
    assert coverage(generated, [REAL, REAL[:2]]) == pytest.approx((0.5 + 1.0) / 2)


def test_nearest():
    distance, index = nearest(torch.tensor([[0.0, 1.0], [9.0, 9.0]]), REAL)
    assert index.tolist() == [0, 3]
    assert distance.tolist() == pytest.approx([1, 2**0.5], rel=1e-4)
