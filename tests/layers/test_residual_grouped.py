"""R3GAN's block at initialisation and its size."""

import math

import pytest
import torch

from t2igan.layers.residual_grouped import LRELU_GAIN, GroupedResidualBlock, PlainConv2d


def test_a_block_is_the_identity_at_initialisation():
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(GroupedResidualBlock(16, 2, depth=8)(x), x)


def test_a_blocks_parameters_are_those_of_the_figure():
    block = GroupedResidualBlock(768, 96, depth=10)
    assert sum(p.numel() for p in block.parameters()) == 2 * 768 * 1536 + 1536 * 16 * 9 + 2 * 1536 == 2_583_552


def test_a_block_equals_its_equations(randomised):
    block = randomised(GroupedResidualBlock(8, 2, depth=4)).double()
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)

    def lrelu(y):
        return torch.where(y > 0, y, 0.2 * y)

    y = lrelu(torch.einsum("oi,bihw->bohw", block.expand.weight[:, :, 0, 0], x) + block.act1.bias)
    halves = [torch.nn.functional.conv2d(part, w, padding=1) for part, w in zip(y.chunk(2, 1), block.mix.weight.chunk(2), strict=True)]
    y = lrelu(torch.cat(halves, 1) + block.act2.bias)
    expected = x + torch.einsum("oi,bihw->bohw", block.reduce.weight[:, :, 0, 0], y)
    assert (block(x) - expected).abs().max() < 1e-12


@pytest.mark.parametrize(("groups", "kernel_size"), [(1, 1), (8, 3)])
def test_weights_are_drawn_with_gain_over_root_of_fan_in(groups, kernel_size):
    conv = PlainConv2d(256, 256, kernel_size, groups, gain=1.7)
    expected = 1.7 / math.sqrt(256 // groups * kernel_size**2)
    assert conv.weight.std().item() == pytest.approx(expected, rel=0.02)


def test_the_gain_of_a_block_falls_with_the_depth_of_its_network():
    shallow, deep = (GroupedResidualBlock(256, 32, depth) for depth in (1, 16))
    assert shallow.expand.weight.std().item() == pytest.approx(LRELU_GAIN / 16, rel=0.02)
    assert deep.expand.weight.std().item() == pytest.approx(LRELU_GAIN / 16 / 2, rel=0.02)
    assert not deep.reduce.weight.any()
