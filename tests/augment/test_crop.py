"""Crops of images that are larger than D's frozen network reads."""

import pytest
import torch
import torch.nn.functional as F
from tiny import ROOT

from t2igan.augment.ada import ADAConfig
from t2igan.augment.base import NoAugmentConfig
from t2igan.augment.blur import BlurConfig
from t2igan.augment.crop import CropConfig
from t2igan.draws import Draws
from t2igan.errors import UserError
from t2igan.layers.crop import crop_squares
from t2igan.recipe import load_recipe
from t2igan.schedule import constant
from t2igan.system import build_system
from t2igan.types import CheckContext, ImagePyramid, TrainingTime, Verdict


def test_every_place_inside_can_be_cut_and_none_outside():
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    corners = set()
    for y in torch.linspace(0, 1, 30):
        for x in torch.linspace(0, 1, 30):
            square = crop_squares(image, torch.stack([y, x])[None], 4)
            row, column = divmod(int(square[0, 0, 0, 0]), 6)
            assert square.equal(image[..., row : row + 4, column : column + 4])
            corners.add((row, column))
    assert corners == {(y, x) for y in range(3) for x in range(3)}


def test_a_share_of_images_is_cut_and_the_others_are_reduced():
    augment = CropConfig(side=8, probability=0.5, first=NoAugmentConfig()).build()
    images = torch.randn(400, 3, 16, 16, requires_grad=True)
    (found,) = augment(ImagePyramid((images,)), Draws(0, torch.arange(400)), TrainingTime(0)).levels
    whole = F.interpolate(images, size=(8, 8), mode="area")
    reduced = (found - whole).flatten(1).abs().amax(1) == 0
    assert found.shape == (400, 3, 8, 8) and 150 < int(reduced.sum()) < 250
    found.square().sum().backward()
    assert images.grad.flatten(1).ne(0).any(1).all(), "gradients reach every image"
    again = augment(ImagePyramid((images[7:8],)), Draws(0, torch.tensor([7])), TrainingTime(0)).finest
    assert again.equal(found[7:8]), "an image's crop depends on its place in the training alone"
    small = torch.randn(2, 3, 8, 8)
    assert augment(ImagePyramid((small,)), Draws(0, torch.arange(2)), TrainingTime(0)).finest is small


def test_what_comes_before_adapts_as_it_does_alone():
    config = CropConfig(first=BlurConfig(sigma=constant(0.0), then=ADAConfig(target=0.6, ramp_images=100, interval=1)))
    assert config.reads_sign and not CropConfig(first=NoAugmentConfig()).reads_sign
    augment = config.build()
    augment.observe(Verdict((torch.ones(4, 1),), (1.0,)))
    figures = augment.update(TrainingTime(4, 1), 4, lambda x: x)
    assert float(augment.first.then.probability) > 0 and figures["augment/blur"] == 0


def test_a_crop_is_refused_before_a_discriminator_of_one_side():
    crop = CropConfig(side=8, first=NoAugmentConfig())
    with pytest.raises(ValueError, match=r"side: images become 8 px, and discriminator\.network takes 16 px; leave it out"):
        crop.check(CheckContext(16, (16,)))
    crop.check(CheckContext(16, (16,), any_side=True))
    crop.check(CheckContext(8, (8,)))  # nothing is cut


@pytest.mark.parametrize("name", ["stylegan2_256", "r3gan_ffhq_64"])
def test_a_recipe_that_crops_for_a_discriminator_of_one_side_is_one_line(name):
    with pytest.raises(UserError, match=r"^augment\.side: images become 48 px"):
        build_system(load_recipe(ROOT / f"configs/{name}.yaml", ["augment={kind: crop, side: 48, first: {kind: none}}"]))


def test_images_of_several_sides_are_refused():
    with pytest.raises(ValueError, match=r"side: images of one side are cut, and generator\.synthesis makes 2; leave the crop out"):
        CropConfig(first=NoAugmentConfig()).check(CheckContext(16, (16, 8)))
