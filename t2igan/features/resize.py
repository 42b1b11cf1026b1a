"""The resizes of published feature networks, differentiable and on the images' own device."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

FIXED_POINT = 1 << 22  # Pillow's weights for images of bytes are multiples of 1 / this


def to_255(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """[-1, 1] to 0..255, not rounded."""
    return (images.float() + 1) * 127.5


def tensorflow_bilinear(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 {side} {side}"]:
    """TensorFlow 1's bilinear: corners of pixels stay in place and nothing is averaged when reducing."""
    return interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(side, side), align_corners=False)


def pillow_bicubic(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 {side} {side}"]:
    """Pillow's antialiased bicubic of float images: values in 0..255, clipped, not rounded."""
    x = images
    if x.shape[-1] != side:
        x = (x.double() @ bicubic_weights(x.shape[-1], side).to(x.device).T).float()
    if x.shape[-2] != side:
        x = (bicubic_weights(x.shape[-2], side).to(x.device) @ x.double()).float()
    return x.clamp(0, 255)


def pillow_bicubic_of_bytes(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 {side} {side}"]:
    """Pillow's antialiased bicubic of images of bytes: values in 0..255, rounded before, between and after the two passes.

    Rounding passes gradients on as if it were not there.
    """
    x = round_through(images.double()).clamp(0, 255)
    if x.shape[-1] != side:
        x = round_through(x @ fixed_point(bicubic_weights(x.shape[-1], side)).to(x.device).T).clamp(0, 255)
    if x.shape[-2] != side:
        x = round_through(fixed_point(bicubic_weights(x.shape[-2], side)).to(x.device) @ x).clamp(0, 255)
    return x.float()


@lru_cache(maxsize=8)
def bicubic_weights(size: int, side: int) -> Float[Tensor, "{side} {size}"]:
    """A matrix from `size` pixels to `side`, in float64: the cubic kernel with a = -1/2, widened by the scale when reducing.

    Pixels whose centre is at the support's edge or beyond have no weight, as in Pillow's ImagingResample.
    """
    scale = size / side
    widening = max(scale, 1.0)
    centres = (torch.arange(side, dtype=torch.float64) + 0.5)[:, None] * scale
    first, last = (centres - 2 * widening + 0.5).floor().clamp(min=0), (centres + 2 * widening + 0.5).floor().clamp(max=size)
    places = torch.arange(size, dtype=torch.float64)
    x = ((places + 0.5 - centres) / widening).abs()
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, inner, torch.where(x < 2, outer, 0.0)).masked_fill((places < first) | (places >= last), 0)
    return weights / weights.sum(1, keepdim=True)


def fixed_point(weights: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
    """Weights as Pillow stores them for bytes; sums of their products with bytes are exact in float64."""
    return (weights.abs() * FIXED_POINT + 0.5).floor() * weights.sign() / FIXED_POINT


def round_through(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Rounded half up, with the gradient of the identity."""
    return x + ((x + 0.5).floor() - x).detach()
