"""The filtered nonlinearity against one that puts zeros between values, its derivatives, and what it keeps."""

import pytest
import torch
import torch.nn.functional as F

from t2igan.layers.alias_free import FilteredNonlinearity

# sides before and after, rates before and after: equal rates, up by four, and the last one, which crops
CASES = [((38, 36), (16, 16)), ((38, 52), (16, 32)), ((54, 32), (32, 32))]


def nonlinearity(sides, rates, radial=False, clamp=256.0) -> FilteredNonlinearity:
    return FilteredNonlinearity(sides, rates, (3.0, 5.0), (2.5, 4.0), radial, clamp).double()


def reference(layer: FilteredNonlinearity, x, side: int):
    """By the release's steps: zeros between values, padding or cropping, a filter, the activation, a filter, every D-th value."""
    up, down, k, m = layer.up, layer.down, len(layer.up_taps), len(layer.down_taps)
    b, c, h, _ = x.shape
    z = x.new_zeros(b, c, h * up, h * up)
    z[:, :, ::up, ::up] = x
    total = (side - 1) * down + 1 - h * up + k + m - 2
    before = (total + up) // 2
    z = F.pad(z, (before, total - before, before, total - before))
    kernel = layer.up_taps[:, None] * layer.up_taps
    z = F.conv2d(z, kernel.expand(c, 1, -1, -1), groups=c)
    z = F.leaky_relu(z, 0.2) * 2**0.5
    z = z if layer.bound is None else z.clamp(-layer.bound * 2**0.5, layer.bound * 2**0.5)
    kernel = (layer.down_taps if layer.radial else layer.down_taps[:, None] * layer.down_taps) / 2**0.5
    return F.conv2d(z, kernel.expand(c, 1, -1, -1), groups=c)[:, :, ::down, ::down]


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(("sides", "rates"), CASES)
def test_it_equals_the_one_with_zeros_between_values(sides, rates, radial):
    layer = nonlinearity(sides, rates, radial, clamp=1.5)
    x = torch.randn(2, 3, sides[0], sides[0], dtype=torch.float64, requires_grad=True)
    y, expected = layer(x), reference(layer, x, sides[1])
    assert y.shape[-1] == sides[1] and torch.allclose(y, expected)
    weight = torch.randn_like(y)
    (found,), (other,) = (torch.autograd.grad((out * weight).sum(), x) for out in (y, expected))
    assert torch.allclose(found, other)
    with torch.no_grad():
        assert torch.equal(layer(x), y), "without a graph, the same"


def test_it_can_be_differentiated_twice():
    layer = nonlinearity((14, 12), (8, 8))
    x = torch.randn(1, 1, 14, 14, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x) and torch.autograd.gradgradcheck(layer, x)


def test_it_keeps_the_map_inside_once():
    layer, kept = nonlinearity((38, 36), (16, 16)), []
    x = torch.randn(2, 3, 38, 38, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = layer(x)
    assert not kept, "autograd keeps nothing itself"
    assert y.grad_fn.inside.shape == (2, 3, 82, 82) and (y.grad_fn.inside < 0).any()


def test_without_a_bound_nothing_is_clamped():
    layer = nonlinearity((38, 36), (16, 16), clamp=None)
    x = 1e4 * torch.randn(1, 2, 38, 38, dtype=torch.float64)
    assert torch.allclose(layer(x), reference(layer, x, 36)) and layer(x).abs().max() > 1000


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(("sides", "rates"), CASES)
def test_products_with_matrices_are_the_same_filters(sides, rates, radial, monkeypatch):
    layer = nonlinearity(sides, rates, radial, clamp=1.5)
    x = torch.randn(2, 3, sides[0], sides[0], dtype=torch.float64, requires_grad=True)
    expected, weight = layer(x), torch.randn(2, 3, sides[1], sides[1], dtype=torch.float64)
    asked = []
    monkeypatch.setattr(FilteredNonlinearity, "multiplies", lambda self, x: not asked.append(x.dtype))
    found = layer(x)
    assert asked and torch.allclose(found, expected, atol=1e-6)  # matrices are made in float32
    (one,), (other,) = (torch.autograd.grad((out * weight).sum(), x) for out in (found, expected))
    assert torch.allclose(one, other, atol=1e-6)


def test_half_precision_on_a_cpu_takes_the_matrices():
    layer = FilteredNonlinearity((38, 36), (16, 16), (3.0, 5.0), (2.5, 4.0), False, 256.0)
    x = torch.randn(2, 3, 38, 38)
    assert layer.multiplies(x.bfloat16()) and not layer.multiplies(x)
    assert not FilteredNonlinearity((1044, 1024), (1024, 1024), (3.0, 5.0), (2.5, 4.0), False, 256.0).multiplies(x.bfloat16())
    assert (layer(x.bfloat16()) - layer(x)).abs().max() < 0.03 * layer(x).abs().max()
