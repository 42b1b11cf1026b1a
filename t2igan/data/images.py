"""Encoded images of any format to square RGB, and tensors in [-1, 1] to images and back."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from t2igan.files import atomic_file


class UnknownRange(OSError):
    """An image whose file does not tell which values are black and white."""


def decode(data: bytes, size: int) -> UInt8[Tensor, "3 r r"]:
    """Bytes of any format Pillow reads to RGB at `size` px: transparency on white, center crop to the short side, Lanczos.

    Raises:
        OSError: the bytes are not an image.
    """
    return torch.from_numpy(np.asarray(center_square(open_image(io.BytesIO(data)), size)).copy()).permute(2, 0, 1)


def open_image(source: Path | io.BytesIO, min_side: int | None = None) -> Image.Image:
    """A photo or drawing to RGB: upright (EXIF), on white. A JPEG may be read at a smaller scale whose sides are at least `min_side`.

    Raises:
        OSError: the file is not an image that Pillow can read, or `on_white` refuses it.
    """
    try:
        # Pillow warns of odd metadata and of large images, whatever reads them; what it cannot read is an error
        with warnings.catch_warnings(action="ignore"), Image.open(source) as image:
            if min_side:
                image.draft("RGB", (min_side, min_side))  # formats other than JPEG ignore it
            return on_white(ImageOps.exif_transpose(image))
    except UnknownRange:
        raise
    except UnidentifiedImageError:  # Pillow's sentence names an object in memory
        raise OSError("not an image: of no format that Pillow knows") from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, TypeError, KeyError, ... for broken files
        raise OSError(f"not an image: {' '.join(str(error).split()) or type(error).__name__}") from None


def on_white(image: Image.Image) -> Image.Image:
    """Any Pillow image to RGB; transparent parts become white.

    Raises:
        UnknownRange: floating-point or 32-bit values: they would come out black, or white.
    """
    if image.mode in ("F", "I"):
        raise UnknownRange(f"values of unknown range (Pillow's mode {image.mode}); save the image with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        image = from_16_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8 (mode L), with an alpha channel (LA) where the file declares one of its greys transparent."""
    values, transparent = np.asarray(image), image.info.get("transparency")
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if transparent is None:
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))))


def center_square(image: Image.Image, size: int) -> Image.Image:
    """RGB of any shape to `size` x `size`: cropped to the short side, then Lanczos. An odd margin is one pixel wider at the end."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image if width == height else image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.LANCZOS)


def save_image(image: Image.Image, path: Path, **options) -> None:
    """Writes an image atomically, in the format of the path's ending; `options` are Pillow's. Raises OSError where the disk refuses."""
    with atomic_file(path) as temporary:
        image.save(temporary, Image.registered_extensions()[path.suffix.lower()], **options)


def png_bytes(image: Image.Image, level: int = 9) -> bytes:
    """The same bytes for the same pixels: no metadata, fixed compression (9 is smallest, 1 fastest)."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level, optimize=False)
    return buffer.getvalue()


def to_signed(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """0..255 to [-1, 1]."""
    return images.float() / 127.5 - 1


def to_bytes(images: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """[-1, 1] to 0..255, rounded; out-of-range values are clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_pil(image: Float[Tensor, "3 h w"]) -> Image.Image:
    """[-1, 1] to a Pillow image."""
    return Image.fromarray(to_bytes(image[None])[0].permute(1, 2, 0).cpu().numpy())
