"""Nearest-neighbour metrics against brute force in numpy."""

import numpy as np
import pytest
import torch

from t2igan.metrics.manifold import Manifold, manifold, radii


def distances(x, y):
    return np.sqrt(((x[:, None].astype(np.float64) - y[None]) ** 2).sum(-1))


def brute_force(generated: np.ndarray, real: np.ndarray, k: int, dense_k: int) -> Manifold:
    def reach(x, k):
        return np.sort(distances(x, x), axis=1)[:, k]

    across = distances(generated, real)
    dense = across <= reach(real, dense_k)[None]
    return Manifold(
        precision=(across <= reach(real, k)[None]).any(1).mean(),
        recall=(across <= reach(generated, k)[:, None]).any(0).mean(),
        density=dense.sum() / (dense_k * len(generated)),
        coverage=dense.any(0).mean(),
    )


@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0])
def test_all_four_equal_brute_force(shift, monkeypatch):
    monkeypatch.setattr("t2igan.metrics.manifold.BLOCK", 16)
    generated, real = torch.randn(50, 4) + shift, 1.3 * torch.randn(70, 4)
    got, expected = manifold(generated, real), brute_force(generated.numpy(), real.numpy(), 3, 5)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(got, name) == pytest.approx(getattr(expected, name), abs=1e-9), name
    assert shift < 4 or got.precision < 0.1


def test_a_set_covers_itself_and_another_place_is_nowhere():
    x = torch.randn(40, 3)
    same = manifold(x, x)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert same.density == pytest.approx(6 / 5, abs=0.05)  # each image lies in its own ball, and in five others but for ties
    far = manifold(x + 100, x)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_reach_on_a_line():
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert radii(x, 1).tolist() == [1, 1, 2, 4]
    assert radii(x, 2).tolist() == [3, 2, 3, 6]


def test_too_few_images():
    with pytest.raises(ValueError, match="6 images or more, got 5 and 9"):
        manifold(torch.randn(5, 2), torch.randn(9, 2))
