"""A model without a grid of its own to its equivariance: do its images move and turn with its input?

Karras et al. 2021 (arXiv:2106.12423), section 2.1 and appendix E.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_pil
from t2igan.grids import grid
from t2igan.inference.edit import moved_input, movement
from t2igan.inference.pipeline import Pipeline
from t2igan.metrics.equivariance import Moved, decibels, limited, shifted, turned

FARTHEST = 0.125  # of the width, as published


@dataclass(frozen=True)
class Equivariance:
    result: dict
    image: Image.Image


@dataclass(frozen=True)
class Comparison:
    """One way to move: what is drawn for a batch, and the two sides that are compared."""

    name: str
    input: Callable[[Tensor], Tensor]  # two numbers from [-1, 1) to the movement of the input
    expected: Callable[[Tensor, Tensor], Moved]  # images of the still input, moved
    found: Callable[[Tensor, Tensor], Moved]  # images of the moved input, as they are compared


def comparisons(side: int) -> tuple[Comparison, ...]:
    """EQ-T by whole pixels, EQ-T_frac by fractions, EQ-R by any angle."""

    def pixels(u: Tensor) -> tuple[float, float]:
        return tuple((u * FARTHEST * side).tolist())

    def whole(u: Tensor) -> tuple[float, float]:
        return tuple((u * FARTHEST * side).round().tolist())

    def as_is(images: Tensor, u: Tensor) -> Moved:
        return images, torch.ones(side, side)

    return (
        Comparison("eq_t", lambda u: movement([p / side for p in whole(u)]), lambda images, u: shifted(images, *whole(u)), as_is),
        Comparison("eq_t_frac", lambda u: movement([p / side for p in pixels(u)]), lambda images, u: shifted(images, *pixels(u)), as_is),
        Comparison(
            "eq_r",
            lambda u: movement(degrees=180 * float(u[0])),
            lambda images, u: turned(images, math.pi * float(u[0])),
            lambda images, u: limited(images, math.pi * float(u[0])),
        ),
    )


@torch.no_grad()
def measure_equivariance(pipeline: Pipeline, prompts: Sequence[str], count: int, batch: int = 8, seed: int = 0) -> Equivariance:
    """The three ratios over `count` images, each batch with movements of its own.

    Raises:
        UserError: the model's input cannot be moved, or a prompt is one that it does not take.
    """
    pipeline.check(prompts)
    random, side = torch.Generator().manual_seed(seed), pipeline.resolution
    sums: dict[str, Float[Tensor, " 2"]] = {}
    rows, captions = [], []
    for numbers in torch.arange(count).split(batch):
        seeds = [seed * count + i for i in numbers.tolist()]
        codes = pipeline.map_prompts([prompts[i % len(prompts)] for i in numbers.tolist()], seeds)
        still = pipeline.synthesize(codes)
        for way in comparisons(side):
            u = torch.rand(2, generator=random) * 2 - 1
            with moved_input(pipeline, way.input(u)):
                images = pipeline.synthesize(codes)
            (expected, known), (found, also) = way.expected(still, u), way.found(images, u)
            mask = known * also
            error = ((found - expected) * mask).double().square().sum()
            values = mask.double().sum() * still[:, :, 0, 0].numel()
            sums[way.name] = sums.get(way.name, torch.zeros(2, dtype=torch.float64)) + torch.stack([error, values])
            if len(rows) < 3:
                shown = [still[0], expected[0] * mask, found[0] * mask, (found - expected)[0] * mask]
                rows.append([to_pil(image) for image in shown])
                captions.append(f"{way.name}: image | moved image | image of moved input | difference")
    result = {name: decibels(*total.tolist()) for name, total in sums.items()}
    return Equivariance(result | {"unit": "dB", "pictures": count, "prompts": len(prompts), "seed": seed}, grid(rows, captions))
