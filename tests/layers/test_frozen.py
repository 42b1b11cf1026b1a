"""A frozen network leaves no trace in the module that holds it."""

import copy

import pytest
import torch
from torch import nn

from t2igan.layers.frozen import Frozen


class Holder(nn.Module):
    """A trained layer on a frozen network."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 1)
        self.tower = Frozen(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))

    def forward(self, x):
        return self.head(self.tower(x))


@pytest.fixture
def holder():
    return Holder()


def test_the_holder_has_its_own_weights_alone(holder):
    own = {"head.weight", "head.bias"}
    assert set(holder.state_dict()) == {name for name, _ in holder.named_parameters()} == own
    assert [name for name, _ in holder.named_modules()] == ["", "head"] and not list(holder.buffers())


def test_a_copy_of_the_holder_shares_the_frozen_network(holder):
    average = copy.deepcopy(holder)
    assert average.tower.network[0].weight is holder.tower.network[0].weight
    assert average.head.weight is not holder.head.weight
    x = torch.randn(2, 4)
    assert torch.equal(average(x), holder(x))


def test_gradients_pass_through_the_network_and_do_not_stay_in_it(holder):
    x = torch.randn(2, 4, requires_grad=True)
    holder(x).sum().backward()
    expected = (
        holder.head.weight
        @ (holder.tower.network[1].weight / (1 + holder.tower.network[1].eps) ** 0.5 * torch.eye(3))
        @ (holder.tower.network[0].weight)
    )
    assert torch.allclose(x.grad, expected.expand(2, 4), atol=1e-6)
    assert all(p.grad is None and not p.requires_grad for p in holder.tower.network.parameters())
    assert holder.head.weight.grad.any()


def test_it_stays_in_eval_mode_when_its_holder_trains(holder):
    means = holder.tower.network[1].running_mean.clone()
    holder.train()(torch.randn(8, 4) + 5)
    assert not holder.tower.network.training
    assert torch.equal(holder.tower.network[1].running_mean, means)


def test_only_its_own_to_moves_it(holder):
    holder.double()
    assert holder.tower.network[0].weight.dtype == torch.float32
    assert holder.tower.to(torch.float64) is holder.tower
    assert holder.tower.network[0].weight.dtype == torch.float64
    assert holder(torch.randn(2, 4, dtype=torch.float64)).dtype == torch.float64
