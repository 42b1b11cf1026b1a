"""Fixed linear maps of tensors, such as filters, with the derivatives that they have: their adjoints."""

from collections.abc import Callable

import torch
from torch import Tensor


class LinearMap(torch.autograd.Function):
    """`LinearMap.apply(x, apply, adjoint)` is apply(x). Each map is the other one's derivative, of every order; no tensor is kept."""

    @staticmethod
    def forward(ctx, x: Tensor, apply: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.maps = apply, adjoint
        return apply(x)

    @staticmethod
    def backward(ctx, out: Tensor):
        apply, adjoint = ctx.maps
        return LinearMap.apply(out, adjoint, apply), None, None
