"""GigaGAN's blocks against their definitions: layers without gains, each activation and each sum with its own."""

import math
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from t2igan.discriminator import gigagan as discriminator
from t2igan.layers.resample import downsample, upsample
from t2igan.synthesis import gigagan, gigagan_upsampler

SIZES = {"style_dim": 5, "num_kernels": 2, "strategy": None}


@pytest.fixture
def check(randomised):
    """Compares a block with its definition, a function of its layers without their gains; biases are not zero."""

    def compare(block, definition, *further):
        block = randomised(block).double()
        bare = deepcopy(block)
        for layer in bare.modules():
            if hasattr(layer, "output_gain"):
                demodulated = getattr(layer, "demodulate", False)  # its kernels have no gain, the norms have
                layer.gain /= 1.0 if demodulated else layer.output_gain
                layer.output_gain = 1.0
        x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
        assert (block(x, *further) - definition(bare, x, *further)).abs().max() < 1e-12

    return compare


def activation(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


@pytest.fixture
def style():
    return torch.randn(2, SIZES["style_dim"], dtype=torch.float64)


def test_generator_residual_block(check, style):
    check(gigagan.ResidualBlock(6, gain=0.4, **SIZES), lambda b, x, w: x + 0.4 * activation(b.conv2(activation(b.conv1(x, w)), w)), style)


def test_generator_up_block(check, style):
    check(gigagan.UpBlock(6, 4, **SIZES), lambda b, x, w: activation(b.conv2(activation(upsample(b.conv1(x, w))), w)), style)


def test_generator_input_block(check, style):
    check(gigagan.InputBlock(6, **SIZES), lambda b, x, w: activation(b.conv(x, w)), style)


def test_upsampler_down_block(check, style):
    def definition(b, x, w):
        y = activation(b.conv2(downsample(activation(b.conv1(x, w))), w))
        return (y + b.skip(downsample(x))) / math.sqrt(2)

    check(gigagan_upsampler.AdaptiveDownBlock(6, 4, **SIZES), definition, style)


def test_discriminator_residual_block(check):
    check(discriminator.ResidualBlock(6, gain=0.4), lambda b, x: x + 0.4 * activation(b.conv2(activation(b.conv1(x)))))


@pytest.mark.parametrize("deep", [False, True])
def test_discriminator_down_block(deep, check):
    def definition(b, x):
        y = activation(b.conv2(activation(b.conv1(x)) if deep else x))
        return (y + b.skip(downsample(x))) / math.sqrt(2)

    check(discriminator.DownBlock(6, 4, deep), definition)


def test_discriminator_head(check, style):
    def definition(b, x, text):
        y = x
        for layer in b.layers:
            y = activation(layer(y, text))
        return (b.conditional(y) + b.unconditional(x)).flatten(1)

    check(discriminator.Head(6, SIZES["style_dim"], depth=2), definition, style)
