"""R3GAN's convolutions and residual block: no normalisation, plain weights, initialised so that depth does not matter.

Huang et al. 2024 (arXiv:2501.05441), section 3; residual initialisation as in Fixup (Zhang et al. 2019, arXiv:1901.09321).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.convolution import conv2d

SLOPE = 0.2
LRELU_GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through a leaky ReLU; the activation itself has gain 1


class PlainConv2d(nn.Module):
    """Maps to maps by a square kernel without bias, padded to the same side; weights are drawn from N(0, gain^2 / fan-in)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, groups: int = 1, gain: float = 1.0):
        super().__init__()
        fan_in = in_channels // groups * kernel_size**2
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels // groups, kernel_size, kernel_size) * (gain / math.sqrt(fan_in)))
        self.groups = groups

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        return conv2d(x, self.weight, self.groups)


class PlainLinear(nn.Module):
    """Features to features without bias; weights are drawn from N(0, gain^2 / fan-in)."""

    def __init__(self, in_dim: int, out_dim: int, gain: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim) * (gain / math.sqrt(max(in_dim, 1))))

    def forward(self, x: Float[Tensor, "b in_dim"]) -> Float[Tensor, "b out_dim"]:
        return F.linear(x, self.weight)


class BiasedLeakyReLU(nn.Module):
    """A learned bias per channel, then a leaky ReLU of gain 1."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.leaky_relu(x + self.bias.to(x.dtype), SLOPE)


class GroupedResidualBlock(nn.Module):
    """A map plus a bottleneck turned inside out: 1x1 to twice the width, grouped 3x3, 1x1 back.

    Args:
        groups: of the 3x3 convolution.
        depth: blocks of the whole network; each starts smaller the more there are.
    """

    def __init__(self, channels: int, groups: int, depth: int, expansion: int = 2):
        super().__init__()
        wide, gain = expansion * channels, LRELU_GAIN * depth**-0.25
        self.expand, self.act1 = PlainConv2d(channels, wide, gain=gain), BiasedLeakyReLU(wide)
        self.mix, self.act2 = PlainConv2d(wide, wide, 3, groups, gain=gain), BiasedLeakyReLU(wide)
        self.reduce = PlainConv2d(wide, channels, gain=0.0)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.act1(self.expand(x))
        y = self.act2(self.mix(y))
        return x + self.reduce(y)
