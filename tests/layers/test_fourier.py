"""The waves that alias-free networks start from, against a version written wave by wave."""

import math

import pytest
import torch

from t2igan.layers.fourier import FourierInput


@pytest.fixture
def layer(randomised):
    torch.manual_seed(1)
    return randomised(FourierInput(style_dim=5, channels=6, size=12, rate=8, bandwidth=2.0)).double()


def reference(layer: FourierInput, style) -> torch.Tensor:
    """One style to a map, wave by wave and pixel by pixel."""
    t = (layer.affine.weight @ style / math.sqrt(5) + layer.affine.bias).tolist()
    r = math.hypot(t[0], t[1])
    c, s, tx, ty = (v / r for v in t)
    rotation = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    shift = torch.tensor([[1, 0, -tx], [0, 1, -ty], [0, 0, 1]], dtype=torch.float64)
    m = (rotation @ shift @ layer.transform).tolist()
    waves = torch.empty(6, 12, 12, dtype=torch.float64)
    for k in range(6):
        fx, fy = layer.frequencies[k].tolist()
        phase = float(layer.phases[k]) + fx * m[0][2] + fy * m[1][2]
        gx, gy = fx * m[0][0] + fy * m[1][0], fx * m[0][1] + fy * m[1][1]
        amplitude = min(max(1 - (math.hypot(gx, gy) - 2) / (4 - 2), 0), 1)
        for i in range(12):
            for j in range(12):
                x, y = ((2 * p + 1) / 12 - 1 for p in (j, i))
                waves[k, i, j] = amplitude * math.sin(2 * math.pi * (gx * x * 0.75 + gy * y * 0.75 + phase))
    return torch.einsum("oc,cij->oij", layer.weight / math.sqrt(6), waves)


def test_it_equals_one_written_wave_by_wave(layer):
    styles = torch.randn(2, 5, dtype=torch.float64)
    layer.transform.copy_(torch.tensor([[0.8, -0.6, 0.1], [0.6, 0.8, -0.2], [0, 0, 1]]))
    for found, style in zip(layer(styles), styles, strict=True):
        assert torch.allclose(found.double(), reference(layer, style), atol=1e-5)


def test_frequencies_are_below_the_bandwidth_and_a_new_layer_ignores_the_style():
    fresh = FourierInput(style_dim=5, channels=500, size=12, rate=8, bandwidth=2.0)
    assert fresh.frequencies.norm(dim=1).max() <= 2 and fresh.phases.abs().max() <= 0.5
    one, other = fresh(torch.randn(2, 5))
    assert torch.allclose(one, other, atol=1e-5)
    assert 0.3 < one.std() < 1.2


def test_a_translated_transform_moves_the_waves():
    layer = FourierInput(style_dim=5, channels=6, size=12, rate=8, bandwidth=2.0)
    style = torch.randn(1, 5)
    still = layer(style)
    layer.transform[:2, 2] = torch.tensor([-2 / 8, 1 / 8])
    assert torch.allclose(layer(style)[:, :, :-1, 2:], still[:, :, 1:, :-2], atol=1e-5), "two pixels to the right and one up"
