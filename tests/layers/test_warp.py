"""Bilinear sampling with derivatives of every order in the image."""

import torch
import torch.nn.functional as F

from t2igan.layers.warp import warp


def inputs():
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    return x, torch.rand(2, 4, 7, 2, dtype=torch.float64) * 2.6 - 1.3


def test_values_and_gradients_are_those_of_grid_sample():
    x, grid = inputs()
    y = warp(x, grid)
    expected = F.grid_sample(x, grid, align_corners=False)
    assert torch.equal(y, expected)
    weight = torch.randn_like(y)
    (a,), (b,) = (torch.autograd.grad((out * weight).sum(), x) for out in (y, expected))
    assert torch.allclose(a, b, atol=1e-12)


def test_second_derivatives_equal_finite_differences():
    x, grid = inputs()
    assert torch.autograd.gradcheck(lambda x: warp(x, grid), (x,))
    assert torch.autograd.gradgradcheck(lambda x: warp(x, grid).square(), (x,))
