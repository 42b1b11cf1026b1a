"""Convolutions whose weights are divided by their largest singular value.

Miyato et al. 2018 (arXiv:1802.05957), section 2.1 and appendix A.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FIRST_ITERATIONS = 15  # so that the estimate is good from the first step
EPS = 1e-12


class SpectralConv(nn.Module):
    """A convolution of any dimension.

    Ours: the singular vectors move once after every step (`update_spectral`), where releases move them in every pass, so that neither
    processes nor micro-batches decide them.

    Args:
        conv: gives the weights and their initial values.
    """

    def __init__(self, conv: nn.Conv1d | nn.Conv2d):
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        matrix = self.weight.detach().flatten(1)
        self.register_buffer("left", F.normalize(torch.randn(matrix.shape[0]), dim=0, eps=EPS))
        self.register_buffer("right", F.normalize(torch.randn(matrix.shape[1]), dim=0, eps=EPS))
        for _ in range(FIRST_ITERATIONS):
            self.iterate()

    @torch.no_grad()
    def iterate(self) -> None:
        """One step of the power method."""
        matrix = self.weight.flatten(1)
        self.right.copy_(F.normalize(matrix.T @ self.left, dim=0, eps=EPS))
        self.left.copy_(F.normalize(matrix @ self.right, dim=0, eps=EPS))

    def normalised(self) -> Tensor:
        return self.weight / (self.left @ (self.weight.flatten(1) @ self.right))


class SpectralConv1d(SpectralConv):
    """Tokens to tokens by a kernel of one or several places; around the ends of a sequence it goes on at the other end."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1):
        super().__init__(nn.Conv1d(in_channels, out_channels, kernel_size))

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b o t"]:
        weight = self.normalised()
        k = weight.shape[-1]
        if k == 1:
            return F.conv1d(x, weight, self.bias)
        return F.conv1d(F.pad(x, ((k - 1) // 2, k // 2), mode="circular"), weight, self.bias)


class SpectralConv2d(SpectralConv):
    """Maps to maps; options as of nn.Conv2d."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0, bias: bool = True):
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size, bias=bias))
        self.stride, self.padding = stride, padding

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        return F.conv2d(x, self.normalised(), self.bias, self.stride, self.padding)


def update_spectral(module: nn.Module) -> None:
    """Moves the singular vectors of all such layers."""
    for layer in module.modules():
        if isinstance(layer, SpectralConv):
            layer.iterate()
