"""Captions and images to one image: a captioned grid, a sheet of captioned images, a contact sheet."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

CAPTION_HEIGHT = 16
MARGIN = 4
READABLE = 480  # px, up to which a grid is as wide as its longest caption
LARGEST = {".webp": 16_383, ".jpg": 65_535, ".jpeg": 65_535}  # px of either side, by the format
DRAWN = 600  # characters of a caption that are looked at; more than fit into the widest block

Row = tuple[str, Iterable[Image.Image]]  # a caption and its images


@dataclass(frozen=True)
class Block:
    """The geometry of one caption with its row of images, in px from the block's corner."""

    width: int
    height: int
    caption: tuple[int, int]
    caption_width: int  # a wider caption is truncated
    image: tuple[int, int]  # of the first image
    pitch: int  # from one image to the next


def draw_blocks(rows: Iterable[Row], block: Block, columns: int, size: tuple[int, int], left: int, font_size: int) -> Image.Image:
    """Rows to an RGB image of `size` on white: blocks from left to right, `columns` in a line, the first one `left` px from the side."""
    canvas, font = Image.new("RGB", size, "white"), ImageFont.load_default(font_size)
    draw = ImageDraw.Draw(canvas)
    for position, (caption, images) in enumerate(rows):
        x, y = left + position % columns * block.width, position // columns * block.height
        text = truncate(caption, block.caption_width, font)
        draw.text((x + block.caption[0], y + block.caption[1]), text, fill="black", font=font)
        for column, image in enumerate(images):
            canvas.paste(image, (x + block.image[0] + column * block.pitch, y + block.image[1]))
    return canvas


def grid(rows: list[list[Image.Image]], captions: list[str], scale: int | None = None, columns: int = 1) -> Image.Image:
    """One row of images per caption, which stands above it; `columns` captions are beside each other. Images are enlarged by `scale`; by
    default small ones to about 64 px."""
    layout = grid_layout(rows[0][0].width, captions, max(len(row) for row in rows), scale, columns)
    enlarged = ((caption, [enlarge(image, layout.cell) for image in row]) for caption, row in zip(captions, rows, strict=True))
    return draw_blocks(enlarged, layout.block, columns, layout.size, 0, font_size=11)


@dataclass(frozen=True)
class GridLayout:
    """A grid before it is drawn, in px."""

    cell: int  # side of an image in it
    block: Block
    size: tuple[int, int]


def grid_layout(side: int, captions: list[str], images: int, scale: int | None = None, columns: int = 1) -> GridLayout:
    """The layout of `grid` for images of `side` px, `images` of each caption."""
    cell = side * (scale or max(1, 64 // side))
    longest = int(max(ImageFont.load_default(11).getlength(one_line(caption)) for caption in captions)) + 1
    width = max(images * (cell + MARGIN) + MARGIN, min(longest + 2 * MARGIN, READABLE))
    height = cell + CAPTION_HEIGHT + MARGIN
    block = Block(width, height, (MARGIN, 1), width - 2 * MARGIN, (MARGIN, CAPTION_HEIGHT), cell + MARGIN)
    return GridLayout(cell, block, (columns * width, -(-len(captions) // columns) * height))


def sheet(images: list[Image.Image], captions: list[str], columns: int = 10, scale: int = 2) -> Image.Image:
    """Images in lines of `columns`, each enlarged by `scale`, with its own caption above it."""
    side = images[0].width * scale
    block = Block(side + MARGIN, side + CAPTION_HEIGHT, (0, 2), side, (0, CAPTION_HEIGHT), 0)
    size = columns * block.width + MARGIN, -(-len(images) // columns) * block.height + MARGIN
    enlarged = ((caption, [enlarge(image, side)]) for caption, image in zip(captions, images, strict=True))
    return draw_blocks(enlarged, block, columns, size, MARGIN, font_size=10)


def contact_sheet(rows: list[tuple[str, list[Image.Image]]], cell: int = 64, max_width: int = 1900) -> Image.Image:
    """(caption, its images) rows in blocks, the caption below; an image larger than `cell` px is reduced, a smaller one is enlarged by a
    whole factor without smoothing."""
    block_width = max(max(len(images) for _, images in rows) * (cell + 2), 120) + 8
    block = Block(block_width, cell + 18, (0, cell + 1), block_width - 4, (0, 0), cell + 2)
    columns = max(1, min(max_width // block_width, len(rows)))
    size = columns * block_width, -(-len(rows) // columns) * block.height
    fitted = ((caption, [fit(image, cell) for image in images]) for caption, images in rows)
    return draw_blocks(fitted, block, columns, size, 0, font_size=11)


def enlarge(image: Image.Image, side: int) -> Image.Image:
    """To a square of `side` px without smoothing."""
    return image.resize((side, side), Image.Resampling.NEAREST)


def fit(image: Image.Image, side: int) -> Image.Image:
    """The image in its own proportions within a square of `side` px."""
    if max(image.size) > side:
        return ImageOps.contain(image, (side, side))
    return ImageOps.scale(image, side // max(image.size), Image.Resampling.NEAREST)


def one_line(caption: str) -> str:
    """The beginning of a caption as it is drawn, on one line."""
    return " ".join(caption[:DRAWN].split())


def truncate(caption: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The caption on one line; where that is wider than `width` px, its beginning with an ellipsis."""
    text = one_line(caption)
    if font.getlength(text) <= width and len(caption) <= DRAWN:
        return text
    fits = bisect_right(range(1, len(text) + 1), width, key=lambda count: font.getlength(text[:count] + "…"))
    return text[:fits] + "…"
