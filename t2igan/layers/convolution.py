"""Convolutions whose derivatives of every order are convolutions, for networks that pay a gradient penalty at every step.

torch differentiates the gradient of a grouped convolution by a loop over the groups. A convolution, its gradient in the input and its
gradient in the weight are each linear in two of three tensors, so each one's derivatives are the others.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def conv2d(x: Float[Tensor, "b c h w"], weight: Float[Tensor, "o i k k"], groups: int = 1) -> Float[Tensor, "b o h w"]:
    """F.conv2d without bias, by a kernel of an odd side, with as many zeros around the map as keep its sides."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
    if torch.is_grad_enabled():
        return convolve(x, weight, groups)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)


def convolve(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """`conv2d` of tensors of one dtype, with the gradients below."""
    handle = _Handle.apply(weight, (x,), groups) if weight.requires_grad else None
    return _Conv.apply(x, weight, handle, groups)


def gradient_of(out: Tensor, x: Tensor, weight: Tensor, groups: int, of_input: bool) -> Tensor:
    """The gradient in x or in the weight, given the gradient `out` in the output."""
    padding, ones = [weight.shape[-1] // 2] * 2, [1, 1]
    found = torch.ops.aten.convolution_backward(
        out, x, weight, None, ones, padding, ones, False, [0, 0], groups, [of_input, not of_input, False]
    )
    return found[0] if of_input else found[1]


class _Handle(torch.autograd.Function):
    """The weight's gradient as a node of its own; its output, zeros that no value depends on, receives the gradient of the convolution's.

    A Function computes the gradients of all its inputs, even where autograd.grad asks for one of them. A node of its own is left out when a
    penalty asks for the gradient in the image alone.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, inputs: tuple[Tensor], groups: int) -> Tensor:
        (x,) = inputs  # in a tuple, so that no path leads from here to x
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return weight.new_zeros(()).expand(len(x), len(weight), *x.shape[2:])

    @staticmethod
    def backward(ctx, out: Tensor):
        x, weight = ctx.saved_tensors
        return _OfWeight.apply(out, x, weight, ctx.groups), None, None


class _Conv(torch.autograd.Function):
    """(x, weight, handle of the weight) to the output."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, handle: Tensor | None, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx, out: Tensor):
        x, weight = ctx.saved_tensors
        of_x = _OfInput.apply(out, weight, x.detach(), ctx.groups) if ctx.needs_input_grad[0] else None
        return of_x, None, out if ctx.needs_input_grad[2] else None, None


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
        of_out = convolve(of_x, weight, ctx.groups) if ctx.needs_input_grad[0] else None
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
        of_out = convolve(x, of_weight, ctx.groups) if ctx.needs_input_grad[0] else None
        of_x = _OfInput.apply(out, of_weight, x.detach(), ctx.groups) if ctx.needs_input_grad[1] else None
        return of_out, of_x, None, None
