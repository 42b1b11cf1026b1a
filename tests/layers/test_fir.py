"""The releases' filters against their numbers, as recorded in the lineage's facts."""

import pytest
import torch

from t2igan.layers import fir
from t2igan.layers.fir import (
    binomial_by_convolution,
    binomial_by_means,
    downsample_binomial,
    downsample_fir,
    upsample_binomial,
    upsample_fir,
)

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
UP = [upsample_binomial, lambda x: upsample_fir(x, TAPS)]
DOWN = [downsample_binomial, lambda x: downsample_fir(x, TAPS)]


@pytest.mark.parametrize("up", UP)
def test_upsampling_gives_the_releases_numbers(up):
    y = up(torch.arange(1.0, 10).view(1, 1, 3, 3))[0, 0]
    assert y.shape == (6, 6)
    assert torch.allclose(y[0], torch.tensor([0.5625, 0.9375, 1.3125, 1.6875, 2.0625, 1.6875]))
    assert torch.allclose(y[1], torch.tensor([1.3125, 2, 2.5, 3, 3.5, 2.8125]))


@pytest.mark.parametrize("down", DOWN)
def test_downsampling_gives_the_releases_numbers(down):
    y = down(torch.arange(1.0, 17).view(1, 1, 4, 4))[0, 0]
    assert torch.allclose(y, torch.tensor([[3.5, 4.703125], [8.3125, 9.515625]]))


def test_both_ways_of_computing_them_are_equal():
    x = torch.randn(2, 3, 8, 10, dtype=torch.float64)
    assert (upsample_binomial(x) - upsample_fir(x, TAPS)).abs().max() < 1e-12
    assert (downsample_binomial(x) - downsample_fir(x, TAPS)).abs().max() < 1e-12


def test_downsampling_is_the_transpose_of_upsampling_up_to_its_gain():
    """<up(x), y> = 4 <x, down(y)>, as the taps are symmetric."""
    x, y = torch.randn(1, 1, 5, 5, dtype=torch.float64), torch.randn(1, 1, 10, 10, dtype=torch.float64)
    assert torch.allclose((upsample_binomial(x) * y).sum(), 4 * (x * downsample_binomial(y)).sum())


def test_an_asymmetric_filter_is_convolved_on_the_way_up_and_correlated_on_the_way_down():
    x, taps = torch.zeros(1, 1, 5, 5), torch.tensor([0.5, 0.3, 0.15, 0.05])
    x[0, 0, 2, 2] = 1
    up = upsample_fir(x, taps)[0, 0]
    assert torch.allclose(up[3:7, 3:7], 4 * torch.outer(taps, taps))
    y = torch.randn(1, 1, 6, 6)
    padded = torch.nn.functional.pad(y, (1, 1, 1, 1))
    assert torch.allclose(downsample_fir(y, taps)[0, 0, 1, 1], (padded[0, 0, 2:6, 2:6] * torch.outer(taps, taps)).sum())


@pytest.mark.parametrize("taps", [TAPS.double(), torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))])
def test_dense_matrices_do_what_convolutions_do(taps, monkeypatch):
    x = torch.randn(2, 3, 12, 16, dtype=torch.float64, requires_grad=True)

    def run():
        y = downsample_fir(upsample_fir(x, taps, ((3, 0), (1, 5))).square(), taps, -4)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return y, gradient, torch.autograd.grad(gradient.square().sum(), x)[0]

    dense = run()
    monkeypatch.setattr(fir, "DENSE", 0)
    for a, b in zip(dense, run(), strict=True):
        assert a.shape == b.shape and (a - b).abs().max() < 1e-10 * (1 + b.abs().max())


@pytest.mark.parametrize("geometry", [(3, 1, 1), (4, 2, 1), (4, 1, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_binomial_filter_as_means_and_as_a_convolution_with_derivatives_of_two_orders(geometry, layout):
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64).to(memory_format=layout).requires_grad_()

    def penalty(filtered):
        y = filtered(x, *geometry).tanh()
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y, gradient, *torch.autograd.grad(gradient.square().sum() + y.pow(3).sum(), x)

    for a, b in zip(penalty(binomial_by_convolution), penalty(binomial_by_means), strict=True):
        assert a.shape == b.shape and (a - b).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_binomial_filter_keeps_the_precision_of_the_map_under_autocast(dtype):
    with torch.autocast("cpu", torch.bfloat16):
        assert downsample_binomial(torch.randn(1, 2, 4, 4, dtype=dtype)).dtype == dtype


def test_a_fixed_filter_keeps_no_map_for_the_backward_pass():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda x: x):
        downsample_binomial(torch.randn(1, 2, 4, 4, requires_grad=True))
    assert not kept
