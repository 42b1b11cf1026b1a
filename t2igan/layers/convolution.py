"""Convolutions whose derivatives of every order are convolutions, and none that nobody asked for.

torch differentiates the gradient of a grouped convolution by a loop over the groups, and that of a fixed filter with the filter's own
gradient: a gradient penalty pays for both at every step. A convolution, its gradient in the input and its gradient in the weight are each
linear in two of three tensors, so each one's derivatives are the others.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Geometry(NamedTuple):
    stride: int
    padding: int  # zeros on each side
    groups: int


def conv2d(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "o i k k"], groups: int = 1, stride: int = 1, padding: int | None = None
) -> Float[Tensor, "b o h2 w2"]:
    """F.conv2d without bias; by default with as many zeros around the map as keep its side."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
    return _Conv.apply(x, weight, Geometry(stride, weight.shape[-1] // 2 if padding is None else padding, groups))


def depthwise(x: Float[Tensor, "b c h w"], kernel: Float[Tensor, "k k"], stride: int = 1, padding: int = 0) -> Float[Tensor, "b c h2 w2"]:
    """Every channel correlated with one fixed kernel, in the precision of x under autocast too."""
    channels = x.shape[1]
    weight = kernel.detach().to(x.dtype).expand(channels, 1, *kernel.shape).contiguous()
    return _Conv.apply(x, weight, Geometry(stride, padding, channels))


def gradient_of(out: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, of_input: bool) -> Tensor:
    """The gradient in x or in the weight, given the gradient `out` in the output."""
    stride, padding, groups = geometry
    found = torch.ops.aten.convolution_backward(
        out, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, [of_input, not of_input, False]
    )
    return found[0] if of_input else found[1]


class _Conv(torch.autograd.Function):
    """(x, weight) to the output."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        stride, padding, groups = geometry
        return torch.ops.aten.convolution(x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups)

    @staticmethod
    def backward(ctx, out: Tensor):
        x, weight = ctx.saved_tensors
        of_x = _OfInput.apply(out, weight, x, ctx.geometry) if ctx.needs_input_grad[0] else None
        of_weight = _OfWeight.apply(out, x, weight, ctx.geometry) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None


class _OfInput(torch.autograd.Function):
    """(gradient in the output, weight) to the gradient in x, of which only the shape matters."""

    @staticmethod
    def forward(ctx, out: Tensor, weight: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(out, weight)
        ctx.geometry = geometry
        return gradient_of(out, x, weight, geometry, of_input=True)

    @staticmethod
    def backward(ctx, of_x: Tensor):
        out, weight = ctx.saved_tensors
        of_out = _Conv.apply(of_x, weight, ctx.geometry) if ctx.needs_input_grad[0] else None
        of_weight = _OfWeight.apply(out, of_x, weight, ctx.geometry) if ctx.needs_input_grad[1] else None
        return of_out, of_weight, None, None


class _OfWeight(torch.autograd.Function):
    """(gradient in the output, x) to the gradient in the weight, of which only the shape matters."""

    @staticmethod
    def forward(ctx, out: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(out, x)
        ctx.geometry = geometry
        return gradient_of(out, x, weight, geometry, of_input=False)

    @staticmethod
    def backward(ctx, of_weight: Tensor):
        out, x = ctx.saved_tensors
        of_out = _Conv.apply(x, of_weight, ctx.geometry) if ctx.needs_input_grad[0] else None
        of_x = _OfInput.apply(out, of_weight, x, ctx.geometry) if ctx.needs_input_grad[1] else None
        return of_out, of_x, None, None
