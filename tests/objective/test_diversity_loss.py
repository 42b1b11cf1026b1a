"""Diversity compares the distances of generated images of one caption with those of the real ones, and nothing else."""

import pytest
import torch

from t2igan.objective.diversity import DiversityConfig
from t2igan.types import CheckContext

SIDES = (16, 8, 4)
TERM = DiversityConfig(sides=(8, 4)).build()


def constant(*values) -> torch.Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 16, 16)


@pytest.fixture
def loss_of(make_inputs, make_fake):
    """loss_of(captions, real, generated) -> the loss of constant images with these values."""

    def loss(captions, real, generated):
        return TERM.generator(make_inputs(len(captions), fake=make_fake(generated, SIDES), images=constant(*real), captions=captions))

    return loss


def test_equal_images_cost_one_and_images_as_far_apart_as_real_ones_nothing(loss_of):
    captions, real = ["a", "a"], (0.0, 0.4)
    assert float(loss_of(captions, real, constant(0.3, 0.3))) == 1
    assert float(loss_of(captions, real, constant(-0.3, -0.2))) == pytest.approx(0.75)
    for generated in (constant(0.5, 0.1), constant(-1.0, 1.0)):
        assert float(loss_of(captions, real, generated)) == pytest.approx(0, abs=1e-6)


def test_distances_are_compared_as_a_whole(loss_of):
    """Generated images with the real ones' distances, between other pairs, cost nothing."""
    assert float(loss_of(["a", "a", "a"], (0.0, 0.2, 0.6), constant(0.6, 0.0, 0.2))) == pytest.approx(0, abs=1e-6)


def test_only_pairs_of_one_caption_count(loss_of):
    real = (0.0, 0.5, 0.5, 1.0)
    assert float(loss_of(["a", "b", "a", "b"], real, constant(0.0, 0.2, 0.5, 0.2))) == pytest.approx(0.5)
    assert float(loss_of(["a", "b", "c", "d"], real, constant(0.0, 0.0, 0.0, 0.0))) == 0
    assert float(loss_of(["", "", "a", "b"], real, constant(0.0, 0.0, 0.0, 0.0))) == 0  # captions left out


def test_copies_among_the_real_images_ask_for_nothing(loss_of):
    assert float(loss_of(["a", "a"], (0.4, 0.4), constant(0.0, 0.0))) == 0
    assert float(loss_of(["a", "a", "b", "b"], (0.4, 0.4, 0.0, 0.5), constant(0.0, 0.0, 0.0, 0.5))) == pytest.approx(0, abs=1e-6)


def test_details_finer_than_its_sides_do_not_count(make_inputs, make_fake):
    checkerboard = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8).expand(1, 3, 16, 16)
    generated = make_fake(torch.cat([checkerboard, -checkerboard]), SIDES)
    assert float(TERM.generator(make_inputs(2, fake=generated, images=constant(0.0, 1.0), captions=["a", "a"]))) == 1


def test_the_gradient_drives_images_apart(loss_of):
    generated = constant(0.1, 0.2).clone().requires_grad_()
    loss_of(["a", "a"], (0.0, 1.0), generated).backward()
    assert (generated.grad[0] > 0).all() and (generated.grad[1] < 0).all()  # against the gradient: the first darker, the second brighter


def test_sides_and_single_images_of_a_caption_are_refused():
    DiversityConfig(sides=(16, 4)).check(CheckContext(16, SIDES, images_per_caption=2))
    with pytest.raises(ValueError, match=r"sides is \[32\], needs some of \[16, 8, 4\]"):
        DiversityConfig(sides=(32,)).check(CheckContext(16, SIDES, images_per_caption=2))
    with pytest.raises(ValueError, match=r"kind is diversity, .* set data\.images_per_caption to 2 or more"):
        DiversityConfig(sides=(16,)).check(CheckContext(16, SIDES))
