"""Bilinear sampling of images at given places, differentiable in the images any number of times."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def warp(x: Float[Tensor, "b c h w"], grid: Float[Tensor, "b h2 w2 2"]) -> Float[Tensor, "b c h2 w2"]:
    """The images at the places of the grid (x and y from -1 to 1 between the outer borders), zeros outside.

    torch's own grid_sample has no second derivative; the map is linear in the image, so its derivative is its transpose, and back.
    """
    return _Sample.apply(x, grid.detach())


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(gradient, grid, ctx.shape), None


class _Scatter(torch.autograd.Function):
    """The transpose of `_Sample`: values at the places of the grid, added to the pixels around them."""

    @staticmethod
    def forward(ctx, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        blank = values.new_zeros(shape)
        bilinear, zeros = 0, 0  # torch's numbers of the interpolation and of the padding
        return torch.ops.aten.grid_sampler_2d_backward(values.contiguous(), blank, grid, bilinear, zeros, False, [True, False])[0]

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid), None, None
