"""Modulated convolution with sample-adaptive kernel selection.

Each layer owns N kernels; a style picks their convex kernel_weights, scales the input channels and the result is demodulated.
Kang et al. 2023 (arXiv:2303.05511), section 3.1, Eq. 1-2; modulation and demodulation as in Karras et al. 2020 (arXiv:1912.04958),
section 2.2. For sample b, with scales s_b, kernel_weights weights alpha_b and the bank K:

    y_b = d_b * conv(s_b * x_b, sum_n alpha_bn K_n),    d_bo = (sum_{i,taps} (s_bi sum_n alpha_bn K_noi)^2 + eps)^-1/2

Scaling commutes with convolution, so modulation acts on the input and demodulation on the output; d comes from the bank's Gram
matrices, so no tensor of batch x kernels x out x in elements ever exists.
"""

import math
from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedLinear, scaled
from t2igan.layers.precision import full_precision, widen

Strategy = Literal["dense", "output_mix", "input_mix", "grouped"]
EPS = 1e-8


def choose_strategy(num_kernels: int, pixels: int, channels: int, taps: int) -> Strategy:
    """The cheapest exact way: one kernel needs no mixing; few pixels mix activations, many pixels mix kernels per sample.

    Mixing activations costs N * pixels * channels values per sample, mixing kernels taps * channels^2. Mixing activations also takes N
    times the arithmetic, so near a tie (32 px, 512 channels, N = 4: 4.1 s against 1.1 s on a CPU core) kernels are mixed.
    """
    if num_kernels == 1:
        return "dense"
    return "output_mix" if 2 * num_kernels * pixels < taps * channels else "grouped"


def gram(bank: Float[Tensor, "n o i k k"]) -> Float[Tensor, "pairs o i"]:
    """Inner products over taps of every pair of kernels n <= m, the mixed pairs counted twice."""
    pairs = combinations_with_replacement(bank.unbind(), 2)  # indexing instead would zero-fill a whole bank per pair in the backward pass
    return torch.stack([(p * q).sum((2, 3)) * (1 if p is q else 2) for p, q in pairs])


def demodulation(
    products: Float[Tensor, "pairs o i"], scale: Float[Tensor, "b i"], kernel_weights: Float[Tensor, "b n"]
) -> Float[Tensor, "b o"]:
    """1 / norm of each sample's mixed and modulated kernel, per output channel, from the Gram matrices of the bank."""
    norms = scale.square() @ rearrange(products, "p o i -> i (p o)")
    pairs = combinations_with_replacement(range(kernel_weights.shape[1]), 2)
    weights = torch.stack([kernel_weights[:, n] * kernel_weights[:, m] for n, m in pairs], 1)
    squared = (rearrange(norms, "b (p o) -> b p o", p=len(products)) * weights[:, :, None]).sum(1)
    return (squared.clamp(min=0) + EPS).rsqrt()  # the Gram form may fall below 0 by rounding where kernels cancel


def same_conv(x: Float[Tensor, "b i h w"], kernel: Float[Tensor, "o i k k"]) -> Float[Tensor, "b o h w"]:
    return F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)


def mixed_conv(
    x: Float[Tensor, "b i h w"],
    bank: Float[Tensor, "n o i k k"],
    kernel_weights: Float[Tensor, "b n"],
    strategy: Strategy,
    conv: Callable[[Tensor, Tensor], Tensor] = same_conv,
) -> Float[Tensor, "b o h2 w2"]:
    """conv(x_b, sum_n kernel_weights_bn bank_n) for each sample b; all strategies are equal, they differ in cost."""
    n = len(bank)
    if strategy == "dense":
        if n != 1:
            raise ValueError(f"strategy 'dense' takes one kernel, the bank has {n}; use output_mix, input_mix or grouped")
        return conv(x, bank[0])
    if strategy == "output_mix":
        y = conv(x, rearrange(bank, "n o i h w -> (n o) i h w"))
        parts = y.chunk(n, dim=1)
        return sum(part * kernel_weights[:, j, None, None, None].to(part.dtype) for j, part in enumerate(parts))
    if strategy == "input_mix":
        stacked = torch.cat([x * kernel_weights[:, j, None, None, None] for j in range(n)], 1)
        return conv(stacked, rearrange(bank, "n o i h w -> o (n i) h w"))
    if strategy == "grouped":
        return conv_per_sample(x, (kernel_weights @ bank.flatten(1)).unflatten(1, bank.shape[1:]))
    raise ValueError(f"unknown strategy {strategy!r}, needs one of {', '.join(get_args(Strategy))}")


