"""Adaptive convolution against its definition, and what it must never build."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from t2igan.layers.folded import fold
from t2igan.layers.modulation import EPS, AdaptiveConv2d, choose_strategy, kernel_weights_of, mixed_conv, scale_of

MIXING = ("output_mix", "input_mix", "grouped")
CASES = [("dense", 1, 3)] + [(strategy, n, 3) for strategy in MIXING for n in (1, 2, 5, 8)] + [("grouped", 5, 1), (None, 5, 3)]


def affine(linear, w):
    return (linear.weight * linear.gain) @ w + linear.bias


def loop_over_samples(layer: AdaptiveConv2d, x, style, gain: float = 1.0):
    """Equation by equation and sample by sample: select a kernel, modulate it, demodulate it, convolve."""
    bank = (layer.weight / layer.weight[0].numel() ** 0.5).unflatten(0, (layer.num_kernels, -1))
    done = []
    for one, w in zip(x, style, strict=True):
        scale = affine(layer.modulate, w)
        kernel_weights = w.new_ones(1) if layer.kernel_selector is None else affine(layer.kernel_selector, w).softmax(0)
        kernel = sum(share * one_kernel for share, one_kernel in zip(kernel_weights, bank, strict=True)) * scale[:, None, None]
        if layer.demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + EPS).sqrt()
        y = F.conv2d(one[None], kernel, padding=kernel.shape[-1] // 2)
        done.append(gain * (y if layer.bias is None else y + layer.bias))
    return torch.cat(done)


def value_and_gradients(function, layer, x, style):
    x, style = x.clone().requires_grad_(), style.clone().requires_grad_()
    y = function(x, style)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=y.dtype)
    return y, torch.autograd.grad((y * weights).sum(), [x, style, *layer.parameters()])


@pytest.mark.parametrize(("strategy", "num_kernels", "kernel_size"), CASES)
def test_modulated_conv_equals_a_loop_over_samples(strategy, num_kernels, kernel_size, randomised):
    layer = randomised(AdaptiveConv2d(6, 7, 5, kernel_size, num_kernels, strategy=strategy, output_gain=1.5)).double()
    x, style = torch.randn(3, 6, 5, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    y, gradients = value_and_gradients(layer, layer, x, style)
    expected, expected_gradients = value_and_gradients(lambda x, style: loop_over_samples(layer, x, style, 1.5), layer, x, style)
    assert y.dtype == torch.float64
    assert (y - expected).abs().max() < 1e-10
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        assert wanted.abs().max() > 1e-3, "the reference must depend on everything"
        assert (got - wanted).abs().max() < 1e-10


@pytest.mark.parametrize("bias", [True, False])
def test_without_demodulation_it_is_the_loop_too(bias, randomised):
    layer = randomised(AdaptiveConv2d(6, 3, 5, 1, demodulate=False, bias=bias, output_gain=1.5)).double()
    assert ("bias" in layer.state_dict()) == bias
    x, style = torch.randn(2, 6, 4, 4, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    assert (layer(x, style) - loop_over_samples(layer, x, style, 1.5)).abs().max() < 1e-12


def test_single_precision_is_as_exact_as_single_precision_is():
    layer = AdaptiveConv2d(32, 32, 16, 3, 8)
    x, style = torch.randn(4, 32, 8, 8), torch.randn(4, 16)
    y = layer(x, style)
    exact = loop_over_samples(layer.double(), x.double(), style.double())
    assert y.dtype == torch.float32
    assert (y - exact).abs().max() < 1e-5


@pytest.mark.parametrize("first", [torch.float32, torch.bfloat16])  # of the map that comes in
@pytest.mark.parametrize("strategy", MIXING)
def test_bf16_autocast_keeps_scales_kernel_weights_and_norms_in_single_precision(strategy, first):
    layer = AdaptiveConv2d(32, 32, 16, 3, 4, strategy=strategy)
    x, style = torch.randn(4, 32, 8, 8).to(first), torch.randn(4, 16)
    exact = loop_over_samples(layer, x.float(), style)
    for tried in (layer, fold(deepcopy(layer))):
        with torch.autocast("cpu", torch.bfloat16):
            y = tried(x, style)
        assert y.dtype == torch.bfloat16, "maps stay in bf16: half the memory"
        assert (y.float() - exact).norm() / exact.norm() < 0.01
    with torch.autocast("cpu", torch.bfloat16):
        kernel_weights, scale = kernel_weights_of(layer.kernel_selector, style), scale_of(layer.modulate, style)
    assert torch.equal(kernel_weights, kernel_weights_of(layer.kernel_selector, style)), "no rounding to bf16"
    assert torch.equal(scale, scale_of(layer.modulate, style))


def test_bf16_autocast_does_not_round_the_bias_of_an_image():
    layer = AdaptiveConv2d(8, 3, 16, 1, demodulate=False)
    torch.nn.init.constant_(layer.bias, 0.9)  # a white ground
    x, style = 0.01 * torch.randn(2, 8, 4, 4), torch.randn(2, 16)
    exact = layer(x, style)
    for tried in (layer, fold(deepcopy(layer))):
        with torch.autocast("cpu", torch.bfloat16):
            y = tried(x, style)
        assert (y.float() - exact).abs().max() < 5e-4, "the ground itself in bf16 would be 0.8984"


@pytest.mark.parametrize("num_kernels", [1, 4])
def test_demodulated_output_has_unit_variance(num_kernels, randomised):
    layer = randomised(AdaptiveConv2d(64, 48, 16, 3, num_kernels, bias=False))  # any weights and scales, not only the initial ones
    x = torch.randn(16, 64, 20, 20)
    y = layer(x, 3 * torch.randn(16, 16))[:, :, 1:-1, 1:-1]  # at the border a part of the kernel sees nothing
    assert abs(y.var() - 1) < 0.02
    assert (y.var((0, 2, 3)) - 1).abs().max() < 0.15


def test_kernel_weights_are_convex_and_start_near_uniform():
    layer = AdaptiveConv2d(4, 4, 64, 3, 5)
    kernel_weights = kernel_weights_of(layer.kernel_selector, torch.randn(100, 64))
    assert torch.allclose(kernel_weights.sum(1), torch.ones(100))
    assert (kernel_weights > 0).all()
    assert (kernel_weights.mean(0) - 0.2).abs().max() < 0.1


def test_dense_refuses_a_bank():
    with pytest.raises(ValueError, match="output_mix"):
        mixed_conv(torch.randn(1, 2, 4, 4), torch.randn(2, 3, 2, 3, 3), torch.ones(1, 2), "dense")


# Measured choices: side, channels, N, what to choose.
PAPER = [(4, 1600, 1, "dense"), (8, 1600, 1, "dense"), (16, 1024, 2, "output_mix"), (32, 512, 4, "grouped"), (64, 256, 8, "grouped")]


@pytest.mark.parametrize(("side", "channels", "num_kernels", "expected"), PAPER)
def test_the_rule_at_the_papers_sizes(side, channels, num_kernels, expected):
    assert choose_strategy(num_kernels, side * side, channels, 9) == expected


class Largest(TorchDispatchMode):
    """The greatest number of elements of any tensor that any operation makes, forward and backward."""

    def __init__(self):
        super().__init__()
        self.elements, self.operations = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.operations.add(func.overloadpacket.__name__)
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def largest_tensor(function, x, style, parameters) -> int:
    with Largest() as seen:
        torch.autograd.grad(function(x, style).square().sum(), [x, style, *parameters])
    assert "convolution_backward" in seen.operations, "the backward pass must be watched too"
    return seen.elements


def naive_bank_expansion(layer: AdaptiveConv2d):
    """What users of other implementations run out of memory with: every sample gets a modulated copy of the whole bank."""

    def forward(x, style):
        bank = (layer.weight / layer.weight[0].numel() ** 0.5).unflatten(0, (layer.num_kernels, -1))
        scaled = bank[None] * layer.modulate(style)[:, None, None, :, None, None]
        kernels = (scaled * kernel_weights_of(layer.kernel_selector, style)[:, :, None, None, None, None]).sum(1)
        kernels = kernels / (kernels.square().sum((2, 3, 4), keepdim=True) + EPS).sqrt()
        y = F.conv2d(x.flatten(0, 1)[None], kernels.flatten(0, 1), padding=1, groups=len(x)).unflatten(1, (len(x), -1))[0]
        return y + layer.bias

    return forward


# Sizes at which every tensor that may exist (activations, the bank, its Gram matrices, one mixed kernel per sample) stays below the limit.
SIZES = dict(batch=16, channels=32, num_kernels=12, side=4)  # 12 kernels: more than 3 x 3 taps


@pytest.mark.parametrize("strategy", [*MIXING, None])
def test_no_tensor_of_batch_kernels_out_and_in_exists(strategy):
    layer = AdaptiveConv2d(SIZES["channels"], SIZES["channels"], 8, 3, SIZES["num_kernels"], strategy=strategy)
    x = torch.randn(SIZES["batch"], SIZES["channels"], SIZES["side"], SIZES["side"], requires_grad=True)
    style = torch.randn(SIZES["batch"], 8, requires_grad=True)
    limit = SIZES["batch"] * SIZES["num_kernels"] * SIZES["channels"] ** 2  # without taps: stricter by a factor of nine
    assert largest_tensor(layer, x, style, layer.parameters()) < limit


@pytest.mark.parametrize("num_kernels", [1, 2, 8])
@pytest.mark.parametrize("side", [4, 16])
def test_no_tensor_of_batch_and_bank_exists_whichever_way_is_chosen(num_kernels, side):
    batch, channels = 16, 64
    layer = AdaptiveConv2d(channels, channels, 8, 3, num_kernels)
    x, style = torch.randn(batch, channels, side, side, requires_grad=True), torch.randn(batch, 8, requires_grad=True)
    assert largest_tensor(layer, x, style, layer.parameters()) < batch * num_kernels * channels**2 * 9


def test_one_kernel_is_never_copied_per_sample():
    layer = AdaptiveConv2d(64, 64, 8, 3, 1)
    x, style = torch.randn(8, 64, 4, 4, requires_grad=True), torch.randn(8, 8, requires_grad=True)
    assert largest_tensor(layer, x, style, layer.parameters()) < 8 * 64 * 64 * 3


def test_the_watch_catches_a_naive_expansion():
    layer = AdaptiveConv2d(SIZES["channels"], SIZES["channels"], 8, 3, SIZES["num_kernels"])
    x = torch.randn(SIZES["batch"], SIZES["channels"], SIZES["side"], SIZES["side"], requires_grad=True)
    style = torch.randn(SIZES["batch"], 8, requires_grad=True)
    naive = naive_bank_expansion(layer)
    assert torch.allclose(naive(x, style), layer(x, style), atol=1e-4)
    whole = SIZES["batch"] * SIZES["num_kernels"] * SIZES["channels"] ** 2 * 9
    assert largest_tensor(naive, x, style, layer.parameters()) >= whole
