"""What D sees: the same random view at every level, for reals and fakes alike."""

import pytest
import torch

from t2igan.augment.diffaugment import COLUMNS, AugmentConfig, DiffAugment, uniform_rows
from t2igan.pyramid import build_pyramid

ONLY = dict(brightness=0.0, saturation=0.0, contrast=0.0, translation=0.0, cutout=0.0)


def view(pyramid, uniform, **options):
    return DiffAugment(AugmentConfig(probability=1.0, **ONLY | options))(pyramid, uniform)


def pictures(n=3, side=16):
    return build_pyramid(torch.rand(n, 3, side, side) * 2 - 1, (side, side // 4))


def test_never_and_always_doing_nothing():
    pyramid, uniform = pictures(), uniform_rows(3, torch.Generator().manual_seed(0))
    assert DiffAugment(AugmentConfig())(pyramid, uniform) is pyramid
    for a, b in zip(view(pyramid, uniform).levels, pyramid.levels, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_half_of_the_pictures_at_probability_one_half():
    uniform = uniform_rows(2000, torch.Generator().manual_seed(0))
    pyramid = build_pyramid(torch.rand(2000, 3, 4, 4), (4,))
    seen = DiffAugment(AugmentConfig(probability=0.5, **ONLY | {"brightness": 1.0}))(pyramid, uniform)
    changed = ((seen.finest - pyramid.finest).abs() > 1e-4).flatten(1).any(1).float().mean()
    assert 0.45 < changed < 0.55


def test_brightness_adds_within_half_of_its_range():
    uniform = uniform_rows(500, torch.Generator().manual_seed(0))
    pyramid = build_pyramid(torch.zeros(500, 3, 4, 4), (4,))
    added = view(pyramid, uniform, brightness=0.6).finest
    assert (added - added[:, :1, :1, :1]).abs().max() < 1e-6
    assert added.abs().max() <= 0.3
    assert added.max() > 0.28 and added.min() < -0.28


def test_saturation_keeps_the_grey_picture_and_contrast_the_mean():
    pyramid, uniform = pictures(), uniform_rows(3, torch.Generator().manual_seed(0))
    saturated, contrasted = view(pyramid, uniform, saturation=1.0).finest, view(pyramid, uniform, contrast=0.5).finest
    assert torch.allclose(saturated.mean(1), pyramid.finest.mean(1), atol=1e-6)
    assert torch.allclose(contrasted.mean((1, 2, 3)), pyramid.finest.mean((1, 2, 3)), atol=1e-6)
    assert not torch.allclose(saturated, pyramid.finest, atol=1e-2)
    assert not torch.allclose(contrasted, pyramid.finest, atol=1e-2)


def test_translation_moves_by_whole_pixels_and_repeats_the_edge():
    x = torch.arange(64.0).view(1, 1, 8, 8).expand(1, 3, 8, 8)
    uniform = torch.zeros(1, COLUMNS)
    uniform[:, 6:8] = torch.tensor([1.0, 0.5])  # as far as it goes along rows, not at all along columns
    moved = view(build_pyramid(x, (8,)), uniform, translation=0.25).finest
    assert torch.equal(moved[:, :, :6], x[:, :, 2:])
    assert torch.equal(moved[:, :, 6:], x[:, :, 7:].expand(1, 3, 2, 8))


def test_cutout_is_one_grey_square_at_the_same_place_of_every_level():
    pyramid = build_pyramid(torch.ones(1, 3, 16, 16), (16, 8))
    uniform = torch.zeros(1, COLUMNS)
    uniform[:, 7:] = 0.5
    fine, coarse = view(pyramid, uniform, cutout=0.5).levels
    expected = torch.ones(1, 3, 16, 16)
    expected[:, :, 4:12, 4:12] = 0
    assert torch.equal(fine, expected)
    assert torch.equal(coarse, expected[:, :, ::2, ::2])


def test_a_view_is_a_function_of_picture_and_numbers_alone():
    config = DiffAugment(AugmentConfig(probability=0.7))
    pyramid, uniform = pictures(4), uniform_rows(4, torch.Generator().manual_seed(5))
    together = config(pyramid, uniform)
    alone = config(pyramid.map(lambda level: level[2:3]), uniform[2:3])
    assert torch.equal(together.levels[0][2:3], alone.levels[0])
    assert torch.equal(config(pyramid, uniform).finest, together.finest)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_reach_the_picture(seed):
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    uniform = uniform_rows(2, torch.Generator().manual_seed(seed)).double()
    function = DiffAugment(AugmentConfig(probability=1.0))
    weights = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    loss = lambda x: (function(build_pyramid(x, (16,)), uniform.float()).finest * weights).sum()  # noqa: E731
    (gradient,) = torch.autograd.grad(loss(images), images)
    direction = torch.randn_like(images)
    difference = (loss(images + 1e-4 * direction) - loss(images - 1e-4 * direction)) / 2e-4
    assert gradient.any()
    assert torch.allclose(difference, (gradient * direction).sum(), rtol=1e-4)
