"""What tiles change: an upsampler on one large image in tiles, against the same image in one piece.

The large image is a mosaic of smaller ones. A visible seam would show in the middle of the overlap of two tiles, so differences near those
lines are reported apart from the others. All differences are in steps of 1/255.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.reference import naming_broken
from t2igan.inference.upsampler import Upsampler, tile_starts

ENHANCED = 32  # factor of the difference in the image
NEAR = 2  # px of the small image, on either side of the middle of an overlap


@dataclass(frozen=True)
class Seams:
    """Differences in numbers, and the enhanced difference in [-1, 1] at the size of the mosaic."""

    result: dict
    difference: Float[Tensor, "3 r r"]


def measure_seams(
    upsampler: Upsampler, data: str, side: int = 1024, cell: int = 256, tile: int | None = None, overlap: int | None = None
) -> Seams:
    """Enlarges a mosaic of `side` px, made of the first images of the shards at `cell` px, in tiles and as a whole.

    Raises:
        UserError: `side` is no multiple of `cell`, the mosaic fits into one tile, or such tiles are impossible.
    """
    if cell < 1 or side < cell or side % cell:
        raise UserError(f"--side is {side}, needs a multiple of --piece {cell}")
    tile, overlap = upsampler.tile_layout(tile, overlap)
    begins = tile_starts(side, min(tile, side), overlap, upsampler.multiple)
    if len(begins) < 2:
        raise UserError(f"a mosaic of {side} px is one tile; choose a larger one")
    image = mosaic(Shards(data, captioned=False), side, cell)
    tiled = upsampler.upsample_tensor(image, tile=tile, overlap=overlap)
    whole = upsampler.upsample_tensor(image, tile=side)
    difference = (tiled - whole).abs()[0] * 127.5

    at = (torch.arange(side * upsampler.factor) + 0.5) / upsampler.factor
    middles = [(a + tile + b) / 2 for a, b in zip(begins, begins[1:], strict=False)]
    near = torch.stack([(at - middle).abs() < NEAR for middle in middles]).any(0)
    seams = near[:, None] | near
    result = {
        "side": side,
        "tile": tile,
        "overlap": overlap,
        "tiles": len(begins) ** 2,
        "mean": difference.mean().item(),
        "near_seams": difference[:, seams].mean().item(),
        "elsewhere": difference[:, ~seams].mean().item(),
        "p999": difference.flatten().sort().values[int(0.999 * difference.numel())].item(),
        "max": difference.max().item(),
    }
    enhanced = F.avg_pool2d(difference[None], upsampler.factor)[0] * ENHANCED / 127.5 - 1
    return Seams(result, enhanced.clamp(-1, 1))


def mosaic(shards: Shards, side: int, cell: int) -> Float[Tensor, "1 3 r r"]:
    """The first images, in rows, in [-1, 1]; they repeat where the shards have too few."""
    across = side // cell
    cells = []
    for number in (place % len(shards) for place in range(across**2)):
        with naming_broken(shards, number):
            cells.append(to_signed(decode(shards.read(number).image, cell)[None]))
    return torch.cat([torch.cat(cells[row * across : (row + 1) * across], 3) for row in range(across)], 2)


def summary(result: dict) -> str:
    return (
        f"{result['side']} px in {result['tiles']} tiles of {result['tile']} px sharing {result['overlap']} px, against the whole, "
        "in steps of 1/255: "
        f"mean {result['mean']:.3f}, near seams {result['near_seams']:.3f}, elsewhere {result['elsewhere']:.3f}, "
        f"99.9 % below {result['p999']:.2f}, most {result['max']:.2f}"
    )
