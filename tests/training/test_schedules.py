"""Numbers that papers schedule: each step takes the values of its image count."""

import pytest
import torch
from tiny import take_steps

from t2igan.errors import UserError

pytest_plugins = ["kit"]
AT = 40  # images seen before the step
SCHEDULED = {
    "betas": [{"linear": [0.0, 0.8, 80]}, {"cosine": [0.9, 0.99, 0, 80]}],
    "lr": {"cosine": [0.004, 0.002, 20, 60]},
}
RESOLVED = {"betas": [0.4, 0.945], "lr": 0.003}


def run_at(tiny, optimizer, half_life, gamma, probability):
    run = tiny(
        training__generator_optimizer=optimizer,
        training__discriminator_optimizer=optimizer,
        training__ema={"half_life": half_life, "rampup": None},
        training__cluster_features=None,
        augment__probability=probability,
        objective__discriminator=[{"kind": "nonsaturating"}, {"kind": "r1", "gamma": gamma}],
        objective__generator=[{"kind": "nonsaturating"}],
    )
    run.trainer.images, run.trainer.steps = AT, AT // 8
    return run


def test_a_step_of_schedules_is_the_step_of_their_values(tiny):
    """The average's half-life is that of the clock after the step."""
    scheduled = run_at(tiny, SCHEDULED, {"linear": [10, 70, 96]}, {"linear": [2.0, 0.0, 80]}, {"linear": [0.2, 1.0, 80]})
    resolved = run_at(tiny, RESOLVED, 40, 1.0, 0.6)
    initial = run_at(tiny, {"betas": [0.0, 0.9], "lr": 0.004}, 10, 2.0, 0.2)
    a, b, c = (take_steps(run, 1)[0] for run in (scheduled, resolved, initial))
    assert a.keys() == b.keys() == c.keys()
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=1e-5), name
    assert not torch.allclose(a["D/r1"], c["D/r1"], rtol=1e-2) and not torch.equal(a["D/logit_real"], c["D/logit_real"])
    group = scheduled.trainer.g_optimizer.adam.param_groups[0]
    assert group["betas"] == pytest.approx((0.4, 0.945)) and group["lr"] == pytest.approx(0.003)
    for one, other in ((scheduled.trainer, resolved.trainer), (scheduled.trainer, initial.trainer)):
        average = [
            torch.allclose(x, y, rtol=1e-5, atol=1e-7)
            for x, y in zip(one.ema.model.parameters(), other.ema.model.parameters(), strict=True)
        ]
        assert all(average) is (other is resolved.trainer)


def test_the_average_forgets_by_the_half_life_of_its_time(tiny):
    run = tiny(training__ema={"half_life": {"linear": [8, 24, 16]}, "rampup": None}, training__cluster_features=None)
    ema = run.trainer.ema
    assert [ema.decay(images, 8) for images in (0, 8, 16, 100)] == pytest.approx([0.5, 0.5**0.5, 0.5 ** (1 / 3), 0.5 ** (1 / 3)])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training__generator_optimizer", {"betas": [0.0, {"linear": [0.9, 1.0, 80]}]}, "betas.1 is .*needs a number from 0 to below 1"),
        ("augment__probability", {"linear": [0.0, 1.5, 80]}, "probability is .*needs a number from 0 to 1"),
        ("objective__discriminator", [{"kind": "r1", "gamma": {"linear": [1, -1, 80]}}], "0.gamma is .*needs 0 or more"),
    ],
)
def test_both_ends_of_a_schedule_must_be_allowed(path, value, message, tiny):
    with pytest.raises(UserError, match=message):
        tiny(**{path: value})
