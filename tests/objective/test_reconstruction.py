"""Reconstruction compares what G drew with the caption's real picture at the sides it is given, and nowhere else."""

import pytest
import torch

from t2igan.objective.reconstruction import Reconstruction, ReconstructionConfig
from t2igan.pyramid import build_pyramid
from t2igan.types import Fake

SIDES = (16, 8, 4)


def a_round(make_round, fake, images):
    return make_round(2, fake=Fake(build_pyramid(fake, SIDES), torch.zeros(2, 1, 4)), images=images)


def test_equal_pictures_cost_nothing_and_a_constant_shift_its_square(make_round):
    images = torch.rand(2, 3, 16, 16) - 0.5
    term = Reconstruction(ReconstructionConfig(sides=(8, 4)))
    assert float(term.generator(a_round(make_round, images, images))) == 0
    assert float(term.generator(a_round(make_round, images + 0.3, images))) == pytest.approx(0.09, rel=1e-4)


def test_details_finer_than_its_sides_are_free(make_round):
    images = torch.zeros(2, 3, 16, 16)
    checkerboard = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8).expand(2, 3, 16, 16)
    coarse, fine = (Reconstruction(ReconstructionConfig(sides=sides)) for sides in ((8,), (16,)))
    assert float(coarse.generator(a_round(make_round, checkerboard, images))) == pytest.approx(0, abs=1e-12)
    assert float(fine.generator(a_round(make_round, checkerboard, images))) == pytest.approx(1)


def test_the_gradient_points_from_the_real_picture(make_round):
    fake = torch.full((2, 3, 16, 16), 0.2, requires_grad=True)
    Reconstruction(ReconstructionConfig(sides=(4,))).generator(a_round(make_round, fake, torch.zeros(2, 3, 16, 16))).backward()
    assert (fake.grad > 0).all()
