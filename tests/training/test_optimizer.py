"""Adam by the recipe: rates, betas and decay at each image count, steps that are skipped, and its state on disk."""

import pytest
import torch
from torch import nn

from t2igan.config import OptimizerConfig, ParameterGroup
from t2igan.schedule import Schedule, constant
from t2igan.training.checkpoint import Checkpoints, RunState
from t2igan.training.optimizer import ScheduledAdam
from t2igan.types import TrainingTime

BATCH = 8


def make(config: OptimizerConfig | None = None) -> tuple[nn.Module, ScheduledAdam]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 2, 3)).to(memory_format=torch.channels_last)
    return model, ScheduledAdam(model, config or OptimizerConfig(lr=constant(0.01)), "training.generator_optimizer")


def take(model: nn.Module, optimizer: ScheduledAdam, first: int, last: int) -> list[float]:
    norms = []
    for step in range(first, last):
        x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        model(x).square().mean().backward()
        norms.append(float(optimizer.step(TrainingTime(BATCH * step, step, BATCH))))
    return norms


# ------------------------------------------------------------------------------------------------ rates


def test_rate_follows_the_schedule_times_the_warmup():
    config = OptimizerConfig(lr=Schedule("linear", 0.004, 0.0, 0, 80), warmup=32)
    model, optimizer = make(config)
    for step in range(6):
        take(model, optimizer, step, step + 1)
        expected = 0.004 * (1 - 8 * step / 80) * min(1, 8 * (step + 1) / 32)
        assert optimizer.lr == pytest.approx(expected)
        assert all(group["lr"] == pytest.approx(expected) for group in optimizer.adam.param_groups)


def test_betas_follow_their_schedules():
    model, optimizer = make(OptimizerConfig(betas=(Schedule("cosine", 0.9, 0.0, 0, 32), Schedule("linear", 0.9, 0.99, 0, 32))))
    found = []
    for step in range(6):
        take(model, optimizer, step, step + 1)
        found.append(optimizer.adam.param_groups[0]["betas"])
    expected_first = [0.9, 0.9 * (1 + 0.5**0.5) / 2, 0.45, 0.9 * (1 - 0.5**0.5) / 2, 0.0, 0.0]
    assert [beta for beta, _ in found] == pytest.approx(expected_first)
    assert [beta for _, beta in found] == pytest.approx([0.9, 0.9225, 0.945, 0.9675, 0.99, 0.99])


def test_a_groups_factor_multiplies_the_rate_and_its_decay_replaces_the_optimizers():
    groups = (ParameterGroup(match="0.*", lr=3.0, weight_decay=0.5), ParameterGroup(match="2.weight", weight_decay=0.0))
    model, optimizer = make(OptimizerConfig(lr=constant(0.01), weight_decay=0.1, groups=groups))
    take(model, optimizer, 0, 1)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.adam.param_groups for p in g["params"]}
    assert found == {"0.weight": (0.03, 0.5), "0.bias": (0.03, 0.5), "2.weight": (0.01, 0.0), "2.bias": (0.01, 0.1)}


def test_factor_and_decay_are_what_moves_the_weights():
    """Adam's first update is the rate in each entry's direction; decay comes on top."""
    groups = (ParameterGroup(match="0.weight", lr=3.0), ParameterGroup(match="2.weight", weight_decay=0.5))
    model, optimizer = make(OptimizerConfig(lr=constant(0.01), groups=groups))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step(TrainingTime(0, batch=BATCH))
    for name, p in model.named_parameters():
        decayed = before[name] * (1 - 0.01 * (0.5 if name == "2.weight" else 0.0))
        expected = decayed - 0.01 * (3 if name == "0.weight" else 1)
        assert torch.allclose(p, expected, atol=1e-6), name


def test_the_reported_rate_is_the_optimizers_own_whatever_the_groups():
    groups = (ParameterGroup(match="*", lr=4.0),)
    model, optimizer = make(OptimizerConfig(lr=constant(0.01), groups=groups))
    take(model, optimizer, 0, 1)
    assert optimizer.lr == pytest.approx(0.01)


# ------------------------------------------------------------------------------------------------ gradients


def test_a_step_returns_the_norm_of_all_gradients_and_removes_them():
    model, optimizer = make()
    for p in model.parameters():
        p.grad = torch.full_like(p, 2.0)
    count = sum(p.numel() for p in model.parameters())
    assert float(optimizer.step(TrainingTime(0))) == pytest.approx(2 * count**0.5)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_a_gradient_that_is_not_finite_leaves_weights_and_moments(poison):
    model, optimizer = make()
    take(model, optimizer, 0, 2)
    state = {name: value.clone() for name, value in optimizer.state().items()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model[2].bias.grad[1] = poison
    assert not optimizer.step(TrainingTime(16)).isfinite() and optimizer.skipped == 1
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(torch.equal(value, state[name]) for name, value in optimizer.state().items())
    assert all(p.grad is None for p in model.parameters()) and optimizer.skipped_in_a_row == 1
    take(model, optimizer, 2, 3)
    assert (optimizer.skipped, optimizer.skipped_in_a_row) == (1, 0)


# ------------------------------------------------------------------------------------------------ state


STATE = RunState(3, 1, 23, "ab12", 0, {"G": 0, "D": 0}, None)


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run", keep=2)


def test_a_restored_optimizer_goes_on_bit_for_bit(checkpoints):
    straight, optimizer = make()
    take(straight, optimizer, 0, 6)
    before, optimizer = make()
    take(before, optimizer, 0, 3)
    path = checkpoints.write({"model": before.state_dict(), "moments": optimizer.state()}, STATE)
    after, optimizer = make()
    read, _ = checkpoints.read(path)
    after.load_state_dict(read["model"])
    optimizer.load_state(read["moments"])
    take(after, optimizer, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(after.parameters(), straight.parameters(), strict=True))


def test_restored_moments_keep_their_parameters_memory_layout(checkpoints):
    model, optimizer = make()
    take(model, optimizer, 0, 1)
    path = checkpoints.write({"moments": optimizer.state()}, STATE)
    model, optimizer = make()
    optimizer.load_state(checkpoints.read(path)[0]["moments"])
    weight = model[0].weight
    assert optimizer.adam.state[weight]["exp_avg_sq"].stride() == weight.stride() != weight.contiguous().stride()


def test_a_restored_step_is_float32_on_its_parameters_device():
    """Where a fused Adam counts; the other tensors of the state take their parameter's type."""
    model, optimizer = make()
    take(model, optimizer, 0, 2)
    saved = {name: value.long() if name.endswith("/step") else value for name, value in optimizer.state().items()}
    _, other = make()
    other.load_state(saved)
    assert all(state["step"].dtype == torch.float32 and state["step"] == 2 for state in other.adam.state.values())
    other.module.to("meta")
    other.adam.state.clear()
    other.load_state(saved)
    assert len(other.adam.state) == 4
    assert {(state["step"].device.type, state["exp_avg"].device.type) for state in other.adam.state.values()} == {("meta", "meta")}


def test_state_of_another_network_is_an_error():
    model, optimizer = make()
    take(model, optimizer, 0, 1)
    _, other = make()
    with pytest.raises(KeyError, match=r"9\.weight"):
        other.load_state({"9.weight/exp_avg": torch.zeros(2)})
