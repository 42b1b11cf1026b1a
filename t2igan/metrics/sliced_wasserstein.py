"""Sliced Wasserstein distance between patches of two sets of images, at every level of a Laplacian pyramid.

Karras et al. 2018 (arXiv:1710.10196), section 5: the finest level tells about detail and noise, the coarsest about large structure.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.data.order import hashed

PATCH = 7  # px
PATCHES = 128  # of each image and level
COARSEST = 16  # px, the side of the last level
DIRECTIONS, REPEATS = 128, 4  # projections at a time, and how often
SCALE = 1e3  # of the published figures
TAPS = (1, 4, 6, 4, 1)


def laplacian_pyramid(images: Float[Tensor, "b c r r"]) -> list[Float[Tensor, "b c _ _"]]:
    """Details at each side down to `COARSEST` px, finest first; the last level is the image at that side itself.

    Burt and Adelson 1983; borders are mirrored.
    """
    levels = [images]
    while levels[-1].shape[-1] >= 2 * COARSEST:
        smaller = _filtered(levels[-1])[:, :, ::2, ::2]
        levels[-1] = levels[-1] - _doubled(smaller)
        levels.append(smaller)
    return levels


def _filtered(x: Float[Tensor, "b c h w"], gain: float = 1.0) -> Float[Tensor, "b c h w"]:
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device)
    kernel = (gain * taps[:, None] * taps / taps.sum() ** 2).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (2,) * 4, mode="reflect"), kernel, groups=x.shape[1])


def _doubled(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Zeros between the values, then the filter."""
    spaced = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spaced[:, :, ::2, ::2] = x
    return _filtered(spaced, gain=4.0)


def patches(level: Float[Tensor, "b c s s"], numbers: list[int], seed: int = 0) -> Float[Tensor, "n c k k"]:
    """`PATCHES` random patches of each image; the places depend on the seed, the side and the number of the image alone."""
    places = level.shape[-1] - PATCH + 1
    columns = np.arange(2 * PATCHES, dtype=np.uint64) + np.uint64(level.shape[-1] << 16)
    corners = torch.from_numpy((hashed(seed, np.asarray(numbers)[:, None], columns[None]) % np.uint64(places)).astype(np.int64))
    corners = corners.to(level.device)
    top, left = corners[:, :PATCHES, None, None], corners[:, PATCHES:, None, None]
    span = torch.arange(PATCH, device=level.device)
    rows = torch.arange(len(level), device=level.device)[:, None, None, None]
    return level.movedim(1, -1)[rows, top + span[:, None], left + span].flatten(0, 1).movedim(-1, 1)


def standardised(found: Float[Tensor, "n c k k"]) -> Float[Tensor, "n d"]:
    """Every channel of a set of patches to mean 0 and deviation 1."""
    mean, deviation = found.mean((0, 2, 3), keepdim=True), found.std((0, 2, 3), keepdim=True, unbiased=False)
    return ((found - mean) / deviation.clamp(min=torch.finfo(found.dtype).tiny)).flatten(1)


def sliced_wasserstein(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], seed: int = 0) -> float:
    """The mean distance of two equally large sets of points along random directions, in units of 1e-3. Rabin et al. 2011."""
    random = torch.Generator().manual_seed(seed)
    distances = []
    for _ in range(REPEATS):
        directions = torch.randn(a.shape[1], DIRECTIONS, generator=random).to(a)
        directions = directions / directions.norm(dim=0)
        distances.append((_sorted(a @ directions) - _sorted(b @ directions)).abs().mean())
    return SCALE * float(torch.stack(distances).mean())


def _sorted(x: Float[Tensor, "n k"]) -> Float[Tensor, "k n"]:
    return x.T.contiguous().sort(dim=1).values
