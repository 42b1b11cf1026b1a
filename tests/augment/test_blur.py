"""The fading blur of what D sees."""

import pytest
import torch

from t2igan.augment.ada import ADAConfig
from t2igan.augment.base import NoAugmentConfig
from t2igan.augment.blur import BlurConfig, blur
from t2igan.draws import Draws
from t2igan.schedule import constant, parse_schedule
from t2igan.types import ImagePyramid, TrainingTime, Verdict


def test_a_point_becomes_the_filter():
    image = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    image[0, 0, 20, 20] = 1
    row = blur(image, 2.0)[0, 0].sum(0)
    assert row[[14, 26]].gt(0).all() and row[:14].eq(0).all() and row[27:].eq(0).all(), "up to three sigma"
    assert float(row[22] / row[20]) == pytest.approx(0.5) and float(row[24] / row[20]) == pytest.approx(2**-4)
    assert float(row.sum()) == pytest.approx(1)
    assert blur(image, 0.3) is image, "less than a pixel is nothing"


def test_it_fades_and_blurs_coarser_levels_less():
    augment = BlurConfig(sigma=parse_schedule({"linear": [4.0, 0.0, 100]}), then=NoAugmentConfig()).build()
    pyramid, draws = ImagePyramid((torch.randn(2, 3, 16, 16), torch.randn(2, 3, 8, 8))), Draws(0, torch.arange(2))
    early, late = (augment(pyramid, draws, TrainingTime(images)) for images in (50, 100))
    assert torch.equal(early.levels[0], blur(pyramid.levels[0], 2.0)) and torch.equal(early.levels[1], blur(pyramid.levels[1], 1.0))
    assert all(a is b for a, b in zip(late.levels, pyramid.levels, strict=True))


def test_what_follows_adapts_as_it_does_alone():
    config = BlurConfig(sigma=constant(0.0), then=ADAConfig(target=0.6, ramp_images=100, interval=1))
    assert config.reads_sign and not BlurConfig(sigma=constant(0.0), then=NoAugmentConfig()).reads_sign
    augment = config.build()
    augment.observe(Verdict((torch.ones(4, 1),), (1.0,)))
    figures = augment.update(TrainingTime(4, 1), 4, lambda x: x)
    assert float(augment.then.probability) > 0 and figures["augment/blur"] == 0 and len(figures) > 1
    assert "then.probability" in augment.state_dict(), "in checkpoints"
