"""Parameters by pattern: which ones match, what later groups override, what frozen means."""

import pytest
import torch
from tiny import moved, record_gradients, take_steps, weights
from torch import nn

from t2igan.config import OptimizerConfig, ParameterGroup
from t2igan.errors import UserError
from t2igan.training.parameters import alternatives, freeze, frozen, matching, optimizer_groups, settings

pytest_plugins = ["kit"]
WHERE = "training.generator_optimizer"
ALL = {f"{layer}.{name}" for layer in ("stages.4", "stages.8", "stages.16", "out") for name in ("weight", "bias")}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleDict({side: nn.Linear(2, 2) for side in ("4", "8", "16")})
        self.out = nn.Linear(2, 1)


def config(*groups, **options) -> OptimizerConfig:
    return OptimizerConfig(groups=tuple(ParameterGroup(**group) for group in groups), **options)


# ------------------------------------------------------------------------------------------------ patterns


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ALL),
        ("*.bias", {"stages.4.bias", "stages.8.bias", "stages.16.bias", "out.bias"}),
        ("stages.[48].weight", {"stages.4.weight", "stages.8.weight"}),
        ("stages.{4,16}.weight", {"stages.4.weight", "stages.16.weight"}),
        ("{stages.8,out}.{weight,bias}", {"stages.8.weight", "stages.8.bias", "out.weight", "out.bias"}),
        ("stages.?.bias", {"stages.4.bias", "stages.8.bias"}),
        ("out.weight", {"out.weight"}),
        ("weight", set()),  # the whole name, not a part of it
        ("stages", set()),
        ("Out.*", set()),
    ],
)
def test_patterns_are_those_of_a_shell_over_whole_names(pattern, names):
    assert set(matching(Network(), pattern)) == names


def test_braces_are_expanded_everywhere():
    assert alternatives("a.{4,8}.{x,y}") == ["a.4.x", "a.4.y", "a.8.x", "a.8.y"]
    assert alternatives("no braces.*") == ["no braces.*"]


@pytest.mark.parametrize("call", [settings, freeze, optimizer_groups])
def test_a_pattern_that_matches_nothing_is_refused(call):
    with pytest.raises(UserError, match=r"generator_optimizer\.groups\.1 matches no parameter: 'stagse\.\*'.*stages\.4\.weight"):
        call(Network(), config({"match": "*", "lr": 1.0}, {"match": "stagse.*", "lr": 2.0}), WHERE)


def test_later_groups_override_earlier_ones_in_what_they_set():
    groups = (
        {"match": "stages.*", "lr": 3.0, "weight_decay": 0.2, "frozen": True},
        {"match": "*.bias", "weight_decay": 0.0},
        {"match": "stages.{8,16}.*", "frozen": False},
        {"match": "stages.16.*", "lr": 0.0},
    )
    found = settings(Network(), config(*groups, weight_decay=0.1), WHERE)
    assert found["stages.4.weight"] == {"lr": 3.0, "weight_decay": 0.2, "frozen": True}
    assert found["stages.4.bias"] == {"lr": 3.0, "weight_decay": 0.0, "frozen": True}
    assert found["stages.8.weight"] == {"lr": 3.0, "weight_decay": 0.2, "frozen": False}
    assert found["stages.16.bias"] == {"lr": 0.0, "weight_decay": 0.0, "frozen": False}
    assert found["out.weight"] == {"lr": 1.0, "weight_decay": 0.1, "frozen": False}
    assert found["out.bias"] == {"lr": 1.0, "weight_decay": 0.0, "frozen": False}


def test_every_parameter_that_is_trained_is_in_one_optimizer_group():
    network = Network()
    groups = config({"match": "stages.4.*", "frozen": True}, {"match": "*.weight", "weight_decay": 0.1}, {"match": "out.*", "lr": 2.0})
    freeze(network, groups, WHERE)
    found = optimizer_groups(network, groups, WHERE)
    names = {id(p): name for name, p in network.named_parameters()}
    members = [names[id(p)] for group in found for p in group["params"]]
    assert sorted(members) == sorted(name for name in names.values() if not name.startswith("stages.4."))
    assert len({(group["lr_factor"], group["weight_decay"]) for group in found}) == len(found) == 4


def test_a_network_with_nothing_to_train_is_refused():
    with pytest.raises(UserError, match=r"training\.generator_optimizer\.groups freezes every parameter; leave something to train"):
        freeze(Network(), config({"match": "*", "frozen": True}), WHERE)


# ------------------------------------------------------------------------------------------------ frozen by the recipe


def test_frozen_parameters_have_no_gradient_no_moments_and_never_change(tiny):
    optimizer = {"groups": [{"match": "synthesis.stages.{4,8}.*", "frozen": True}]}
    of_d = {"groups": [{"match": "stages.16.*", "frozen": True}]}
    run = tiny(training__generator_optimizer=optimizer, training__discriminator_optimizer=of_d, training__cluster_features=None)
    trainer = run.trainer
    cases = [
        (trainer.generator, trainer.g_optimizer, "G", ("synthesis.stages.4.", "synthesis.stages.8.")),
        (trainer.discriminator, trainer.d_optimizer, "D", ("stages.16.",)),
    ]
    before = [weights(module) for module, *_ in cases]
    average, gradients = weights(trainer.ema.model), record_gradients(trainer)
    take_steps(run, 3)
    for (module, optimizer, half, prefixes), old in zip(cases, before, strict=True):
        fixed = {name for name in old if name.startswith(prefixes)}
        assert len(fixed) > 3 and moved(module, old) == set(old) - fixed
        assert {name for name, p in module.named_parameters() if not p.requires_grad} == fixed, "as before the step"
        assert all(p.grad is None for p in module.parameters())
        assert set(gradients[half][0]) == set(old) - fixed
        assert {name.rpartition("/")[0] for name in optimizer.state()} == set(old) - fixed
    fixed = {name for name in average if name.startswith(cases[0][3])}
    assert moved(trainer.ema.model, average) == set(average) - fixed


# ------------------------------------------------------------------------------------------------ frozen for a while


def test_frozen_restores_every_flag():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].bias.requires_grad_(False)
    flags = [p.requires_grad for p in module.parameters()]
    with frozen(module):
        assert not any(p.requires_grad for p in module.parameters())
    assert [p.requires_grad for p in module.parameters()] == flags == [True, False, True, True]


def test_frozen_restores_flags_after_an_error():
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="boom"), frozen(module):
        raise RuntimeError("boom")
    assert all(p.requires_grad for p in module.parameters())


def test_gradients_pass_through_a_frozen_module_but_not_into_it():
    module, x = nn.Linear(2, 2), torch.randn(3, 2, requires_grad=True)
    with frozen(module):
        module(x).sum().backward()
    assert x.grad is not None and module.weight.grad is None
