"""A model and real images to ProGAN's two statistics: sliced Wasserstein distances of patches by level, and MS-SSIM between images.

Karras et al. 2018 (arXiv:1710.10196), section 5. Neither reads a network, so neither is biased by what one was trained on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_bytes, to_pil, to_signed
from t2igan.data.order import shuffled
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.nearest import SEED, sample_captions
from t2igan.grids import grid
from t2igan.inference.pipeline import NO_PROMPT, Pipeline
from t2igan.metrics.images import ImageSet
from t2igan.metrics.ms_ssim import ms_ssim
from t2igan.metrics.sliced_wasserstein import COARSEST, laplacian_pyramid, patches, sliced_wasserstein, standardised

BATCH = 50  # images at a time
SHOWN = 12  # patches of each level

ImageReader = Callable[[Sequence[int]], Float[Tensor, "b 3 r r"]]  # numbers of images to the images, in [-1, 1]


@dataclass(frozen=True)
class ImageStatistics:
    result: dict
    image: Image.Image  # patches of real and of generated images, level by level


def image_statistics(pipeline: Pipeline, data: str, count: int, pairs: int, truncation: float = 1.0) -> ImageStatistics:
    """Of `count` generated images against as many real ones, and of one half of the real ones against the other.

    Patches take 75 KB per image and level, as published 1.2 GB per set and level for 16,384 images.

    Args:
        data: shards of real images; of a model with text, their captions are the prompts.
        count: images of each set.
        pairs: of images whose similarity is measured.

    Raises:
        UserError: there are fewer real images, or they are too small for a level.
    """
    side = pipeline.resolution
    if side < COARSEST:
        raise UserError(f"the model makes images of {side} px, the distance needs {COARSEST} px or more")
    shards = Shards(data, captioned=pipeline.conditional)
    if not 2 <= count <= len(shards):
        raise UserError(f"--count is {count}, needs 2 to {len(shards)}, the real images of {data}")
    real = ImageSet(shards, side, one_size=False)
    prompts = sample_captions(shards, count) if pipeline.conditional else [NO_PROMPT] * count

    order = shuffled(np.arange(count), len(shards), SEED)  # of shards in order of classes, too, an even sample

    def generated(rows: Sequence[int]) -> Tensor:
        return to_signed(to_bytes(pipeline.sample_pairs([prompts[i] for i in rows], rows, truncation)))

    def reals(rows: Sequence[int]) -> Tensor:
        return to_signed(real.read(order[list(rows)].tolist()))

    half = count // 2
    found = {"generated": levels_of(generated, range(count)), "real": levels_of(reals, range(count))}
    names = [str(side >> i) for i in range(len(found["real"]))]
    distances = [sliced_wasserstein(standardised(a), standardised(b)) for a, b in zip(*found.values(), strict=True)]
    per_image = len(found["real"][0]) // count
    floor = [
        sliced_wasserstein(standardised(level[: half * per_image]), standardised(level[-half * per_image :])) for level in found["real"]
    ]
    result = {
        "sliced_wasserstein": summary(names, distances),
        "sliced_wasserstein_of_halves_of_real": summary(names, floor),
        "ms_ssim": {name: mean_similarity(read, count, pairs) for name, read in (("generated", generated), ("real", reals))},
        "images": count,
        "pairs": pairs,
        "truncation": truncation,
    }
    return ImageStatistics(result, patch_sheet(found, names))


def summary(names: list[str], distances: list[float]) -> dict[str, float]:
    return dict(zip(names, distances, strict=True)) | {"mean": sum(distances) / len(distances)}


def levels_of(read: ImageReader, rows: range) -> list[Float[Tensor, "n 3 k k"]]:
    """Patches of images in 0..255 at each level, finest first."""
    found = []
    for chunk in chunks(rows):
        pyramid = laplacian_pyramid((read(chunk).float() + 1) * 127.5)
        found.append([patches(level, list(chunk)) for level in pyramid])
    return [torch.cat(level) for level in zip(*found, strict=True)]


def mean_similarity(read: ImageReader, count: int, pairs: int) -> float:
    """The mean MS-SSIM of random pairs of two different images, the same pairs for every set."""
    random = torch.Generator().manual_seed(0)
    first = torch.randint(count, (pairs,), generator=random)
    second = (first + torch.randint(1, count, (pairs,), generator=random)) % count
    rows = zip(chunks(first.tolist()), chunks(second.tolist()), strict=True)
    return float(torch.cat([ms_ssim(read(a), read(b)) for a, b in rows]).mean())


def chunks(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def patch_sheet(found: dict[str, list[Tensor]], names: list[str]) -> Image.Image:
    """Some patches of each set and level, at the contrast of the level."""
    rows, captions = [], []
    for number, name in enumerate(names):
        for kind, levels in found.items():
            level = levels[number]
            chosen = level[torch.linspace(0, len(level) - 1, SHOWN).long()]
            mean, deviation = found["real"][number].mean(), found["real"][number].std()
            rows.append([to_pil(((patch - mean) / (3 * deviation)).clamp(-1, 1)) for patch in chosen])
            captions.append(f"{name} px, {kind}")
    return grid(rows, captions, scale=6)
