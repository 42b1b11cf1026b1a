"""SVG art to square RGB images."""

import io

import resvg_py
from PIL import Image

ART_SHARE = 0.92  # of the square's side; the rest is the margin, the same for every style
OVERSAMPLE = 4  # resvg's own antialiasing at 32 px is coarse; drawing larger and reducing keeps outlines even


def draw_svg(svg: str, size: int, ground: str = "white") -> Image.Image | None:
    """An SVG to RGB `size` x `size`: cropped to its art, centred, its longer side `ART_SHARE` of the square. None if blank.

    Args:
        ground: the colour behind the art.
    """
    drawn = rasterise(svg, OVERSAMPLE * size)
    bounds = drawn.getchannel("A").getbbox()
    return None if bounds is None else frame(on_ground(drawn, ground), bounds, size, ground)


def draw_whole_svg(svg: str, size: int) -> Image.Image:
    """A square SVG that fills its own canvas to RGB `size` x `size`, uncropped, on white."""
    return on_ground(rasterise(svg, OVERSAMPLE * size), "white").resize((size, size), Image.Resampling.HAMMING)


def rasterise(svg: str, side: int) -> Image.Image:
    """An SVG to RGBA that fits a square of `side` px. Text is drawn in no font: it would depend on the machine."""
    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True))))
    return image.convert("RGBA")


def on_ground(image: Image.Image, ground: str) -> Image.Image:
    """RGBA to RGB over one colour."""
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


def frame(image: Image.Image, bounds: tuple[int, int, int, int], size: int, ground: str = "white") -> Image.Image:
    """The part of an RGB image within `bounds`, centred on a square of one colour with its longer side `ART_SHARE` of `size`."""
    left, top, right, bottom = bounds
    width, height = right - left, bottom - top
    square = max(width, height) / ART_SHARE
    pad = int(square) + 1
    canvas = Image.new("RGB", (width + 2 * pad, height + 2 * pad), ground)
    canvas.paste(image.crop(bounds), (pad, pad))
    x, y = pad + (width - square) / 2, pad + (height - square) / 2
    # Hamming, not Lanczos: as sharp when reducing, without dark and light rings beside outlines
    return canvas.resize((size, size), Image.Resampling.HAMMING, box=(x, y, x + square, y + square))
