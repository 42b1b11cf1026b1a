"""Pictures that can hardly be told apart, in whatever source they are: all but one of them are dropped."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from drawing_set.drawing import Drawing

COMPARE_SIZE = 16  # px
NEAR = 0.03  # root mean square difference at that size, pixels in [0, 1]; below it, an eye takes two pictures for one
BLOCK = 1024


def drop_near_duplicates(drawings: list[Drawing]) -> list[tuple[Drawing, Drawing]]:
    """(drawing to drop, the one that it looks like), in the order of `drawings`; of two, the later one is dropped."""
    pixels = np.stack([np.asarray(small(drawing.image), np.float32).ravel() / 255 for drawing in drawings])
    squares = (pixels**2).sum(1)
    bound = NEAR**2 * pixels.shape[1]
    dropped: dict[int, int] = {}
    for start in range(0, len(pixels), BLOCK):
        block = pixels[start : start + BLOCK]
        # Every pair once: |a - b|^2 = |a|^2 + |b|^2 - 2ab, exact enough by far for this bound
        distances = (
            squares[start : start + len(block), None] + squares[None, : start + len(block)] - 2 * block @ pixels[: start + len(block)].T
        )
        for row, column in np.argwhere(distances < bound):
            if column < start + row and start + row not in dropped and int(column) not in dropped:
                dropped[start + int(row)] = int(column)
    return [(drawings[index], drawings[like]) for index, like in dropped.items()]


def small(image: Image.Image) -> Image.Image:
    return image.resize((COMPARE_SIZE, COMPARE_SIZE), Image.Resampling.BOX)


def in_order(drawings: list[Drawing], rank: Callable[[Drawing], tuple]) -> list[Drawing]:
    """Sorted by `rank`, equals as they stand: of near duplicates, what is held out stays, and then what comes from the first source."""
    return sorted(drawings, key=rank)
