"""Convolutions with derivatives of every order."""

import pytest
import torch
import torch.nn.functional as F

from t2igan.layers import convolution
from t2igan.layers.convolution import conv2d


@pytest.mark.parametrize(("groups", "k"), [(1, 3), (2, 3), (4, 1)])
def test_values_and_derivatives_of_two_orders_are_those_of_torch(groups, k):
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 8 // groups, k, k, dtype=torch.float64, requires_grad=True)

    def penalty(conv):
        y = conv(x, weight).tanh()
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y, torch.autograd.grad(gradient.square().sum() + y.pow(3).sum(), (x, weight))

    ours, theirs = (
        penalty(lambda x, w: conv2d(x, w, groups)),
        penalty(lambda x, w: F.conv2d(x, w, padding=k // 2, groups=groups)),
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


def test_a_gradient_in_the_image_alone_computes_none_in_a_weight(monkeypatch):
    x, weight = torch.randn(2, 4, 5, 5, requires_grad=True), torch.randn(4, 2, 3, 3, requires_grad=True)
    y = conv2d(conv2d(x, weight, 2).tanh(), weight, 2)
    counted = []
    found = convolution.gradient_of
    monkeypatch.setattr(convolution, "gradient_of", lambda *args, of_input: counted.append(of_input) or found(*args, of_input=of_input))
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert counted == [True, True]
    gradient.square().sum().backward()
    assert counted.count(False) == 3 and weight.grad.abs().sum() > 0  # one each by the gradient's two convolutions, one through tanh
