"""How fast pictures change along a straight line between two latents: perceptual path length.

Karras et al. 2019 (arXiv:1812.04948), section 4.1, with a distance of the caller's: the published figures take LPIPS.
"""

from collections.abc import Callable

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from t2igan.synthesis.generator import Generator
from t2igan.types import TextDescriptors

STEP = 1e-4  # of the way from one latent to the other, as published
TRIMMED = 0.01  # of the lengths at either end are left out


@torch.no_grad()
def path_lengths(
    generator: Generator,
    text: TextDescriptors,
    z: Float[Tensor, "b 2 z_dim"],
    distance: Callable[[Tensor, Tensor], Float[Tensor, " b"]],
    at: Float[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """Squared distances per squared step between the styles of two latents of one prompt, `at` that part of the way (0: at the first).

    Args:
        distance: squared distance of pictures in [-1, 1], of a network that stands for the eye.
    """
    text, count = generator.adapt(text), generator.synthesis.stages_count
    first, second = (generator.mapper(z[:, i], text) for i in (0, 1))

    def draw(part: Tensor) -> Tensor:
        w = torch.lerp(first, second, part[:, None])
        return generator.synthesis(repeat(w, "b d -> b l d", l=count), [text] * count).finest

    return distance(draw(at), draw(at + STEP)) / STEP**2


def trimmed_mean(lengths: Float[Tensor, " n"]) -> float:
    """The mean without the shortest and the longest hundredth, as published."""
    low, high = lengths.double().quantile(torch.tensor([TRIMMED, 1 - TRIMMED], dtype=torch.float64))
    return float(lengths.double()[(lengths >= low) & (lengths <= high)].mean())
