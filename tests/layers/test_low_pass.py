"""Filters against the release's taps, and against what they are for: passing low frequencies and stopping high ones."""

import math

import pytest
import torch

from t2igan.layers.low_pass import kaiser_beta, low_pass, radial_low_pass
from t2igan.synthesis.stylegan3 import StyleGAN3SynthesisConfig, layer_table

TABLE = layer_table(StyleGAN3SynthesisConfig(channel_base=16384), 256)


def taps_up(i: int):
    before, after = TABLE[max(i - 1, 0)], TABLE[i]
    inside = 2 * max(before.rate, after.rate)
    return low_pass(6 * inside // before.rate, before.cutoff, 2 * before.half_width, inside)


def taps_down(i: int, design=low_pass):
    before, after = TABLE[max(i - 1, 0)], TABLE[i]
    inside = 2 * max(before.rate, after.rate)
    return design(6 * inside // after.rate, after.cutoff, 2 * after.half_width, inside)


UP_BY_FOUR = [-0.001638, -0.003055, -0.003715, -0.002145, 0.003312, 0.013982, 0.030284, 0.051312, 0.074753, 0.097216, 0.114951, 0.124744]
PUBLISHED = [
    (taps_up, 0, [0.000792, 0.010018, 0.03895, 0.092413, 0.156526, 0.201302]),
    (taps_down, 0, [0.000792, 0.010018, 0.03895, 0.092413, 0.156526, 0.201302]),
    (
        taps_up,
        3,
        [-0.001638, -0.003055, -0.003715, -0.002145, 0.003312, 0.013982, 0.030284, 0.051312, 0.074753, 0.097216, 0.114951, 0.124744],
    ),
    (taps_down, 3, [0.00014, 0.00668, 0.033713, 0.089386, 0.159805, 0.210276]),
    (taps_up, 12, [-0.003731, -0.037152, -0.044154, 0.039028, 0.203708, 0.342301]),
    (taps_down, 12, [0.023374, 0.034449, -0.050881, -0.078615, 0.13961, 0.432062]),
]


@pytest.mark.parametrize(("make", "layer", "half"), PUBLISHED)
def test_separable_filters_have_the_releases_taps(make, layer, half):
    taps = make(layer)
    assert taps[: len(half)].tolist() == pytest.approx(half, abs=2e-6)
    assert torch.allclose(taps, taps.flip(0)) and float(taps.sum()) == pytest.approx(1)


def test_the_radial_filter_has_the_releases_taps():
    taps = taps_down(0, radial_low_pass)
    assert taps.diagonal()[:6].tolist() == pytest.approx([1e-6, 0.000124, 0.001694, 0.008826, 0.024043, 0.038755], abs=1e-6)
    assert taps[5, :6].tolist() == pytest.approx([0.000205, 0.002279, 0.008198, 0.018542, 0.030533, 0.038755], abs=1e-6)
    assert torch.allclose(taps, taps.T) and torch.allclose(taps, taps.flip(0)) and float(taps.sum()) == pytest.approx(1)


def test_low_frequencies_pass_and_high_ones_do_not():
    taps = low_pass(64, 4.0, 4.0, 64)
    time = torch.arange(64, dtype=torch.float64) / 64

    def gain(frequency: float) -> float:
        return abs(complex((taps * torch.exp(-2j * math.pi * frequency * time)).sum()))

    assert gain(0) == pytest.approx(1) and gain(2) == pytest.approx(1, abs=0.01) and gain(8) < 0.01 and gain(20) < 0.01


def test_the_windows_shape_follows_kaisers_rules():
    assert kaiser_beta(2, 1e-6, 2) == 0, "below 21 dB a rectangle"
    attenuation = 2.285 * 11 * math.pi * 0.3 + 7.95
    assert kaiser_beta(12, 0.3, 2) == pytest.approx(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    assert kaiser_beta(40, 0.5, 2) == pytest.approx(0.1102 * (2.285 * 39 * math.pi * 0.5 + 7.95 - 8.7))
