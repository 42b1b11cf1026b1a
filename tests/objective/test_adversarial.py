"""The non-saturating game and the hinge at logits whose losses are known."""

import math

import pytest
import torch

from t2igan.objective.adversarial import HingeConfig, NonSaturating, NonSaturatingConfig
from t2igan.types import Verdict


def test_known_logits(make_inputs, make_verdict):
    inputs = make_inputs(2, real_output=make_verdict([0.0, math.log(3)]), fake_output=make_verdict([0.0, -math.log(3)]))
    log2, log4_3 = math.log(2), math.log(4 / 3)  # softplus(0) and softplus(-log 3)
    assert NonSaturatingConfig().build().discriminator(inputs).item() == pytest.approx((2 * log2 + 2 * log4_3) / 2)
    assert NonSaturatingConfig().build().generator(inputs).item() == pytest.approx((log2 + math.log(4)) / 2)


def test_a_better_verdict_is_a_smaller_loss_for_its_side(make_inputs, make_verdict):
    sure = make_inputs(2, real_output=make_verdict([5.0, 5.0]), fake_output=make_verdict([-5.0, -5.0]))
    fooled = make_inputs(2, real_output=make_verdict([-5.0, -5.0]), fake_output=make_verdict([5.0, 5.0]))
    loss = NonSaturating()
    assert loss.discriminator(sure) < 0.02 < 9 < loss.discriminator(fooled)
    assert loss.generator(fooled) < 0.01 < 4 < loss.generator(sure)


def test_g_still_learns_when_d_is_sure(make_inputs):
    """What the name says: the gradient does not saturate where D takes images for generated ones."""
    logits = torch.tensor([[-20.0]], requires_grad=True)
    inputs = make_inputs(1, fake_output=Verdict((logits,), (1.0,)))
    (gradient,) = torch.autograd.grad(NonSaturating().generator(inputs), logits)
    assert gradient.item() == pytest.approx(-1.0)


def test_heads_enter_by_their_weights_and_places_by_their_mean(make_inputs, make_verdict):
    fake = make_verdict([[0.0, 100.0]], [[-100.0]], weights=(3.0, 1.0))
    expected = (3 * (math.log(2) + 0) / 2 + 1 * 100) / 4
    assert NonSaturating().generator(make_inputs(1, fake_output=fake)).item() == pytest.approx(expected)


def test_hinge_against_hand_values(make_inputs, make_verdict):
    real, fake = make_verdict([[0.5, 2.0]], [[-1.0]]), make_verdict([[-0.5, -3.0]], [[2.0]])
    term = HingeConfig().build()
    assert float(term.discriminator(make_inputs(1, real_output=real, fake_output=fake))) == pytest.approx((0.25 + 2) / 2 + (0.25 + 3) / 2)
    assert float(term.generator(make_inputs(1, fake_output=fake))) == pytest.approx((1.75 - 2) / 2)
    assert HingeConfig.signed
