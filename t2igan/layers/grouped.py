"""Grouped convolutions whose derivatives of every order are grouped convolutions.

torch differentiates a grouped convolution's gradient by a loop over the groups, which a gradient penalty pays at every step. A convolution,
its gradient in the input and its gradient in the weight are each linear in two of three tensors, so each one's derivatives are the others.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def grouped_conv2d(x: Float[Tensor, "b c h w"], weight: Float[Tensor, "o i k k"], groups: int) -> Float[Tensor, "b o h w"]:
    """F.conv2d with as many zeros around the map as keep its side."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
    return _Conv.apply(x, weight, groups)


def gradient_of(out: Tensor, x: Tensor, weight: Tensor, groups: int, of_input: bool) -> Tensor:
    """The gradient in x or in the weight, given the gradient `out` in the output."""
    padding, ones = [weight.shape[-1] // 2] * 2, [1, 1]
    found = torch.ops.aten.convolution_backward(
        out, x, weight, None, ones, padding, ones, False, [0, 0], groups, [of_input, not of_input, False]
    )
    return found[0] if of_input else found[1]


class _Conv(torch.autograd.Function):
    """(x, weight) to the output."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx, out: Tensor):
        x, weight = ctx.saved_tensors
        of_x = _OfInput.apply(out, weight, x, ctx.groups) if ctx.needs_input_grad[0] else None
        of_weight = _OfWeight.apply(out, x, weight, ctx.groups) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None


class _OfInput(torch.autograd.Function):
    """(gradient in the output, weight) to the gradient in x, of which only the shape matters."""

    @staticmethod
    def forward(ctx, out: Tensor, weight: Tensor, x: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(out, weight)
        ctx.groups = groups
        return gradient_of(out, x, weight, groups, of_input=True)

    @staticmethod
    def backward(ctx, of_x: Tensor):
        out, weight = ctx.saved_tensors
        of_out = _Conv.apply(of_x, weight, ctx.groups) if ctx.needs_input_grad[0] else None
        of_weight = _OfWeight.apply(out, of_x, weight, ctx.groups) if ctx.needs_input_grad[1] else None
        return of_out, of_weight, None, None


class _OfWeight(torch.autograd.Function):
    """(gradient in the output, x) to the gradient in the weight, of which only the shape matters."""

    @staticmethod
    def forward(ctx, out: Tensor, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(out, x)
        ctx.groups = groups
        return gradient_of(out, x, weight, groups, of_input=False)

    @staticmethod
    def backward(ctx, of_weight: Tensor):
        out, x = ctx.saved_tensors
        of_out = _Conv.apply(x, of_weight, ctx.groups) if ctx.needs_input_grad[0] else None
        of_x = _OfInput.apply(out, of_weight, x, ctx.groups) if ctx.needs_input_grad[1] else None
        return of_out, of_x, None, None
