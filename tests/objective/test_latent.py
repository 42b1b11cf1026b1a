"""Reading the latent's mode from the picture."""

import math

import pytest
import torch

from t2igan.objective.latent import ModeInformation


def test_known_readings(make_round, make_verdict):
    z = torch.randn(4, 6)
    chosen = z[:, :3].argmax(1)
    sure = 50 * torch.nn.functional.one_hot(chosen, 3).float()
    for modes, expected in ((sure, 0.0), (torch.zeros(4, 3), math.log(3)), (-sure, 50 + math.log(2))):
        round = make_round(4, z=z, fake_verdict=make_verdict([0.0] * 4, modes=modes))
        assert ModeInformation().discriminator(round).item() == pytest.approx(expected, abs=1e-5)
        assert ModeInformation().generator(round).item() == pytest.approx(expected, abs=1e-5)


def test_the_gradient_reaches_the_reader(make_round, make_verdict):
    modes = torch.zeros(4, 3, requires_grad=True)
    ModeInformation().generator(make_round(4, z=torch.randn(4, 6), fake_verdict=make_verdict([0.0] * 4, modes=modes))).backward()
    assert (modes.grad.abs().sum(1) > 0).all()
