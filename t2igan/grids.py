"""Pictures to a captioned grid."""

from PIL import Image, ImageDraw, ImageFont

CAPTION_HEIGHT = 16
MARGIN = 4
READABLE = 480  # px, up to which a grid is as wide as its longest caption


def grid(rows: list[list[Image.Image]], captions: list[str], scale: int | None = None) -> Image.Image:
    """One row per caption, written above it. Small pictures are shown larger, by whole factors."""
    side = rows[0][0].width
    scale = scale or max(1, 64 // side)
    cell, columns = side * scale, max(len(row) for row in rows)
    font = ImageFont.load_default(11)
    longest = int(max(font.getlength(caption) for caption in captions)) + 1
    width = max(columns * (cell + MARGIN) + MARGIN, min(longest + 2 * MARGIN, READABLE))
    canvas = Image.new("RGB", (width, len(rows) * (cell + CAPTION_HEIGHT + MARGIN)), "white")
    draw = ImageDraw.Draw(canvas)
    for y, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        top = y * (cell + CAPTION_HEIGHT + MARGIN)
        draw.text((MARGIN, top + 1), fit(caption, width - 2 * MARGIN, font), fill="black", font=font)
        for x, picture in enumerate(row):
            canvas.paste(picture.resize((cell, cell), Image.Resampling.NEAREST), (MARGIN + x * (cell + MARGIN), top + CAPTION_HEIGHT))
    return canvas


def sheet(pictures: list[Image.Image], captions: list[str], columns: int = 10, scale: int = 2) -> Image.Image:
    """Pictures in rows, each with its own caption above it."""
    side = pictures[0].width * scale
    width, height = side + MARGIN, side + CAPTION_HEIGHT
    canvas = Image.new("RGB", (columns * width + MARGIN, -(-len(pictures) // columns) * height + MARGIN), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(10)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = MARGIN + i % columns * width, i // columns * height
        draw.text((left, top + 2), fit(caption, side, font), fill="black", font=font)
        canvas.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top + CAPTION_HEIGHT))
    return canvas


def fit(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, cut with an ellipsis where it is wider than `width` px."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
