"""The Fréchet distance of Gaussians whose distance is known."""

import pytest
import torch

from t2igan.metrics.frechet import Moments, frechet_distance


def with_moments(n, mean, covariance) -> torch.Tensor:
    """n samples with exactly this mean and (unbiased) covariance."""
    d = len(mean)
    x = torch.randn(n, d, dtype=torch.float64)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T
    return x @ torch.linalg.cholesky(covariance).T + mean


def random_covariance(d) -> torch.Tensor:
    root = torch.randn(d, d, dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(d, dtype=torch.float64)


def test_diagonal_gaussians_in_closed_form():
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    mean_a, mean_b = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([3.0, 1.0, -2.0]).double()
    expected = (mean_a - mean_b).square().sum() + (a.sqrt() - b.sqrt()).square().sum()  # 25 + 1 + 0 + 4
    got = frechet_distance(with_moments(50, mean_a, a.diag()), with_moments(70, mean_b, b.diag()))
    assert got == pytest.approx(expected.item(), rel=1e-9) == pytest.approx(30, rel=1e-9)


def test_full_covariances_against_the_definition():
    a, b = random_covariance(4), random_covariance(4)
    mean = torch.randn(4, dtype=torch.float64)
    roots = torch.linalg.eigvals(a @ b).sqrt().sum().real
    expected = mean.square().sum() + a.trace() + b.trace() - 2 * roots
    assert frechet_distance(with_moments(30, 0 * mean, a), with_moments(30, mean, b)) == pytest.approx(expected.item(), rel=1e-8)


def test_a_shift_costs_its_squared_length():
    x = torch.randn(100, 6)
    shift = torch.tensor([3.0, 0, 0, -4.0, 0, 0])
    assert frechet_distance(x, x + shift) == pytest.approx(25, rel=1e-4)


def test_a_set_is_at_no_distance_from_itself():
    assert frechet_distance(torch.randn(50, 8), torch.randn(50, 8)) > 0.1
    x = torch.randn(50, 8)
    assert frechet_distance(x, x) < 1e-8
    few = torch.randn(5, 8)  # fewer images than dimensions
    assert 0 <= frechet_distance(few, few) < 1e-6


def test_it_is_symmetric_and_ignores_order():
    a, b = torch.randn(40, 5), 2 * torch.randn(30, 5) + 1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-8)
    assert frechet_distance(a[torch.randperm(40)], b) == pytest.approx(frechet_distance(a, b), rel=1e-8)


def test_one_image_has_no_covariance():
    with pytest.raises(ValueError, match="2 images or more, got 1"):
        frechet_distance(torch.randn(1, 4), torch.randn(9, 4))


def test_moments_add_up_part_by_part_in_any_order():
    x = 5 * torch.randn(60, 4) + 1000  # a mean far from zero, where sums of squares would lose digits
    whole = Moments.of(x)
    parts = [Moments.of(x[a:b]) for a, b in ((0, 1), (1, 30), (30, 33), (33, 60))]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        added = parts[order[0]]
        for i in order[1:]:
            added = added + parts[i]
        assert added.count == 60
        assert torch.allclose(added.mean, whole.mean, rtol=1e-12)
        assert torch.allclose(added.covariance, torch.cov(x.double().T), rtol=1e-9)


def test_the_bias_of_few_images_falls_as_one_over_n():
    """Both sets from one Gaussian: the distance is all bias, and halves when both sets double."""
    bias = {n: sum(frechet_distance(torch.randn(n, 8), torch.randn(n, 8)) for _ in range(40)) / 40 for n in (50, 100, 200)}
    assert 1.7 < bias[50] / bias[100] < 2.5 and 1.7 < bias[100] / bias[200] < 2.4
