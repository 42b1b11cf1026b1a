"""Images to the same images at falling resolutions."""

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.resample import downsample
from t2igan.types import ImagePyramid


def build_pyramid(images: Float[Tensor, "b 3 r r"], sides: tuple[int, ...]) -> ImagePyramid:
    """Real images as D expects them: the mean of 2x2 pixels, again and again, at the given sides (finest first)."""
    wanted, level, levels = list(sides), images, []
    while wanted:
        if level.shape[-1] == wanted[0]:
            levels.append(level)
            wanted.pop(0)
        elif level.shape[-1] < wanted[0]:
            raise ValueError(f"images of {images.shape[-1]} px have no level of {wanted[0]} px; levels must halve: {sides}")
        else:
            level = downsample(level)
    return ImagePyramid(tuple(levels))


def select_levels(pyramid: ImagePyramid, sides: tuple[int, ...]) -> ImagePyramid:
    """The levels of a pyramid at the given sides."""
    by_side = {level.shape[-1]: level for level in pyramid.levels}
    return ImagePyramid(tuple(by_side[side] for side in sides))


def concatenate(*pyramids: ImagePyramid) -> ImagePyramid:
    """Pyramids stacked on the batch axis."""
    return ImagePyramid(tuple(torch.cat(levels) for levels in zip(*(p.levels for p in pyramids), strict=True)))
