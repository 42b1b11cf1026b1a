"""Folded layers against the layers that they stand for."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from t2igan.layers import folded
from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear
from t2igan.layers.folded import FoldedAdaptiveConv2d, fold
from t2igan.layers.modulation import AdaptiveConv2d, demodulation
from t2igan.style.mapping import MappingConfig, MappingNetwork
from t2igan.synthesis.generator import Generator
from t2igan.synthesis.gigagan import GigaGANSynthesis, GigaGANSynthesisConfig
from t2igan.synthesis.gigagan_upsampler import GigaGANUpsampler, GigaGANUpsamplerConfig

CASES = [("dense", 1, 3), (None, 1, 1), *((strategy, n, 3) for strategy in ("output_mix", "input_mix", "grouped", None) for n in (2, 5))]


@pytest.fixture(params=["as small layers", "as large layers"])
def ways(request, monkeypatch):
    """Each test with the convolutions that small layers take, and with those of large layers on a CPU."""
    if request.param == "as large layers":
        for name, value in (("MAX_PIXELS_GEMM", 10**9), ("MIN_KERNEL_GEMM", 0), ("MIN_FLOPS_SEPARATE", 0)):
            monkeypatch.setattr(folded, name, value)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("side", [4, 12])  # maps smaller than kernels, and larger
@pytest.mark.parametrize(("demodulate", "bias"), [(True, True), (False, False), (True, False)])
@pytest.mark.parametrize(("strategy", "num_kernels", "kernel_size"), CASES)
def test_a_folded_adaptive_convolution_is_the_trained_one(batch, side, demodulate, bias, strategy, num_kernels, kernel_size, randomised):
    layer = randomised(AdaptiveConv2d(6, 7, 5, kernel_size, num_kernels, demodulate, bias, strategy, output_gain=1.5)).double()
    x, style = torch.randn(batch, 6, side, side, dtype=torch.float64), torch.randn(batch, 5, dtype=torch.float64)
    expected = layer(x, style)
    got = fold(layer)(x, style)
    assert (got - expected).abs().max() < 1e-10 and expected.abs().max() > 0.1


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (EqualizedLinear(5, 7, bias_init=1.0, lr_multiplier=0.01), (3, 5)),
        (EqualizedLinear(5, 7, bias=False), (2, 3, 5)),
        (EqualizedConv2d(5, 7), (2, 5, 6, 6)),
        (EqualizedConv2d(5, 7, output_gain=1.5), (2, 5, 6, 6)),
        (EqualizedConv2d(5, 7, kernel_size=1, stride=2, bias=False), (2, 5, 6, 6)),
        (EqualizedConv2d(5, 7, kernel_size=4, padding=0), (2, 5, 4, 4)),
    ],
)
def test_folded_linear_layers_and_convolutions(layer, shape, randomised):
    layer, x = randomised(layer).double(), torch.randn(shape, dtype=torch.float64)
    folded_layer = fold(deepcopy(layer))
    assert type(folded_layer) in (nn.Linear, nn.Conv2d)
    assert (folded_layer(x) - layer(x)).abs().max() < 1e-12


def generator(kind: str) -> Generator:
    sizes = {
        "num_kernels": (1, 2, 3),
        "self_attention": (0, 1, 0),
        "cross_attention": (0, 1, 0),
        "channels": (12, 12, 8),
        "blocks": (1, 2, 1),
    }
    if kind == "base":
        synthesis = GigaGANSynthesis(GigaGANSynthesisConfig(**sizes, head_dim=4, input="style"), 8, 12)
    else:
        synthesis = GigaGANUpsampler(GigaGANUpsamplerConfig(**sizes, head_dim=4, low_resolution=8, num_downsamples=1), 8, 12)
    return Generator(None, MappingNetwork(MappingConfig(z_dim=6, style_dim=8, depth=2), 10), synthesis).eval().requires_grad_(False)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kind", ["base", "upsampler"])
def test_a_folded_generator_makes_the_same_images(kind, batch, descriptors, randomised):
    trained, text, z = randomised(generator(kind)), descriptors([5, 3][:batch]), torch.randn(batch, 6)
    condition = None if kind == "base" else torch.randn(batch, 3, 8, 8)
    expected = trained(z, text, condition=condition).pyramid
    inference = fold(deepcopy(trained))
    for ours, wanted in zip(inference(z, text, condition=condition).pyramid.levels, expected.levels, strict=True):
        assert (ours - wanted).abs().max() < 1e-4 * wanted.abs().max()
    left = [type(m).__name__ for m in inference.modules() if isinstance(m, AdaptiveConv2d | EqualizedLinear | EqualizedConv2d)]
    assert not left and any(isinstance(m, FoldedAdaptiveConv2d) for m in inference.modules())


def test_bf16_autocast_keeps_the_norms_in_single_precision(randomised, monkeypatch):
    layer, calls = randomised(AdaptiveConv2d(32, 32, 16, 3, 4)), []

    def watched(products, scale, kernel_weights):
        calls.append((torch.is_autocast_enabled("cpu"), products.dtype, scale.dtype, kernel_weights.dtype))
        return demodulation(products, scale, kernel_weights)

    monkeypatch.setattr(folded, "demodulation", watched)
    for batch, side in ((4, 8), (1, 24)):
        x, style = torch.randn(batch, 32, side, side), torch.randn(batch, 16)
        expected, inference = layer(x, style), fold(deepcopy(layer))
        with torch.autocast("cpu", torch.bfloat16):
            got = inference(x, style)
        assert (got.float() - expected).norm() / expected.norm() < 0.02
    assert calls == [(False, torch.float32, torch.float32, torch.float32)] * 2
