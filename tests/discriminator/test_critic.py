"""D behind its augmentation: a function of the unaugmented images."""

import pytest
import torch
from torch import nn

from t2igan.augment.base import NoAugmentConfig
from t2igan.augment.diffaugment import DiffAugmentConfig
from t2igan.discriminator.critic import Critic
from t2igan.draws import Draws
from t2igan.schedule import parse_schedule
from t2igan.types import ImagePyramid, ImageSet, TrainingTime, Verdict

NOW = TrainingTime(0)


class Recorder(nn.Module):
    """Keeps what it gets; its logits are the inner product of a set's levels with fixed weights."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.weights = [torch.randn(3, side, side, generator=torch.Generator().manual_seed(side)) for side in (16, 8)]

    def forward(self, sets, text, twice_differentiable=False):
        self.calls.append((sets, text, twice_differentiable))
        scores = [sum((x * w).sum((1, 2, 3)) for x, w in zip(s.pyramid.levels, self.weights, strict=True))[:, None] for s in sets]
        return tuple(tuple(Verdict((score,), (1.0,)) for _ in s.captions) for score, s in zip(scores, sets, strict=True))


@pytest.fixture
def network():
    return Recorder()


def critic(network, augment=None) -> Critic:
    return Critic(network, (augment or DiffAugmentConfig()).build(), (16, 8))


def image_set(view="real", n=4, sides=(16, 8), pyramid=None) -> ImageSet:
    pyramid = pyramid or ImagePyramid(tuple(torch.rand(n, 3, side, side) + 0.5 for side in sides))
    return ImageSet(pyramid, (torch.arange(len(pyramid)),), view)


def draws(n: int = 4, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(n))


def test_the_network_gets_each_set_augmented_with_everything_else_as_it_was(network, descriptors):
    sets, text = [image_set("real"), image_set("fake")], descriptors([2] * 4)
    augment = DiffAugmentConfig().build()
    verdicts = critic(network)(sets, text, draws(), NOW, True)
    ((received, same_text, twice),) = network.calls
    assert same_text is text and twice is True
    assert [len(found) for found in verdicts] == [1, 1]
    for got, given in zip(received, sets, strict=True):
        assert got.captions is given.captions and got.view == given.view
        expected = augment(given.pyramid, draws().scoped(f"view of {given.view}"), NOW)
        for a, b, plain in zip(got.pyramid.levels, expected.levels, given.pyramid.levels, strict=True):
            assert torch.equal(a, b) and not torch.equal(a, plain)


def test_sets_of_one_view_get_the_same_transforms_and_others_do_not(network, descriptors):
    """What a finite difference compares must differ by its perturbation alone."""
    pyramid = image_set().pyramid
    sets = [image_set(view, pyramid=pyramid) for view in ("real", "real", "fake")]
    critic(network)(sets, descriptors([2] * 4), draws(), NOW)
    first, second, third = (received.pyramid for received in network.calls[0][0])
    for a, b, c in zip(first.levels, second.levels, third.levels, strict=True):
        assert torch.equal(a, b)
        assert all(not torch.equal(a[i], c[i]) for i in range(4))


def test_the_levels_are_chosen_that_the_network_takes(network, descriptors):
    given = image_set(sides=(32, 16, 8, 4))
    critic(network, NoAugmentConfig())([given], descriptors([2] * 4), draws(), NOW)
    (received,) = network.calls[0][0]
    assert [a is b for a, b in zip(received.pyramid.levels, given.pyramid.levels[1:3], strict=True)] == [True, True]


def test_the_augmentation_follows_the_clock(network, descriptors):
    late = DiffAugmentConfig(probability=parse_schedule({"linear": [0, 1, 1000]}))
    given, views = image_set(), []
    for images_seen in (0, 1000):
        critic(network, late)([given], descriptors([2] * 4), draws(), TrainingTime(images_seen))
        views.append(network.calls[-1][0][0].pyramid.finest)
    assert torch.equal(views[0], given.pyramid.finest) and not torch.equal(views[1], given.pyramid.finest)


def test_the_verdict_on_an_image_does_not_depend_on_its_micro_batch(network, descriptors):
    given, text = image_set(n=6), descriptors([2] * 6)
    whole = critic(network)([given], text, draws(6), NOW)[0][0].logits[0]
    for rows in (slice(0, 2), slice(2, 6)):
        part = image_set(pyramid=given.pyramid.map(lambda level, rows=rows: level[rows]))
        got = critic(network)([part], text[rows], draws(6)[rows], NOW)[0][0].logits[0]
        assert torch.allclose(got, whole[rows], rtol=1e-5)


@pytest.mark.parametrize("fill", ["zeros", "edge"])
def test_the_gradient_at_the_unaugmented_image_goes_through_the_augmentation(fill, network, descriptors):
    """The transforms are affine for each draw, so the gradient of a linear network is their transpose applied to its weights."""
    config = DiffAugmentConfig(fill=fill)
    pyramid, text = image_set(n=3).pyramid.leaves(), descriptors([2] * 3)
    ((verdict,),) = critic(network, config)([image_set(pyramid=pyramid)], text, draws(3), NOW)
    gradients = torch.autograd.grad(verdict.logits[0].sum(), pyramid.levels, create_graph=True)
    augment, numbers = config.build(), draws(3).scoped("view of real")
    for number, gradient in enumerate(gradients):
        direction = torch.randn_like(gradient)
        moved = [level + direction if i == number else level for i, level in enumerate(pyramid.levels)]
        after, before = augment(ImagePyramid(tuple(moved)), numbers, NOW), augment(pyramid, numbers, NOW)
        change = ((after.levels[number] - before.levels[number]) * network.weights[number]).sum((1, 2, 3))
        assert torch.allclose((gradient * direction).sum((1, 2, 3)), change, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(gradient, network.weights[number].expand_as(gradient), atol=0.1), "not the network's alone"
