"""What D receives: the same random transforms at every level, for real and generated images alike."""

from itertools import product

import pytest
import torch

from t2igan.augment.base import NoAugmentConfig
from t2igan.augment.diffaugment import NUMBERS, DiffAugment, DiffAugmentConfig
from t2igan.draws import Draws
from t2igan.pyramid import build_pyramid
from t2igan.schedule import constant, parse_schedule
from t2igan.types import ImagePyramid, TrainingTime

ONLY = dict(brightness=0.0, saturation=0.0, contrast=0.0, translation=0.0, cutout=0.0)
COINS, COLOUR, SHIFT, CENTRE = slice(0, 3), slice(3, 6), slice(6, 8), slice(8, 10)
NOW = TrainingTime(0)


def transform(pyramid, uniform, **options) -> ImagePyramid:
    return DiffAugmentConfig(**ONLY | options).build().transform(pyramid, uniform, probability=1.0)


def uniform_numbers(n: int, seed: int = 0):
    return torch.rand(n, NUMBERS, generator=torch.Generator().manual_seed(seed))


def draws(n: int, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(n))


def images(n: int = 3, side: int = 16) -> ImagePyramid:
    return build_pyramid(torch.rand(n, 3, side, side) * 2 - 1, (side, side // 4))


def test_at_probability_zero_and_without_augmentation_the_images_stay_as_they_are():
    pyramid = images()
    assert DiffAugmentConfig(probability=constant(0.0)).build()(pyramid, draws(3), NOW) is pyramid
    assert NoAugmentConfig().build()(pyramid, draws(3), NOW) is pyramid
    for a, b in zip(transform(pyramid, uniform_numbers(3)).levels, pyramid.levels, strict=True):
        assert torch.allclose(a, b, atol=1e-6), "transforms of no strength"


@pytest.mark.parametrize(
    ("probability", "seen", "expected"),
    [(0.5, 0, 0.5), ({"linear": [0, 0.8, 1000]}, 250, 0.2), ({"linear": [0, 0.8, 1000]}, 5000, 0.8), ({"linear": [0, 0.8, 1000]}, 0, 0)],
)
def test_each_image_is_changed_with_the_probability_of_that_time(probability, seen, expected):
    augment = DiffAugmentConfig(**ONLY | {"brightness": 1.0}, probability=parse_schedule(probability)).build()
    pyramid = build_pyramid(torch.rand(2000, 3, 4, 4), (4,))
    augmented = augment(pyramid, draws(2000), TrainingTime(seen))
    changed = ((augmented.finest - pyramid.finest).abs() > 1e-4).flatten(1).any(1).float().mean().item()
    assert abs(changed - expected) <= 4 * (expected * (1 - expected) / 2000) ** 0.5 + 1e-3  # the amount may be next to nothing


GROUPS = [{"brightness": 1.0, "saturation": 1.0, "contrast": 0.5}, {"translation": 0.25}, {"cutout": 0.5}]


@pytest.mark.parametrize("on", product([True, False], repeat=3))
def test_each_group_is_switched_by_a_coin_of_its_own(on):
    pyramid, uniform = images(4), uniform_numbers(4)
    uniform[:, COINS] = torch.where(torch.tensor(on), 0.4, 0.6)
    every, chosen = (
        {name: value for group, is_on in zip(GROUPS, some, strict=True) if is_on for name, value in group.items()}
        for some in ([True] * 3, on)
    )
    got = DiffAugmentConfig(**every).build().transform(pyramid, uniform, probability=0.5)
    for a, b in zip(got.levels, transform(pyramid, uniform, **chosen).levels, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_brightness_adds_within_half_of_its_range():
    pyramid = build_pyramid(torch.zeros(500, 3, 4, 4), (4,))
    added = transform(pyramid, uniform_numbers(500), brightness=0.6).finest
    assert (added - added[:, :1, :1, :1]).abs().max() < 1e-6
    assert added.abs().max() <= 0.3
    assert added.max() > 0.28 and added.min() < -0.28


def test_saturation_keeps_the_grey_image_and_contrast_the_mean():
    pyramid, uniform = images(), uniform_numbers(3)
    saturated, contrasted = transform(pyramid, uniform, saturation=1.0).finest, transform(pyramid, uniform, contrast=0.5).finest
    assert torch.allclose(saturated.mean(1), pyramid.finest.mean(1), atol=1e-6)
    assert torch.allclose(contrasted.mean((1, 2, 3)), pyramid.finest.mean((1, 2, 3)), atol=1e-6)
    assert not torch.allclose(saturated, pyramid.finest, atol=1e-2)
    assert not torch.allclose(contrasted, pyramid.finest, atol=1e-2)


@pytest.mark.parametrize("fill", ["zeros", "edge"])
def test_translation_moves_by_whole_pixels_and_fills_what_it_uncovers(fill):
    """Zeros are the paper's; the image's own edge is ours."""
    x = 1 + torch.arange(64.0).view(1, 1, 8, 8).expand(1, 3, 8, 8)
    uniform = torch.zeros(1, NUMBERS)
    uniform[:, SHIFT] = torch.tensor([1.0, 0.5])  # as far as it goes along rows, not at all along columns
    moved = transform(build_pyramid(x, (8,)), uniform, translation=0.25, fill=fill).finest
    assert torch.equal(moved[:, :, :6], x[:, :, 2:])
    assert torch.equal(moved[:, :, 6:], x[:, :, 7:].expand(1, 3, 2, 8) if fill == "edge" else torch.zeros(1, 3, 2, 8))
    uniform[:, SHIFT] = torch.tensor([0.5, 0.0])  # along columns, the other way
    moved = transform(build_pyramid(x, (8,)), uniform, translation=0.25, fill=fill).finest
    assert torch.equal(moved[:, :, :, 2:], x[:, :, :, :6])
    assert torch.equal(moved[:, :, :, :2], x[:, :, :, :1].expand(1, 3, 8, 2) if fill == "edge" else torch.zeros(1, 3, 8, 2))


def test_the_default_fill_is_the_papers():
    assert DiffAugmentConfig().fill == "zeros"


def test_cutout_is_one_grey_square_at_the_same_place_of_every_level():
    pyramid = build_pyramid(torch.ones(1, 3, 16, 16), (16, 8))
    uniform = torch.zeros(1, NUMBERS)
    uniform[:, CENTRE] = 0.5
    fine, coarse = transform(pyramid, uniform, cutout=0.5).levels
    expected = torch.ones(1, 3, 16, 16)
    expected[:, :, 4:12, 4:12] = 0
    assert torch.equal(fine, expected)
    assert torch.equal(coarse, expected[:, :, ::2, ::2])


def test_every_number_has_one_use():
    """Translation and cutout move independently: a change of one's numbers leaves the other where it was."""
    x = torch.rand(1, 3, 16, 16) + 1
    pyramid, options = ImagePyramid((x,)), {"translation": 0.25, "cutout": 0.25, "fill": "edge"}
    base = torch.full((1, NUMBERS), 0.5)

    def places(uniform):
        """(shift of rows and columns, centre of the square): each with the other switched off."""
        shifted = transform(pyramid, uniform, **options | {"cutout": 0.0}).finest
        square = transform(pyramid, uniform, **options | {"translation": 0.0}).finest == 0
        both = transform(pyramid, uniform, **options).finest
        assert torch.equal(both == 0, square) and torch.equal(both[both != 0], shifted[both != 0]), "together as each alone"
        return shifted, square

    shifted, square = places(base)
    for number in range(COLOUR.start, NUMBERS):
        uniform = base.clone()
        uniform[:, number] = 0.9
        now_shifted, now_square = places(uniform)
        assert torch.equal(now_shifted, shifted) == (number not in (6, 7)), number
        assert torch.equal(now_square, square) == (number not in (8, 9)), number


@pytest.mark.parametrize(
    ("option", "value", "moved_by"),
    [("brightness", 1.0, 3), ("saturation", 1.0, 4), ("contrast", 0.5, 5), ("translation", 0.25, 6), ("cutout", 0.5, 9)],
)
def test_levels_of_an_image_get_the_same_transform(option, value, moved_by):
    """An image that is constant over blocks of 4 pixels: its coarse level, transformed, is the transformed image's coarse level."""
    coarse = torch.rand(3, 3, 4, 4) + 0.5
    fine = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    uniform = torch.full((3, NUMBERS), 0.5)
    uniform[:, moved_by] = torch.tensor([0.0, 0.25, 1.0]) if option != "translation" else torch.tensor([0.0, 0.5, 1.0])
    augmented = transform(ImagePyramid((fine, coarse)), uniform, **{option: value})
    assert torch.allclose(augmented.levels[0][:, :, ::4, ::4], augmented.levels[1], atol=1e-5)
    assert not torch.allclose(augmented.levels[1], coarse, atol=1e-2)


def test_an_image_equals_itself_whatever_the_batch():
    augment = DiffAugmentConfig(probability=constant(0.7)).build()
    pyramid, numbers = images(6), draws(6, seed=5)
    together = augment(pyramid, numbers, NOW)
    for rows in (slice(2, 3), slice(0, 4), torch.tensor([5, 1])):
        part = augment(pyramid.map(lambda level, rows=rows: level[rows]), numbers[rows], NOW)
        for a, b in zip(part.levels, together.levels, strict=True):
            assert torch.equal(a, b[rows])
    assert torch.equal(augment(pyramid, numbers, NOW).finest, together.finest)
    assert not torch.equal(augment(pyramid, draws(6, seed=6), NOW).finest, together.finest)
    assert not torch.equal(augment(pyramid, numbers.scoped("other"), NOW).finest, together.finest)


@pytest.mark.parametrize("fill", ["zeros", "edge"])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_reach_the_image(seed, fill):
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    augment = DiffAugment(DiffAugmentConfig(fill=fill))
    weights = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    loss = lambda x: (augment(build_pyramid(x, (16,)), draws(2, seed), NOW).finest * weights).sum()  # noqa: E731
    (gradient,) = torch.autograd.grad(loss(x), x)
    direction = torch.randn_like(x)
    difference = (loss(x + 1e-4 * direction) - loss(x - 1e-4 * direction)) / 2e-4
    assert gradient.any()
    assert torch.allclose(difference, (gradient * direction).sum(), rtol=1e-4)
