"""Layers of a network that is no longer trained: what depends on weights alone is computed once, not at every call.

A trained layer scales its weights at run time and takes the inner products of its bank; for a single picture that costs more than the
convolutions. `freeze` puts an equal layer that holds the results in the place of each.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear
from t2igan.layers.modulation import AdaptiveConv2d, choose_strategy, conv_per_sample, demodulation, gram, mixed_conv, mixture_of
from t2igan.layers.precision import full_precision, widen


class FrozenAdaptiveConv2d(nn.Module):
    """An AdaptiveConv2d whose bank is scaled, laid out as convolutions read it, and known by its Gram matrices.

    A single sample has a kernel of its own. Where each has one and maps are larger than kernels, modulation scales kernels, not maps.
    """

    def __init__(self, conv: AdaptiveConv2d):
        super().__init__()
        bank = rearrange(conv.bank(), "n o i h w -> n o h w i")
        self.modulate, self.select = freeze(conv.modulate), None if conv.select is None else freeze(conv.select)
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
            return conv_per_sample(x, self.mix(mixture, scale, shrink).to(x.dtype))
        x = x * scale.to(x.dtype)[:, :, None, None]
        if own:
            y = conv_per_sample(x, self.mix(mixture).to(x.dtype))
        else:
            bank = rearrange(self.weight.unflatten(1, self.shape), "n o h w i -> n o i h w")
            y = mixed_conv(x, bank, mixture.to(x.dtype), strategy)
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


@torch.no_grad()
def freeze(module: nn.Module) -> nn.Module:
    """The module with its trained layers frozen, children in place. Its outputs stay; its parameters' names do not."""
    if isinstance(module, EqualizedLinear):
        return _with_weights(nn.Linear, module.weight * module.gain, module.bias, module.lr_multiplier)
    if isinstance(module, EqualizedConv2d):
        k = module.weight.shape[-1]
        return _with_weights(nn.Conv2d, module.weight * module.gain, module.bias, kernel_size=k, stride=module.stride, padding=k // 2)
    if isinstance(module, AdaptiveConv2d):
        return FrozenAdaptiveConv2d(module)
    for name, child in module.named_children():
        setattr(module, name, freeze(child))
    return module


def _with_weights(kind: type[nn.Module], weight: Tensor, bias: Tensor | None, multiplier: float = 1.0, **geometry) -> nn.Module:
    layer = kind(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta", **geometry)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias * multiplier, requires_grad=False)
    return layer
