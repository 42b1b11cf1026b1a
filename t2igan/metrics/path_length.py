"""How fast images change along a straight line between two latents: perceptual path length.

Karras et al. 2019 (arXiv:1812.04948), section 4.1. The caller chooses the distance; the published figures use LPIPS.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.synthesis.generator import Generator
from t2igan.types import TextDescriptors

STEP = 1e-4  # fraction of the way from one latent to the other, as published
TRIMMED = 0.01  # fraction of the lengths that is left out at either end


@torch.no_grad()
def path_lengths(
    generator: Generator,
    text: TextDescriptors,
    z: Float[Tensor, "b 2 z_dim"],
    distance: Callable[[Tensor, Tensor], Float[Tensor, " b"]],
    at: Float[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """Squared distances per squared step between the styles of two latents of one prompt, at the fraction `at` of the way (0 is the first).

    Args:
        distance: squared perceptual distance of images in [-1, 1].
    """
    text, count = generator.adapt(text), generator.synthesis.num_styles
    first, second = (generator.mapper(z[:, i], text, count) for i in (0, 1))

    def image_at(fraction: Tensor) -> Tensor:
        styles = torch.lerp(first, second, fraction[:, None, None])
        return generator.synthesis(styles, [text] * count).finest

    return distance(image_at(at), image_at(at + STEP)) / STEP**2


def trimmed_mean(lengths: Float[Tensor, " n"]) -> float:
    """The mean without the shortest and the longest 1 % of the lengths, as published. Raises ValueError of fewer than three lengths."""
    if len(lengths) < 3:
        raise ValueError(f"{len(lengths)} lengths, needs 3 or more: the shortest and the longest are left out")
    shortest, longest = lengths.double().quantile(torch.tensor([TRIMMED, 1 - TRIMMED], dtype=torch.float64))
    return float(lengths.double()[(lengths >= shortest) & (lengths <= longest)].mean())
