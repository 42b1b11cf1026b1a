"""Convolutions with derivatives of every order."""

import pytest
import torch
import torch.nn.functional as F

from t2igan.layers import convolution
from t2igan.layers.convolution import conv2d, depthwise


@pytest.mark.parametrize(("groups", "k", "stride"), [(1, 3, 1), (2, 3, 1), (4, 1, 1), (2, 3, 2)])
def test_values_and_derivatives_of_two_orders_are_those_of_torch(groups, k, stride):
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 8 // groups, k, k, dtype=torch.float64, requires_grad=True)

    def penalty(conv):
        y = conv(x, weight).tanh()
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y, torch.autograd.grad(gradient.square().sum() + y.pow(3).sum(), (x, weight))

    ours, theirs = (
        penalty(lambda x, w: conv2d(x, w, groups, stride)),
        penalty(lambda x, w: F.conv2d(x, w, stride=stride, padding=k // 2, groups=groups)),
    )
    assert torch.equal(ours[0], theirs[0])
    for a, b in zip(ours[1], theirs[1], strict=True):
        assert (a - b).abs().max() < 1e-10 * b.abs().max()


def test_gradients_of_the_gradients_equal_finite_differences():
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: conv2d(x, w, 2), (x, weight))
    assert torch.autograd.gradgradcheck(lambda x, w: conv2d(x, w, 2), (x, weight))


def test_autocast_takes_its_dtype_and_gradients_keep_the_parameters():
    x, weight = torch.randn(2, 4, 5, 5), torch.randn(4, 2, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv2d(x, weight, 2)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16 and weight.grad.dtype == torch.float32


def test_a_fixed_kernel_has_the_same_derivatives_and_no_gradient_of_its_own(monkeypatch):
    x, kernel = torch.randn(2, 3, 9, 8, dtype=torch.float64, requires_grad=True), torch.randn(4, 4, dtype=torch.float64)

    def penalty(filter):
        y = filter(x).tanh()
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y, gradient, *torch.autograd.grad(gradient.square().sum() + y.pow(3).sum(), x)

    theirs = penalty(lambda x: F.conv2d(x, kernel.expand(3, 1, 4, 4), stride=2, padding=1, groups=3))
    monkeypatch.setattr(convolution._OfWeight, "forward", None)  # whoever asks for it fails
    for a, b in zip(penalty(lambda x: depthwise(x, kernel, stride=2, padding=1)), theirs, strict=True):
        assert (a - b).abs().max() < 1e-10 * b.abs().max()


def test_a_fixed_kernel_keeps_the_precision_of_the_map_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert depthwise(torch.randn(1, 2, 5, 5), torch.ones(3, 3)).dtype == torch.float32
        assert depthwise(torch.randn(1, 2, 5, 5).bfloat16(), torch.ones(3, 3)).dtype == torch.bfloat16
