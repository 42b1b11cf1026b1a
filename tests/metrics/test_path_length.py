"""Path length where the way is known: a generator that is a straight line, and one that bends."""

import pytest
import torch
from torch import nn

from t2igan.metrics.path_length import LatentPaths, path_lengths, slerp, trimmed
from t2igan.style.base import StyleNetwork
from t2igan.synthesis.base import SynthesisNetwork
from t2igan.synthesis.generator import Generator
from t2igan.types import ImagePyramid

SIDE, Z = 4, 6


class Straight(StyleNetwork):
    """w is z."""

    def __init__(self):
        super().__init__(z_dim=Z, style_dim=Z)

    def map(self, z, text):
        return z


class Linear(SynthesisNetwork):
    """Images that are a matrix times w, or the square of that."""

    def __init__(self, power: int):
        super().__init__(num_styles=2, style_dim=Z)
        self.power = power
        self.matrix = nn.Parameter(torch.randn(3 * SIDE * SIDE, Z, dtype=torch.float64))

    def forward(self, styles, text, condition=None, draws=None, stage=None):
        assert torch.equal(styles[:, 0], styles[:, 1])
        return ImagePyramid(((styles[:, 0] @ self.matrix.T).pow(self.power).unflatten(1, (3, SIDE, SIDE)),))


def squared(a, b):
    return (a - b).square().flatten(1).sum(1)


@pytest.mark.parametrize("power", [1, 2])
def test_it_is_the_squared_derivative_along_the_line(power, descriptors):
    synthesis = Linear(power)
    z, at = torch.randn(5, 2, Z, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    got = path_lengths(LatentPaths(Generator(None, Straight(), synthesis), descriptors([3] * 5), z), squared, at)
    step, place = z[:, 1] - z[:, 0], torch.lerp(z[:, 0], z[:, 1], at[:, None])
    derivative = (step @ synthesis.matrix.T) * (power * (place @ synthesis.matrix.T).pow(power - 1))
    assert torch.allclose(got, derivative.square().sum(1), rtol=1e-2)
    if power == 1:
        assert torch.allclose(got, derivative.square().sum(1), rtol=1e-8)


def test_between_latents_it_follows_the_arc(descriptors):
    synthesis = Linear(1)
    z, at = torch.randn(5, 2, Z, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    paths = LatentPaths(Generator(None, Straight(), synthesis), descriptors([3] * 5), z, "z")
    step = 1e-7
    speed = (slerp(z[:, 0], z[:, 1], at + step) - slerp(z[:, 0], z[:, 1], at - step)) / (2 * step)
    assert torch.allclose(path_lengths(paths, squared, at), (speed @ synthesis.matrix.T).square().sum(1), rtol=1e-2)


def test_slerp_goes_at_one_speed_around_the_origin():
    a, b = torch.tensor([[2.0, 0, 0]]), torch.tensor([[0.0, 2, 0]])
    for at in (0.0, 0.25, 1.0):
        angle = torch.tensor(at * torch.pi / 2)
        assert torch.allclose(slerp(a, b, torch.tensor([at])), 2 * torch.tensor([[angle.cos(), angle.sin(), 0]]), atol=1e-6)
    longer = slerp(a, 3 * b, torch.tensor([0.5]))
    assert torch.allclose(longer.norm(), torch.tensor(4.0)), "halfway between 2 and 6"
    assert torch.equal(slerp(a, a, torch.tensor([0.3])), a), "where both are one, it stays"


def test_the_ends_are_trimmed():
    """Of a thousand nine at either end: the release takes the percentiles' outer neighbours, and keeps what equals them."""
    lengths = torch.arange(1000.0)[torch.randperm(1000)]
    assert trimmed(lengths).sort().values.tolist() == list(range(9, 991))
    assert trimmed(lengths[:100]).numel() == 100
