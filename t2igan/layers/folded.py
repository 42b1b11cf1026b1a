"""A generator's layers when it only draws: what depends on weights alone is computed once, not at every call.

A trained layer scales its weights at run time and takes the inner products of its bank; for a single picture that costs more than the
convolutions. `fold` puts an equal layer that holds the results in the place of each. On a CPU, oneDNN lays large kernels out anew at every
call, and splits grouped ones badly; where that costs more than it saves, `drawn_conv` and `drawn_per_sample` go another way.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear
from t2igan.layers.modulation import AdaptiveConv2d, choose_strategy, conv_per_sample, demodulation, gram, mixed_conv, mixture_of, same_conv
from t2igan.layers.precision import full_precision, widen

FEW_PIXELS, LARGE_KERNEL = 256, 2**19  # of a batch's maps, values: one matrix product is up to 3 times as fast (1024 channels, 8 px)
LONG = 10**8  # products in a sample's convolution: by itself it is up to twice as fast as in a group (256 channels, 16 px)


class FoldedAdaptiveConv2d(nn.Module):
    """Feature maps and a style to feature maps, as the AdaptiveConv2d it is made from: its bank scaled, its Gram matrices at hand.

    A single sample has a kernel of its own. Where each has one and maps are larger than kernels, modulation scales kernels, not maps.
    """

    def __init__(self, conv: AdaptiveConv2d):
        super().__init__()
        bank = rearrange(conv.bank(), "n o i h w -> n o h w i")  # as convolutions read it
        self.modulate, self.select = fold(conv.modulate), None if conv.select is None else fold(conv.select)
        self.weight, self.shape = nn.Parameter(bank.flatten(1), requires_grad=False), bank.shape[1:]
        self.register_buffer("products", gram(widen(conv.bank())) if conv.demodulate else None, persistent=False)
        self.strategy = conv.strategy

    def forward(self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b o h w"]:
        scale, mixture = widen(self.modulate(style)), mixture_of(self.select, style)
        n, (o, k, _, i) = len(self.weight), self.shape
        with full_precision(x.device):  # norms of whole kernels
            shrink = scale.new_ones(len(x), o) if self.products is None else demodulation(self.products, scale, mixture)
        pixels = x.shape[2] * x.shape[3]
        large = k * k * o < pixels  # a map has more values than a kernel
        strategy = self.strategy or choose_strategy(n, pixels, i, k * k)
        alone = self.strategy is None and len(x) == 1 and (n > 1 or large)
        own = strategy == "grouped" or alone  # a kernel for each sample
        if own and large:
            return drawn_per_sample(x, self.mix(mixture, scale, shrink).to(x.dtype))
        x = x * scale.to(x.dtype)[:, :, None, None]
        if own:
            y = drawn_per_sample(x, self.mix(mixture).to(x.dtype))
        else:
            bank = rearrange(self.weight.unflatten(1, self.shape), "n o h w i -> n o i h w")
            y = mixed_conv(x, bank, mixture.to(x.dtype), strategy, drawn_conv)
        return y * shrink.to(y.dtype)[:, :, None, None]

    def mix(
        self, mixture: Float[Tensor, "b n"], scale: Float[Tensor, "b i"] | None = None, shrink: Float[Tensor, "b o"] | None = None
    ) -> Float[Tensor, "b o i k k"]:
        """Each sample's kernel, modulated and demodulated where the scales of its inputs and outputs are given."""
        kernels = (mixture @ self.weight).unflatten(1, self.shape)
        if scale is not None:
            kernels = kernels * scale[:, None, None, None]
        if shrink is not None:
            kernels = kernels * shrink[:, :, None, None, None]
        return rearrange(kernels, "b o h w i -> b o i h w")


def drawn_conv(x: Float[Tensor, "b i h w"], kernel: Float[Tensor, "o i k k"]) -> Float[Tensor, "b o h w"]:
    """A convolution; on a CPU, of few pixels with a large kernel, as the product of their neighbourhoods and the kernel."""
    batch, _, height, width = x.shape
    if x.device.type != "cpu" or batch * height * width > FEW_PIXELS or kernel.numel() < LARGE_KERNEL:
        return same_conv(x, kernel)
    k = kernel.shape[-1]
    around = F.pad(x, (k // 2,) * 4).unfold(2, k, 1).unfold(3, k, 1)
    y = F.linear(rearrange(around, "b i h w kh kw -> (b h w) (kh kw i)"), rearrange(kernel, "o i kh kw -> o (kh kw i)"))
    return rearrange(y, "(b h w) o -> b o h w", b=batch, h=height)


def drawn_per_sample(x: Float[Tensor, "b i h w"], kernels: Float[Tensor, "b o i k k"]) -> Float[Tensor, "b o h w"]:
    """Each sample convolved with a kernel of its own; on a CPU, where that is long, one after the other."""
    if len(x) == 1:
        return drawn_conv(x, kernels[0])
    if x.device.type == "cpu" and kernels[0].numel() * x.shape[2] * x.shape[3] >= LONG:
        return torch.cat([drawn_conv(one, kernel) for one, kernel in zip(x.split(1), kernels, strict=True)])
    return conv_per_sample(x, kernels.contiguous())  # a grouped convolution reads them so


def fold_linear(layer: EqualizedLinear) -> nn.Linear:
    folded = nn.Linear(*layer.weight.shape[::-1], bias=layer.bias is not None, device="meta")
    return set_weights(folded, layer.weight * layer.gain, None if layer.bias is None else layer.bias * layer.lr_multiplier)


def fold_conv(layer: EqualizedConv2d) -> nn.Conv2d:
    outputs, inputs, k, _ = layer.weight.shape
    folded = nn.Conv2d(inputs, outputs, k, layer.stride, k // 2, bias=layer.bias is not None, device="meta")
    return set_weights(folded, layer.weight * layer.gain, layer.bias)


def set_weights(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Linear | nn.Conv2d:
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


FOLDS = {EqualizedLinear: fold_linear, EqualizedConv2d: fold_conv, AdaptiveConv2d: FoldedAdaptiveConv2d}


@torch.no_grad()
def fold(module: nn.Module) -> nn.Module:
    """A generator, or a part of one, that draws the same and is no longer trained or saved; inner modules are replaced in place."""
    if type(module) in FOLDS:
        return FOLDS[type(module)](module)
    for name, child in module.named_children():
        setattr(module, name, fold(child))
    return module
