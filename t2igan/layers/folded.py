"""A generator's layers for inference: what depends on weights alone is computed once, not at every call.

A trained layer scales its weights at run time and takes the inner products of its bank; for a single image that costs more than the
convolutions. `fold` replaces each layer by an equivalent one with these results precomputed. On a CPU, oneDNN lays large kernels out anew
at every call, and splits grouped ones badly; where that costs more than it saves, `inference_conv` and `inference_conv_per_sample` compute
the same in another way.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear, scaled
from t2igan.layers.modulation import (
    AdaptiveConv2d,
    choose_strategy,
    conv_per_sample,
    demodulation,
    gram,
    kernel_weights_of,
    mixed_conv,
    same_conv,
    scale_of,
)
from t2igan.layers.precision import full_precision, widen

MAX_PIXELS_GEMM = 256  # of a batch's maps, up to which one matrix product is up to 3 times as fast (1024 channels, 8 px), where ...
MIN_KERNEL_GEMM = 2**19  # ... the kernel has at least as many values
MIN_FLOPS_SEPARATE = 10**8  # products in a sample's convolution: by itself it is up to twice as fast as in a group (256 channels, 16 px)


class FoldedAdaptiveConv2d(nn.Module):
    """Feature maps and a style to feature maps, as the AdaptiveConv2d it replaces, with the scaled bank and its Gram matrices precomputed.

    A single sample has a kernel of its own. Where each has one and maps have more values than kernels, modulation scales the kernels.
    """

    def __init__(self, conv: AdaptiveConv2d):
        super().__init__()
        bank = rearrange(conv.kernel_bank(), "n o i h w -> n o h w i")  # as convolutions read it
        self.modulate, self.kernel_selector = fold(conv.modulate), None if conv.kernel_selector is None else fold(conv.kernel_selector)
        self.weight, self.shape = nn.Parameter(bank.flatten(1), requires_grad=False), bank.shape[1:]
        bias = scaled(conv.bias, conv.output_gain)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.output_gain = conv.output_gain
        self.register_buffer("products", gram(widen(conv.kernel_bank())) if conv.demodulate else None, persistent=False)
        self.strategy = conv.strategy

    def forward(self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b o h w"]:
        y = self.convolve(x, style)
        if self.bias is None:
            return y
        return y + (self.bias if self.products is None else self.bias.to(y.dtype))  # as in the layer that it replaces

    def convolve(self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b o h w"]:
        scale, kernel_weights = scale_of(self.modulate, style), kernel_weights_of(self.kernel_selector, style)
        n, (o, k, _, i) = len(self.weight), self.shape
        with full_precision(x.device):  # norms of whole kernels
            demod = scale.new_ones(len(x), o)
            if self.products is not None:
                demod = self.output_gain * demodulation(self.products, scale, kernel_weights)
        pixels = x.shape[2] * x.shape[3]
        large = k * k * o < pixels  # a map has more values than a kernel
        strategy = self.strategy or choose_strategy(n, pixels, i, k * k)
        alone = self.strategy is None and len(x) == 1 and (n > 1 or large)
        per_sample = strategy == "grouped" or alone
        if per_sample and large:
            return inference_conv_per_sample(x, self.mix(kernel_weights, scale, demod).to(x.dtype))
        x = x * scale.to(x.dtype)[:, :, None, None]
        if per_sample:
            y = inference_conv_per_sample(x, self.mix(kernel_weights).to(x.dtype))
        else:
            bank = rearrange(self.weight.unflatten(1, self.shape), "n o h w i -> n o i h w")
            y = mixed_conv(x, bank, kernel_weights.to(x.dtype), strategy, inference_conv)
        return y * demod.to(y.dtype)[:, :, None, None]

    def mix(
        self, kernel_weights: Float[Tensor, "b n"], scale: Float[Tensor, "b i"] | None = None, demod: Float[Tensor, "b o"] | None = None
    ) -> Float[Tensor, "b o i k k"]:
        """Each sample's kernel, modulated and demodulated where the scales of its inputs and outputs are given."""
        kernels = (kernel_weights @ self.weight).unflatten(1, self.shape)
        if scale is not None:
            kernels = kernels * scale[:, None, None, None]
        if demod is not None:
            kernels = kernels * demod[:, :, None, None, None]
        return rearrange(kernels, "b o h w i -> b o i h w")


def inference_conv(x: Float[Tensor, "b i h w"], kernel: Float[Tensor, "o i k k"]) -> Float[Tensor, "b o h w"]:
    """A convolution; on a CPU, of few pixels with a large kernel, as the product of the pixels' neighbourhoods and the kernel."""
    batch, _, height, width = x.shape
    if x.device.type != "cpu" or batch * height * width > MAX_PIXELS_GEMM or kernel.numel() < MIN_KERNEL_GEMM:
        return same_conv(x, kernel)
    k = kernel.shape[-1]
    around = F.pad(x, (k // 2,) * 4).unfold(2, k, 1).unfold(3, k, 1)
    y = F.linear(rearrange(around, "b i h w kh kw -> (b h w) (kh kw i)"), rearrange(kernel, "o i kh kw -> o (kh kw i)"))
    return rearrange(y, "(b h w) o -> b o h w", b=batch, h=height)


def inference_conv_per_sample(x: Float[Tensor, "b i h w"], kernels: Float[Tensor, "b o i k k"]) -> Float[Tensor, "b o h w"]:
    """Each sample convolved with a kernel of its own; on a CPU, where that is long, one after the other."""
    if len(x) == 1:
        return inference_conv(x, kernels[0])
    if x.device.type == "cpu" and kernels[0].numel() * x.shape[2] * x.shape[3] >= MIN_FLOPS_SEPARATE:
        return torch.cat([inference_conv(one, kernel) for one, kernel in zip(x.split(1), kernels, strict=True)])
    return conv_per_sample(x, kernels.contiguous())  # a grouped convolution reads them so


def fold_linear(layer: EqualizedLinear) -> nn.Linear:
    folded = nn.Linear(*layer.weight.shape[::-1], bias=layer.bias is not None, device="meta")
    return set_weights(folded, layer.weight * layer.gain, scaled(layer.bias, layer.lr_multiplier))


def fold_conv(layer: EqualizedConv2d) -> nn.Conv2d:
    outputs, inputs, k, _ = layer.weight.shape
    folded = nn.Conv2d(inputs, outputs, k, layer.stride, layer.padding, bias=layer.bias is not None, device="meta")
    return set_weights(folded, layer.weight * layer.gain, scaled(layer.bias, layer.output_gain))


def set_weights(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Linear | nn.Conv2d:
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


FOLDS = {EqualizedLinear: fold_linear, EqualizedConv2d: fold_conv, AdaptiveConv2d: FoldedAdaptiveConv2d}


@torch.no_grad()
def fold(module: nn.Module) -> nn.Module:
    """A generator, or a part of one, for inference alone, with equal outputs; inner modules are replaced in place."""
    if type(module) in FOLDS:
        return FOLDS[type(module)](module)
    for name, child in module.named_children():
        setattr(module, name, fold(child))
    return module
