"""Encoded pictures to square RGB tensors and back."""

import io

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from t2igan.data.render import centre_square, open_picture


def decode(data: bytes, size: int) -> UInt8[Tensor, "3 r r"]:
    """Bytes of any format Pillow reads to RGB at `size` px: transparency on white, centre crop to the short side, Lanczos.

    Raises:
        OSError: the bytes are no picture.
    """
    return torch.from_numpy(np.asarray(centre_square(open_picture(io.BytesIO(data)), size)).copy()).permute(2, 0, 1)


def to_signed(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """0..255 to [-1, 1]."""
    return images.float() / 127.5 - 1


def to_bytes(images: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """[-1, 1] to 0..255, rounded; out-of-range values are clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_pil(image: Float[Tensor, "3 h w"]) -> Image.Image:
    return Image.fromarray(to_bytes(image[None])[0].permute(1, 2, 0).cpu().numpy())