def conv_per_sample(x: Float[Tensor, "b i h w"], kernels: Float[Tensor, "b o i k k"]) -> Float[Tensor, "b o h w"]:
    """Each sample convolved with a kernel of its own."""
    if len(x) == 1:  # no groups, and the memory format stays
        return same_conv(x, kernels[0])
    y = F.conv2d(rearrange(x, "b i h w -> 1 (b i) h w"), kernels.flatten(0, 1), padding=kernels.shape[-1] // 2, groups=len(x))
    return rearrange(y, "1 (b o) h w -> b o h w", b=len(x))


def scale_of(modulate: nn.Module, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b i"]:
    """The scales of the input channels, in float32: a map is only as exact as they are."""
    with full_precision(style.device):
        return modulate(widen(style))


def kernel_weights_of(selector: nn.Module | None, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b n"]:
    """Convex weights of a bank's kernels, in float32."""
    if selector is None:
        return widen(style).new_ones(len(style), 1)
    with full_precision(style.device):
        return selector(widen(style)).softmax(1)


class AdaptiveConv2d(nn.Module):
    """Feature maps and a style to feature maps, by a kernel chosen for each sample.

    `demodulate=False` with one kernel is StyleGAN2's toRGB. At initialisation and for an input of variance 1, the output's standard
    deviation is `output_gain`, whose use EqualizedConv2d explains.
    """

    conv = staticmethod(same_conv)  # a map and a kernel to a map; layers of one kernel may have another

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        kernel_size: int = 3,
        num_kernels: int = 1,
        demodulate: bool = True,
        bias: bool = True,
        strategy: Strategy | None = None,
        weight_init: float = 1.0,
        output_gain: float = 1.0,
    ):
        super().__init__()
        self.modulate = EqualizedLinear(style_dim, in_channels, bias_init=1.0)
        self.kernel_selector = EqualizedLinear(style_dim, num_kernels) if num_kernels > 1 else None
        self.num_kernels = num_kernels
        shape = num_kernels * out_channels, in_channels, kernel_size, kernel_size  # (n o) i k k
        self.weight = nn.Parameter(torch.randn(shape) * weight_init)
        self.output_gain = output_gain
        self.gain = (1.0 if demodulate else output_gain) / math.sqrt(in_channels * kernel_size * kernel_size)
        self.demodulate = demodulate
        self.bias = nn.Parameter(torch.zeros(out_channels, 1, 1)) if bias else None
        self.strategy = strategy

    def forward(
        self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b style_dim"], conv: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> Float[Tensor, "b o h2 w2"]:
        """`conv`, where given, takes the place of the layer's own, in this pass."""
        bank = self.kernel_bank()
        scale, kernel_weights = scale_of(self.modulate, style), kernel_weights_of(self.kernel_selector, style)
        strategy = self.strategy or choose_strategy(len(bank), x.shape[2] * x.shape[3], bank.shape[2], bank.shape[3] ** 2)
        y = mixed_conv(x * scale.to(x.dtype)[:, :, None, None], bank, kernel_weights.to(x.dtype), strategy, conv or self.conv)
        bias = scaled(self.bias, self.output_gain)
        if not self.demodulate:  # an image: under autocast a bias in float32 makes the sum exact
            return y if bias is None else y + bias
        with full_precision(x.device):  # norms of whole kernels
            norm = (demodulation(gram(widen(bank)), scale, kernel_weights) * self.output_gain).to(y.dtype)[:, :, None, None]
        return y * norm if bias is None else torch.addcmul(bias.to(y.dtype), y, norm)

    def kernel_bank(self) -> Float[Tensor, "n o i k k"]:
        """The kernels as they are used, but for the demodulation and the gain that comes with it."""
        return (self.weight * self.gain).unflatten(0, (self.num_kernels, -1))
