"""A nonlinearity at a higher sampling rate: up by a low-pass filter, leaky ReLU, and down by another.

Karras et al. 2021 (arXiv:2106.12423), section 3.1 ("nonlinearity") and appendix D. Filters are linear maps whose adjoints are filters, and
the slopes of the nonlinearity can be read off its result: that map alone is kept for the backward pass, and no map with zeros between its
values exists. In bf16 a CPU multiplies by the filters' matrices: depthwise convolutions there take several times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import LRELU_GAIN, LRELU_SLOPE
from t2igan.layers.fir import resample_channels_last, separable
from t2igan.layers.linear_map import LinearMap
from t2igan.layers.low_pass import low_pass, radial_low_pass

TAPS = 6  # of a filter, times the factor by which it changes the rate
WIDEST = 192  # px, of a map inside up to which products with matrices are faster


class _Filtered(torch.autograd.Function):
    """Up, leaky ReLU with a bound, down; keeps the map inside, once, and gives a linear map of the gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: FilteredNonlinearity) -> Tensor:
        ctx.layer, ctx.inside = layer, layer.activated(x)
        return layer.reduce(ctx.inside)

    @staticmethod
    def backward(ctx, out: Tensor):
        layer, inside = ctx.layer, ctx.inside

        def pull(g: Tensor) -> Tensor:
            return layer.enlarge_adjoint(scaled(layer.reduce_adjoint(g), inside, layer.bound))

        def push(g: Tensor) -> Tensor:
            return layer.reduce(scaled(layer.enlarge(g), inside, layer.bound))

        return LinearMap.apply(out, pull, push), None


def scaled(g: Tensor, activated: Tensor, bound: float | None) -> Tensor:
    """A gradient times the slopes at which a map was activated; overwrites the gradient."""
    if bound is not None:
        torch.ops.aten.hardtanh_backward.grad_input(g, activated, -bound, bound, grad_input=g)
    return torch.ops.aten.leaky_relu_backward.grad_input(g, activated, LRELU_SLOPE, True, grad_input=g)


def planar(x: Float[Tensor, "b c h w"], taps: Float[Tensor, "k k"], conv: Callable, stride: int) -> Tensor:
    channels = x.shape[1]
    return conv(x, taps.to(x.dtype).expand(channels, 1, -1, -1), stride=stride, groups=channels)


class FilteredNonlinearity(nn.Module):
    """Maps of one side and rate to maps of another, with a nonlinearity that makes no aliases.

    Args:
        sides: px, of the map before and after.
        rates: samples per width of the image, before and after.
        cutoffs, half_widths: of the filters, for the map before and after: the pass band, and half of the transition band.
        radial: whether the filter down is the same in every direction.
        clamp: of the values, by their absolute value; None: unbounded.
    """

    def __init__(
        self,
        sides: tuple[int, int],
        rates: tuple[int, int],
        cutoffs: tuple[float, float],
        half_widths: tuple[float, float],
        radial: bool,
        clamp: float | None,
    ):
        super().__init__()
        inside = 2 * max(rates)
        self.up, self.down = inside // rates[0], inside // rates[1]
        taps = low_pass(TAPS * self.up, cutoffs[0], 2 * half_widths[0], inside)
        design = radial_low_pass if radial else low_pass
        self.register_buffer("up_taps", (taps * self.up).float(), persistent=False)
        gain = LRELU_GAIN if radial else math.sqrt(LRELU_GAIN)  # the activation's, which comes along both axes
        down = design(TAPS * self.down, cutoffs[1], 2 * half_widths[1], inside) * gain
        self.register_buffer("down_taps", down.float(), persistent=False)
        wide = (sides[1] - 1) * self.down + TAPS * self.down  # px, the side of the map inside
        self.crop = ((sides[0] - 1) * self.up + TAPS * self.up - wide) // 2  # of what the filter up makes, on each side
        self.bound = None if clamp is None else clamp / LRELU_GAIN
        self.radial = radial
        self.by_matrices = wide <= WIDEST
        if self.by_matrices:
            enlarged = F.conv_transpose1d(torch.eye(sides[0])[:, None], self.up_taps[None, None], stride=self.up, padding=self.crop)
            self.register_buffer("up_matrix", enlarged[:, 0].T.contiguous(), persistent=False)
            if not radial:
                reduced = F.conv1d(torch.eye(wide)[:, None], self.down_taps[None, None], stride=self.down)
                self.register_buffer("down_matrix", reduced[:, 0].T.contiguous(), persistent=False)

    def forward(self, x: Float[Tensor, "b c h h"]) -> Float[Tensor, "b c h2 h2"]:
        if torch.is_grad_enabled() and x.requires_grad:
            return _Filtered.apply(x, self)
        return self.reduce(self.activated(x))

    def activated(self, x: Tensor) -> Tensor:
        """The map at the higher rate, after the nonlinearity without its gain."""
        y = F.leaky_relu_(self.enlarge(x), LRELU_SLOPE)
        return y if self.bound is None else y.clamp_(-self.bound, self.bound)

    def multiplies(self, x: Tensor) -> bool:
        """Whether filters of this map are products with matrices."""
        return self.by_matrices and x.device.type == "cpu" and x.dtype == torch.bfloat16

    def enlarge(self, x: Tensor) -> Tensor:
        if self.multiplies(x):
            return resample_channels_last(x, self.up_matrix)
        return separable(x, self.up_taps, F.conv_transpose2d, self.up, self.crop)

    def enlarge_adjoint(self, x: Tensor) -> Tensor:
        if self.multiplies(x):
            return resample_channels_last(x, self.up_matrix.T)
        return separable(x, self.up_taps, F.conv2d, self.up, self.crop)

    def reduce(self, x: Tensor) -> Tensor:
        if self.radial:
            return planar(x, self.down_taps, F.conv2d, self.down)
        if self.multiplies(x):
            return resample_channels_last(x, self.down_matrix)
        return separable(x, self.down_taps, F.conv2d, self.down)

    def reduce_adjoint(self, x: Tensor) -> Tensor:
        if self.radial:
            return planar(x, self.down_taps, F.conv_transpose2d, self.down)
        if self.multiplies(x):
            return resample_channels_last(x, self.down_matrix.T)
        return separable(x, self.down_taps, F.conv_transpose2d, self.down)
