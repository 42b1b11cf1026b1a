"""Equalised learning rate: unit variance at the start, and how fast weights move."""

import pytest
import torch
import torch.nn.functional as F

from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear, lrelu


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_linear_keeps_unit_variance_whatever_its_learning_rate(lr_multiplier):
    layer = EqualizedLinear(300, 200, lr_multiplier=lr_multiplier)
    y = layer(torch.randn(500, 300))
    assert abs(y.std() - 1) < 0.02
    assert abs(y.mean()) < 0.02


def test_linear_is_the_scaled_product():
    layer = EqualizedLinear(5, 3, bias_init=0.7, lr_multiplier=0.1).double()
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    assert torch.allclose(layer(x), x @ (layer.weight * 0.1 / 5**0.5).T + 0.7)


def test_one_adam_step_moves_the_function_by_the_learning_rate_multiplier():
    def moved(lr_multiplier):
        torch.manual_seed(0)
        layer, x = EqualizedLinear(50, 20, lr_multiplier=lr_multiplier), torch.randn(8, 50)
        before = layer(x)
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
        before.sum().backward()
        optimizer.step()
        return (layer(x) - before).norm().item()

    assert moved(0.01) == pytest.approx(0.01 * moved(1.0), rel=0.01)


def test_bias_starts_at_its_initial_value_whatever_the_multiplier():
    assert torch.allclose(EqualizedLinear(4, 3, bias_init=1.0, lr_multiplier=0.01)(torch.zeros(1, 4)), torch.ones(1, 3))
    assert EqualizedLinear(4, 3, bias=False).bias is None


def test_convolution_keeps_unit_variance():
    y = EqualizedConv2d(64, 64)(torch.randn(4, 64, 18, 18))[:, :, 1:-1, 1:-1]
    assert abs(y.std() - 1) < 0.05


@pytest.mark.parametrize(("kernel_size", "stride", "side"), [(3, 1, 8), (1, 1, 8), (3, 2, 4)])
def test_convolution_is_the_scaled_one_with_same_padding(kernel_size, stride, side):
    layer = EqualizedConv2d(4, 5, kernel_size, stride).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (2, 5, side, side)
    assert torch.allclose(y, F.conv2d(x, layer.weight / (4 * kernel_size**2) ** 0.5, layer.bias, stride, kernel_size // 2))


def test_convolution_multiplies_its_output_by_a_gain(randomised):
    layer, plain = randomised(EqualizedConv2d(4, 5, output_gain=1.5)), EqualizedConv2d(4, 5)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, 8, 8)
    assert (layer(x) - 1.5 * plain(x)).abs().max() < 1e-5


@pytest.mark.parametrize(("padding", "side"), [(0, 5), (1, 7), (None, 8)])
def test_convolution_pads_by_as_many_zeros_as_given(padding, side):
    """None: half the kernel, rounded down. A 4x4 kernel without padding is what ends a discriminator."""
    kernel_size = 4 if padding is not None else 3
    layer = EqualizedConv2d(4, 5, kernel_size, padding=padding).double()
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (2, 5, side, side)
    zeros = kernel_size // 2 if padding is None else padding
    assert torch.allclose(y, F.conv2d(F.pad(x, (zeros,) * 4), layer.weight / (4 * kernel_size**2) ** 0.5, layer.bias))


def test_leaky_relu_has_stylegan2s_constants():
    assert torch.allclose(lrelu(torch.tensor([-1.0, 0.0, 2.0])), torch.tensor([-0.2, 0.0, 2.0]) * 2**0.5)
    assert torch.allclose(lrelu(torch.tensor([-1.0, 2.0]), gain=1.0), torch.tensor([-0.2, 2.0]))
