"""A model to StyleGAN's figures of its noise: images with noise at all sides, at coarse or fine ones alone, and what noise moves.

Karras et al. 2019 (arXiv:1812.04948), section 3.2, Fig. 4 (deviation over realisations) and Fig. 5 (layers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_pil
from t2igan.draws import Draws
from t2igan.errors import UserError
from t2igan.grids import grid
from t2igan.inference.pipeline import Pipeline, StyleCodes
from t2igan.layers.stages import resolutions

BATCH = 8  # realisations at a time
PURPOSE = "noise"  # of the random numbers that networks ask for


class NoiseDraws(Draws):
    """Pixel noise for maps of some sides, and zeros for the others.

    Args:
        asked: the sides for which there was noise to give; all who share it add to it.
    """

    def __init__(self, seed: int, positions: Tensor, sides: Sequence[int], scope: str = "", asked: set[int] | None = None):
        super().__init__(seed, positions, scope)
        self.sides, self.asked = sides, set() if asked is None else asked

    def scoped(self, scope: str) -> NoiseDraws:
        return NoiseDraws(self.seed, self.positions, self.sides, f"{self.scope}{scope}/", self.asked)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        found = super().normal(purpose, *shape)
        if purpose == PURPOSE:
            self.asked.add(shape[-1])
        return found if shape[-1] in self.sides else torch.zeros_like(found)


@dataclass(frozen=True)
class NoiseFigure:
    result: dict
    image: Image.Image


@torch.no_grad()
def noise_figure(pipeline: Pipeline, prompts: Sequence[str], realisations: int = 100, seed: int = 0) -> NoiseFigure:
    """How much pixel noise moves the image of each prompt, by the sides of the maps that it is added to.

    Raises:
        UserError: the model adds no noise, or a prompt is one that it does not take.
    """
    pipeline.check(prompts)
    sides = resolutions(pipeline.resolution)
    coarse, fine = sides[: len(sides) // 2], sides[len(sides) // 2 :]
    groups = {"all": sides, "coarse": coarse, "fine": fine}
    deviations: dict[str, list[float]] = {name: [] for name in groups}
    rows, captions = [], []
    for prompt in prompts:
        codes = pipeline.map_prompts([prompt], [seed])
        still = with_noise(pipeline, codes, (), range(1))
        made = {name: with_noise(pipeline, codes, part, range(realisations)) for name, part in groups.items()}
        for name, images in made.items():
            deviations[name].append(float(images.std(0, unbiased=False).mean()) * 127.5)
        deviation = made["all"].std(0, unbiased=False).mean(0)
        moved = (deviation / deviation.max().clamp(min=1e-12) * 2 - 1).expand(3, -1, -1)
        shown = [still[0], made["all"][0], made["all"][1], made["coarse"][0], made["fine"][0], moved]
        rows.append([to_pil(image) for image in shown])
        captions.append(f"{prompt}  none | all | all, again | coarse | fine | deviation".lstrip())
    result = {
        "deviation": {name: sum(found) / len(found) for name, found in deviations.items()},
        "unit": "steps of 1/255, the mean over pixels and channels",
        "coarse": f"{coarse[0]} to {coarse[-1]} px",
        "fine": f"{fine[0]} to {fine[-1]} px",
        "realisations": realisations,
        "prompts": len(prompts),
        "seed": seed,
    }
    return NoiseFigure(result, grid(rows, captions))


def with_noise(pipeline: Pipeline, codes: StyleCodes, sides: Sequence[int], numbers: range) -> Float[Tensor, "n 3 r r"]:
    """The image of one style code with the realisations of these numbers at these sides, on the CPU.

    Raises:
        UserError: the model adds no noise.
    """
    images = []
    for rows in torch.tensor(list(numbers), device=pipeline.device).split(BATCH):
        draws, many = NoiseDraws(0, rows, sides), codes[torch.zeros_like(rows)]
        images.append(pipeline.generator.synthesize(many.styles, list(many.texts), draws=draws).pyramid.finest.cpu())
        if not draws.asked:
            raise UserError("this model adds no noise to its maps")
    return torch.cat(images)
