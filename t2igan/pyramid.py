"""Pictures to the same pictures at falling resolutions."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.resample import downsample
from t2igan.types import ImagePyramid


def shrink(images: Float[Tensor, "b 3 r r"], side: int) -> Float[Tensor, "b 3 s s"]:
    """Small pictures as an upsampler gets them: bicubic with antialiasing, near the Lanczos reduction of the base generator's own data."""
    return F.interpolate(images, size=(side, side), mode="bicubic", antialias=True, align_corners=False)


def build_pyramid(images: Float[Tensor, "b 3 r r"], sides: tuple[int, ...]) -> ImagePyramid:
    """Reals as D expects them: the mean of 2x2 pixels, again and again, at the given sides (finest first)."""
    wanted, level, levels = list(sides), images, []
    while wanted:
        if level.shape[-1] == wanted[0]:
            levels.append(level)
            wanted.pop(0)
        elif level.shape[-1] < wanted[0]:
            raise ValueError(f"pictures of {images.shape[-1]} px have no level of {wanted[0]} px; levels must halve: {sides}")
        else:
            level = downsample(level)
    return ImagePyramid(tuple(levels))


def select(pyramid: ImagePyramid, sides: tuple[int, ...]) -> ImagePyramid:
    """The levels of a pyramid that D looks at."""
    by_side = {level.shape[-1]: level for level in pyramid.levels}
    return ImagePyramid(tuple(by_side[side] for side in sides), pyramid.fade)


def concatenate(*pyramids: ImagePyramid) -> ImagePyramid:
    """Pyramids stacked on the batch axis."""
    return ImagePyramid(tuple(torch.cat(levels) for levels in zip(*(p.levels for p in pyramids), strict=True)), pyramids[0].fade)
