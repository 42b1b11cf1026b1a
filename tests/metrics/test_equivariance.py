"""Moving and turning images of waves, which are known at every place."""

import math

import pytest
import torch

from t2igan.metrics.equivariance import decibels, limited, rotation, shifted, turned

SIDE = 48
MIDDLE = (SIDE - 1) / 2


def waves(x, y):
    """Ten waves of at least eight pixels."""
    random = torch.Generator().manual_seed(1)
    total = torch.zeros_like(x)
    for _ in range(10):
        across, down, phase = torch.rand(3, generator=random)
        total = total + torch.sin(2 * math.pi * ((across - 0.5) / 5 * x + (down - 0.5) / 5 * y + phase))
    return (total / 6).expand(1, 3, -1, -1)


@pytest.fixture
def place():
    y, x = torch.meshgrid(torch.arange(SIDE, dtype=torch.float64), torch.arange(SIDE, dtype=torch.float64), indexing="ij")
    return x, y


@pytest.mark.parametrize("across", [0.0, 3.0, -2.0, 2.3, -0.7])
@pytest.mark.parametrize("down", [0.0, -4.0, 1.6])
def test_a_shift_moves_to_the_right_and_down(across, down, place):
    x, y = place
    found, known = shifted(waves(x, y), across, down)
    error = ((found - waves(x - across, y - down)).abs() * known).max()
    assert error < (1e-12 if across % 1 == down % 1 == 0 else 0.01)
    lost = [(math.floor(abs(amount)), math.ceil(abs(amount)) + (6 if amount % 1 else 0)) for amount in (across, down)]
    least, most = (math.prod(1 - lines[i] / SIDE for lines in lost) for i in (1, 0))
    assert least <= float(known.mean()) + 1e-9 and float(known.mean()) <= most + 1e-9, "what came around the border is not compared"


@pytest.mark.parametrize("angle", [0.7, -2.1, math.pi / 2])
def test_a_turn_goes_around_the_middle(angle, place):
    x, y = (p - MIDDLE for p in place)
    source = torch.stack([x, y], 2) @ rotation(-angle).T
    expected = waves(*(source[..., i] + MIDDLE for i in (0, 1)))
    found, known = turned(waves(*place), angle)
    assert ((found - expected).abs() * known).max() < 0.01 and known.mean() > 0.3
    same, inside = limited(expected, angle)
    assert ((same - expected).abs() * inside).max() < 0.002, "low frequencies pass"
    assert ((same - found).abs() * known * inside).max() < 0.01


def test_both_sides_lack_the_same_frequencies(place):
    """Of noise, a turn loses what the turned grid cannot hold: the corners of its spectrum, about a sixth at 45 degrees."""
    noise = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64)
    (turned_noise, known), (kept, inside) = turned(noise, math.pi / 4), limited(noise, math.pi / 4)
    shares = [float((x * m).square().sum() / m.sum() / noise.square().mean() / 3) for x, m in ((turned_noise, known), (kept, inside))]
    assert 0.6 < shares[1] < 0.95 and shares[0] == pytest.approx(shares[1], abs=0.15)


def test_decibels_are_of_the_peak():
    assert decibels(4.0, 1.0) == 0 and decibels(0.04, 1.0) == pytest.approx(20) and decibels(0.0, 5.0) == math.inf
