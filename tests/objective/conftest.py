"""Micro-batches, what losses see of them, and critics whose verdicts are known."""

import pytest
import torch
from torch import nn

from t2igan.augment.base import NoAugmentConfig
from t2igan.discriminator.critic import Critic
from t2igan.draws import Draws
from t2igan.objective.matching import mismatched_captions
from t2igan.objective.term import LossInputs, MicroBatch
from t2igan.pyramid import build_pyramid
from t2igan.types import Fake, ImagePyramid, TrainingTime, Verdict


def verdict(*heads, weights=None) -> Verdict:
    """Each head a list of logits, one per image."""
    logits = tuple(torch.as_tensor(head, dtype=torch.float32).reshape(len(head), -1) for head in heads)
    return Verdict(logits, tuple(weights or [1.0] * len(heads)))


@pytest.fixture
def make_verdict():
    return verdict


@pytest.fixture
def make_batch(descriptors):
    """make_batch(n, images=, captions=, primary_captions=, seed=) -> a MicroBatch of n images; by default they show different things."""

    def make(n=2, *, images=None, captions=None, primary_captions=None, text=None, seed=0) -> MicroBatch:
        images = torch.zeros(n, 3, 4, 4) if images is None else images
        primary_captions = primary_captions or [f"thing {i}" for i in range(n)]
        draws = Draws(seed, torch.arange(n)).scoped("D")
        text = descriptors([2] * n) if text is None else text
        captions = list(primary_captions) if captions is None else captions
        other = mismatched_captions(primary_captions, captions)
        names = captions, primary_captions
        return MicroBatch(images, *names, text, text, other, torch.zeros(n, 4), None, draws, draws.scoped("generator"))

    return make


@pytest.fixture
def make_fake():
    """make_fake(images, sides=) -> a Fake with these images at these sides."""

    def make(images, sides=None) -> Fake:
        pyramid = ImagePyramid((images,)) if sides is None else build_pyramid(images, sides)
        return Fake(pyramid, torch.zeros(len(images), 1, 4))

    return make


@pytest.fixture
def make_inputs(make_batch, make_fake):
    """make_inputs(n, generated=, images=, captions=, primary_captions=, field=value, ...) -> LossInputs whose other fields are blank."""

    def make(n=2, *, generated=None, fake=None, images=None, captions=None, primary_captions=None, **fields) -> LossInputs:
        fake = fake or make_fake(torch.zeros(n, 3, 4, 4) if generated is None else generated)
        batch = make_batch(n, images=images, captions=captions, primary_captions=primary_captions)
        blank = {"now": TrainingTime(0), "batch": batch, "fake": fake, "fake_output": verdict([0.0] * n)}
        return LossInputs(**blank | fields)

    return make


class KnownNetwork(nn.Module):
    """A discriminator whose logits are a function of an image set's pyramid and of the texts of its captions; keeps what it gets."""

    def __init__(self, function):
        super().__init__()
        self.function, self.calls = function, []

    def forward(self, sets, text, twice_differentiable=False):
        self.calls.append((sets, twice_differentiable, torch.is_autocast_enabled("cpu")))
        return tuple(tuple(Verdict((self.function(s.pyramid, text.pooled[c])[:, None],), (1.0,)) for c in s.captions) for s in sets)


def sum_of_pixels(pyramid, descriptor):
    return sum(level.sum((1, 2, 3)) for level in pyramid.levels)


@pytest.fixture
def make_critic():
    """make_critic(function, levels=, augment=) -> a Critic whose network scores by `function(pyramid, descriptors)`; it keeps its calls."""

    def make(function=sum_of_pixels, levels=(8, 4), augment=None) -> Critic:
        return Critic(KnownNetwork(function), augment or NoAugmentConfig().build(), levels)

    return make
