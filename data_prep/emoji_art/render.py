"""SVG art to square RGB images on white."""

import io

import resvg_py
from PIL import Image

from t2igan.data.images import on_white

ART_SHARE = 0.92  # of the square's side; the rest is the margin, the same for every style
OVERSAMPLE = 4  # resvg's own antialiasing at 32 px is coarse; drawing larger and reducing keeps outlines even


def draw_svg(svg: str, size: int) -> Image.Image | None:
    """An SVG to RGB `size` x `size` on white: cropped to its art, centred, its longer side `ART_SHARE` of the square. None if blank."""
    side = OVERSAMPLE * size
    drawn = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True))))
    drawn = drawn.convert("RGBA")
    bounds = drawn.getchannel("A").getbbox()
    return None if bounds is None else frame(on_white(drawn), bounds, size)


def frame(image: Image.Image, bounds: tuple[int, int, int, int], size: int) -> Image.Image:
    """The part of an RGB image within `bounds`, centred on a white square with its longer side `ART_SHARE` of `size`."""
    left, top, right, bottom = bounds
    width, height = right - left, bottom - top
    square = max(width, height) / ART_SHARE
    pad = int(square) + 1
    canvas = Image.new("RGB", (width + 2 * pad, height + 2 * pad), "white")
    canvas.paste(image.crop(bounds), (pad, pad))
    x, y = pad + (width - square) / 2, pad + (height - square) / 2
    # Hamming, not Lanczos: as sharp when reducing, without dark and light rings beside outlines
    return canvas.resize((size, size), Image.Resampling.HAMMING, box=(x, y, x + square, y + square))
