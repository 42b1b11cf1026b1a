"""The relativistic game of pairs, and the penalty at generated images."""

import math

import pytest
import torch

from t2igan.objective.gradient_penalty import squared_gradient_norm
from t2igan.objective.relativistic import R2, R2Config, Relativistic
from t2igan.schedule import parse_schedule
from t2igan.types import Fake, ImagePyramid, TrainingTime, Verdict


def verdict(*logits: float) -> Verdict:
    return Verdict((torch.tensor(logits)[:, None],), (1.0,))


def test_known_logits_are_paired_by_position(make_inputs):
    inputs = make_inputs(2, real_output=verdict(1.0, 0.0), fake_output=verdict(1.0, -math.log(3)))
    log2, log4_3, log4 = math.log(2), math.log(4 / 3), math.log(4)
    assert Relativistic().discriminator(inputs).item() == pytest.approx((log2 + log4_3) / 2)
    assert Relativistic().generator(inputs).item() == pytest.approx((log2 + log4) / 2)


def test_a_shift_of_all_logits_changes_nothing(make_inputs):
    losses = []
    for shift in (0.0, 100.0):
        inputs = make_inputs(2, real_output=verdict(shift + 1, shift - 2), fake_output=verdict(shift, shift + 0.5))
        losses.append((Relativistic().discriminator(inputs).item(), Relativistic().generator(inputs).item()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_r2_of_a_linear_critic_is_its_squared_weight_norm_and_follows_gammas_schedule(make_inputs):
    images = ImagePyramid((torch.randn(3, 3, 8, 8).requires_grad_(),))
    weight = torch.randn(3, 8, 8)
    output = Verdict(((images.finest * weight).sum((1, 2, 3))[:, None],), (1.0,))
    term = R2Config(gamma=parse_schedule({"cosine": [2.0, 1.0, 0, 100]})).build()
    assert isinstance(term, R2) and term.needs == {"fake_leaves"}
    for seen, gamma in ((0, 2.0), (50, 1.5), (1000, 1.0)):
        inputs = make_inputs(
            3, fake=Fake(images.detach(), torch.zeros(3, 1, 4)), fake_output=output, fake_pyramid=images, now=TrainingTime(seen)
        )
        assert term.discriminator(inputs).item() == pytest.approx(gamma / 2 * weight.square().sum().item(), rel=1e-5)
    assert torch.allclose(squared_gradient_norm(output, images), weight.square().sum().expand(3))
