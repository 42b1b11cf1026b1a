"""The average of G's weights: a half-life in images."""

import pytest
import torch
from torch import nn

from t2igan.config import EMAConfig
from t2igan.schedule import constant
from t2igan.training.ema import EMA


def test_after_one_half_life_an_old_weight_counts_half():
    ema = EMA(nn.Linear(2, 2), EMAConfig(half_life=constant(1000), rampup=None))
    assert ema.decay(images=10**6, batch=1000) == pytest.approx(0.5)
    assert ema.decay(images=10**6, batch=50) ** 20 == pytest.approx(0.5)


def test_memory_is_of_images_not_of_steps():
    """Two steps of b images keep as much as one of 2 b."""
    ema = EMA(nn.Linear(2, 2), EMAConfig(half_life=constant(777), rampup=None))
    assert ema.decay(10**6, 32) ** 2 == pytest.approx(ema.decay(10**6, 64))


def test_rampup_shortens_the_memory_of_a_young_run():
    ema = EMA(nn.Linear(2, 2), EMAConfig(half_life=constant(1000), rampup=0.1))
    assert ema.decay(images=500, batch=50) == pytest.approx(0.5), "a tenth of 500 images is the half-life"
    assert ema.decay(images=10**6, batch=1000) == pytest.approx(0.5), "which ends at the recipe's"
    assert ema.decay(images=0, batch=8) == 0, "before the first image nothing is kept"


def test_average_equals_the_weighted_sum_of_all_weights():
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    ema = EMA(model, EMAConfig(half_life=constant(100), rampup=None))
    expected = model.weight.detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            model.weight.normal_()
        ema.update(model, images=20 * step, batch=20)
        keep = 0.5**0.2
        expected = keep * expected + (1 - keep) * model.weight.detach()
    assert torch.allclose(ema.model.weight, expected, rtol=1e-12)


def test_average_takes_buffers_as_they_are_and_never_trains():
    model = nn.BatchNorm1d(3)
    ema = EMA(model, EMAConfig(half_life=constant(10**9), rampup=None))
    model(torch.randn(8, 3))
    ema.update(model, images=8, batch=8)
    assert torch.equal(ema.model.running_mean, model.running_mean) and model.running_mean.any()
    assert not ema.model.training and not any(p.requires_grad for p in ema.model.parameters())
    assert all(p.requires_grad for p in model.parameters()) and model.training, "the original is left as it was"
