"""Art to images, each drawn once.

The cache holds every picture under the hash of what it is drawn from, so that an interrupted run goes on.
"""

import hashlib
import io
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import repeat
from pathlib import Path

from art.render import draw_svg, draw_whole_svg
from PIL import Image
from tqdm import tqdm

from drawing_set.drawing import FRAMED, TILE, Drawing
from t2igan.data.images import on_white, png_bytes
from t2igan.files import atomic_file

VERSION = f"1, resvg-py {version('resvg-py')}"  # of the drawing itself: counts when pictures of the same art change


def draw_all(drawings: list[Drawing], size: int, cache: Path, processes: int) -> None:
    """Sets the file of every drawing, RGB `size` x `size`; an empty one for art that is blank or that no renderer can read."""
    paths = [cache_path(drawing, size, cache) for drawing in drawings]
    missing = {path: drawing for drawing, path in zip(drawings, paths, strict=True) if not path.exists()}
    for folder in {path.parent for path in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        done = pool.map(draw_one, missing.values(), missing, repeat(size), chunksize=16)
        for _ in tqdm(done, f"drawing at {size} px", len(missing), disable=not sys.stderr.isatty()):
            pass
    for drawing, path in zip(drawings, paths, strict=True):
        drawing.file = path


def draw_one(drawing: Drawing, path: Path, size: int) -> None:
    """Writes a picture as PNG; an empty file if there is nothing to see."""
    image = draw(drawing.art, drawing.form, drawing.ground, size)
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"" if image is None else png_bytes(image))


def draw(art: str | bytes, form: str, ground: str, size: int) -> Image.Image | None:
    if form == TILE:
        tile = on_white(Image.open(io.BytesIO(art)))
        smooth = size % tile.width or size < tile.width  # whole factors keep the pixels of pixel art
        return tile.resize((size, size), Image.Resampling.HAMMING if smooth else Image.Resampling.NEAREST)
    try:
        return draw_svg(art, size, ground) if form == FRAMED else draw_whole_svg(art, size)
    except ValueError:  # resvg's, for an SVG that it cannot read
        return None


def cache_path(drawing: Drawing, size: int, cache: Path) -> Path:
    art = drawing.art if isinstance(drawing.art, bytes) else drawing.art.encode()
    name = hashlib.sha256("\n".join((VERSION, drawing.form, drawing.ground)).encode() + b"\n" + art).hexdigest()
    return cache / str(size) / name[:2] / f"{name[2:]}.png"
