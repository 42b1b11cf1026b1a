"""Reconstruction compares generated images with the real images of their captions at its sides, and nowhere else."""

import pytest
import torch

from t2igan.objective.reconstruction import Reconstruction, ReconstructionConfig
from t2igan.types import CheckContext

SIDES = (16, 8, 4)


@pytest.fixture
def inputs_of(make_inputs, make_fake):
    """inputs_of(generated, real) -> LossInputs with these images."""
    return lambda generated, real: make_inputs(2, fake=make_fake(generated, SIDES), images=real)


def test_equal_images_cost_nothing_and_a_constant_shift_its_square(inputs_of):
    images = torch.rand(2, 3, 16, 16) - 0.5
    term = ReconstructionConfig(sides=(8, 4)).build()
    assert float(term.generator(inputs_of(images, images))) == 0
    assert float(term.generator(inputs_of(images + 0.3, images))) == pytest.approx(0.09, rel=1e-4)


def test_details_finer_than_its_sides_are_free(inputs_of):
    images = torch.zeros(2, 3, 16, 16)
    checkerboard = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8).expand(2, 3, 16, 16)
    coarse, fine = (Reconstruction(ReconstructionConfig(sides=sides)) for sides in ((8,), (16,)))
    assert float(coarse.generator(inputs_of(checkerboard, images))) == pytest.approx(0, abs=1e-12)
    assert float(fine.generator(inputs_of(checkerboard, images))) == pytest.approx(1)


def test_the_gradient_points_away_from_the_real_image(inputs_of):
    fake = torch.full((2, 3, 16, 16), 0.2, requires_grad=True)
    Reconstruction(ReconstructionConfig(sides=(4,))).generator(inputs_of(fake, torch.zeros(2, 3, 16, 16))).backward()
    assert (fake.grad > 0).all()


@pytest.mark.parametrize("sides", [(), (4, 8), (32,), (8, 8)])
def test_sides_that_g_does_not_make_are_refused(sides):
    ReconstructionConfig(sides=(16, 4)).check(CheckContext(16, SIDES))
    with pytest.raises(ValueError, match=r"sides is .* needs some of \[16, 8, 4\], which G makes, finest first"):
        ReconstructionConfig(sides=sides).check(CheckContext(16, SIDES))
