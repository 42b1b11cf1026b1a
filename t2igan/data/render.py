"""Drawings and pictures to square RGB images, PNG bytes and contact sheets."""

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from t2igan.grids import fit

ART_SHARE = 0.92  # of the square's side; the rest is the margin, the same for every style
OVERSAMPLE = 4  # resvg's own antialiasing at 32 px is coarse; drawing larger and reducing keeps outlines even


def draw_svg(svg: str, size: int) -> Image.Image | None:
    """An SVG to RGB `size` x `size` on white: cropped to its art, centred, its longer side `ART_SHARE` of the square. None when blank."""
    import resvg_py

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


def on_white(image: Image.Image) -> Image.Image:
    """Any Pillow image to RGB; what is transparent becomes white."""
    if image.mode.startswith("I"):  # 16 bits a channel
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def open_picture(source: Path | io.BytesIO, at_least: int | None = None) -> Image.Image:
    """A photo or drawing to RGB: upright (EXIF), on white. A JPEG may be read at a smaller scale, down to sides of `at_least`.

    Raises:
        OSError: the file is no picture that can be read.
    """
    try:
        with Image.open(source) as image:
            if at_least:
                image.draft("RGB", (at_least, at_least))  # formats other than JPEG ignore it
            return on_white(ImageOps.exif_transpose(image))
    except Exception as error:  # broken files leave Pillow as OSError, SyntaxError, struct.error, TypeError, KeyError, ...
        raise OSError(f"not a picture: {' '.join(str(error).split()) or type(error).__name__}") from None


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """RGB of any shape to `size` x `size`: cropped to the short side, then Lanczos. An odd margin is one pixel wider at the end."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image if width == height else image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.LANCZOS)


def png_bytes(image: Image.Image, level: int = 9) -> bytes:
    """The same bytes for the same pixels: no metadata, fixed compression (9 is smallest, 1 fastest)."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level, optimize=False)
    return buffer.getvalue()


def contact_sheet(rows: list[tuple[str, list[Image.Image]]], path: Path, cell: int = 64, across: int = 1900) -> None:
    """(caption, its pictures) rows to one PNG, `across` pixels wide at most; small pictures are enlarged by whole factors, unsmoothed."""
    if not rows:
        return
    font = ImageFont.load_default(size=11)
    most = max(len(pictures) for _, pictures in rows)
    width, height = max(most * (cell + 2), 120) + 8, cell + 18
    columns = max(1, min(across // width, len(rows)))
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * width, lines * height), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (caption, pictures) in enumerate(rows):
        x, y = place % columns * width, place // columns * height
        for nth, picture in enumerate(pictures):
            sheet.paste(_shown(picture, cell), (x + nth * (cell + 2), y))
        pen.text((x, y + cell + 1), fit(caption, width - 4, font), fill="black", font=font)
    sheet.save(path, "PNG")


def _shown(picture: Image.Image, cell: int) -> Image.Image:
    if max(picture.size) > cell:
        return ImageOps.contain(picture, (cell, cell))
    return ImageOps.scale(picture, cell // max(picture.size), Image.Resampling.NEAREST)
