"""Images to the same images at falling resolutions."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.resample import downsample
from t2igan.types import ImagePyramid


def build_pyramid(images: Float[Tensor, "b 3 r r"], sides: tuple[int, ...], fade: float = 1.0) -> ImagePyramid:
    """Real images as D expects them: the mean of 2x2 pixels, again and again, at the given sides (finest first).

    Where the finest side fades in, so do the images: the rest of them is their half side, enlarged (Karras et al. 2018, section 2).
    """
    wanted, level, levels = list(sides), images, []
    while wanted:
        if level.shape[-1] == wanted[0]:
            levels.append(level)
            wanted.pop(0)
        elif level.shape[-1] < wanted[0]:
            raise ValueError(f"images of {images.shape[-1]} px have no level of {wanted[0]} px; levels must halve: {sides}")
        else:
            level = downsample(level)
    if fade < 1:
        levels[0] = torch.lerp(F.interpolate(downsample(levels[0]), scale_factor=2, mode="nearest"), levels[0], fade)
    return ImagePyramid(tuple(levels), fade)


def select_levels(pyramid: ImagePyramid, sides: tuple[int, ...]) -> ImagePyramid:
    """The levels of a pyramid at the given sides."""
    by_side = {level.shape[-1]: level for level in pyramid.levels}
    return ImagePyramid(tuple(by_side[side] for side in sides), pyramid.fade)


def concatenate(*pyramids: ImagePyramid) -> ImagePyramid:
    """Pyramids stacked on the batch axis."""
    return ImagePyramid(tuple(torch.cat(levels) for levels in zip(*(p.levels for p in pyramids), strict=True)))
