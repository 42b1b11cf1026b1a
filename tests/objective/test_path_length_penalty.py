"""Path lengths of a generator that is linear in its style, against their closed form."""

from dataclasses import replace

import pytest
import torch

from t2igan.objective.path_length import PathLengthConfig
from t2igan.types import Fake, ImagePyramid

SIDE = 4


@pytest.fixture
def linear(make_inputs):
    """(inputs of G's half for images that are linear in the styles, the Jacobian [pixels, stages x width], the images' noise)"""
    jacobian = torch.randn(3 * SIDE * SIDE, 2 * 4).requires_grad_(True)
    styles = torch.randn(6, 2, 4).requires_grad_(True)
    images = (styles.flatten(1) @ jacobian.T).view(6, 3, SIDE, SIDE)
    inputs = make_inputs(6, fake=Fake(ImagePyramid((images,)), styles))
    noise = inputs.batch.draws.normal("path length", 3, SIDE, SIDE).flatten(1) / SIDE
    return inputs, jacobian, noise


def test_it_is_the_squared_distance_from_the_mean_length(linear):
    inputs, jacobian, noise = linear
    term = PathLengthConfig().build()
    term.mean_length.fill_(0.7)
    lengths = (noise @ jacobian).view(6, 2, 4).square().sum(2).mean(1).sqrt()
    found = term.generator(inputs)
    assert found.item() == pytest.approx((lengths - 0.7).square().mean().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, jacobian, retain_graph=True)
    (expected,) = torch.autograd.grad((lengths - 0.7).square().mean(), jacobian)
    assert torch.allclose(gradient, expected, atol=1e-5), "through the gradient itself"


def test_the_mean_is_that_of_all_micro_batches_and_processes(linear):
    inputs, jacobian, noise = linear
    lengths = (noise @ jacobian).view(6, 2, 4).square().sum(2).mean(1).sqrt().detach()
    term, apart = PathLengthConfig(decay=0.9).build(), [PathLengthConfig(decay=0.9).build() for _ in range(2)]
    first = term.generator(inputs).item()
    assert first == pytest.approx(lengths.square().mean().item(), rel=1e-5), "the mean of before this step"
    term.update(lambda x: x)
    assert term.mean_length.item() == pytest.approx(0.1 * lengths.mean().item(), rel=1e-5)
    for one, rows in zip(apart, ([0, 1, 2, 3], [4, 5]), strict=True):
        one.seen += torch.tensor([lengths[rows].sum(), len(rows)])
    total = sum(one.seen for one in apart)
    for one in apart:
        one.update(lambda x: total)
        assert one.mean_length.item() == pytest.approx(term.mean_length.item(), rel=1e-6)
        assert one.seen.sum() == 0
    assert set(term.state_dict()) == {"mean_length"}, "what a checkpoint holds"


def test_styles_that_lead_nowhere_have_no_length(make_inputs):
    styles = torch.randn(2, 1, 4).requires_grad_(True)
    images = torch.zeros(2, 3, SIDE, SIDE) + 0 * styles.sum()
    inputs = make_inputs(2, fake=Fake(ImagePyramid((images,)), styles))
    value = PathLengthConfig().build().generator(inputs)
    assert value.item() == 0
    assert replace(inputs, fake=inputs.fake.detach()).fake.styles.requires_grad is False


def test_a_step_that_is_skipped_leaves_the_mean_as_it_is():
    term = PathLengthConfig(decay=0.9).build()
    term.mean_length.fill_(0.7)
    for total in (float("nan"), float("inf")):
        term.seen += torch.tensor([total, 6.0])
        term.update(lambda x: x)
        assert term.mean_length.item() == pytest.approx(0.7) and term.seen.sum() == 0
    term.seen += torch.tensor([12.0, 6.0])
    term.update(lambda x: x)
    assert term.mean_length.item() == pytest.approx(0.9 * 0.7 + 0.1 * 2.0)
