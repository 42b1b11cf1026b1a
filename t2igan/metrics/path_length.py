"""How fast images change on the way from one latent to another: perceptual path length.

Karras et al. 2019 (arXiv:1812.04948), section 4.1. The caller chooses the distance; the published figures use LPIPS.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.synthesis.generator import Generator
from t2igan.types import TextDescriptors

STEP = 1e-4  # fraction of the way from one latent to the other, as published
TRIMMED = 0.01  # fraction of the lengths that is left out at either end

Space = Literal["z", "w"]


class LatentPaths:
    """The ways between pairs of latents, each of one prompt: straight between their styles ("w"), or along the sphere of latents ("z").

    Pixel noise, where a network has it, is the same everywhere on a way.
    """

    @torch.no_grad()
    def __init__(self, generator: Generator, text: TextDescriptors, z: Float[Tensor, "b 2 z_dim"], space: Space = "w"):
        self.generator, self.text, self.ends, self.space = generator, generator.adapt(text), z.unbind(1), space
        self.count = generator.synthesis.num_styles
        self.styles = [self._styles(end) for end in self.ends] if space == "w" else []

    def _styles(self, z: Float[Tensor, "b z_dim"]) -> Float[Tensor, "b l style_dim"]:
        return self.generator.mapper(z, self.text, self.count)

    @torch.no_grad()
    def images(self, at: Float[Tensor, " b"]) -> Float[Tensor, "b 3 r r"]:
        """The image at this fraction of each way; 0 is its first end."""
        styles = self._styles(slerp(*self.ends, at)) if self.space == "z" else torch.lerp(*self.styles, at[:, None, None])
        return self.generator.synthesis(styles, [self.text] * self.count).finest


def slerp(a: Float[Tensor, "b d"], b: Float[Tensor, "b d"], at: Float[Tensor, " b"]) -> Float[Tensor, "b d"]:
    """At this fraction of the arc from a to b, computed in double precision; the length goes from that of a to that of b in proportion."""
    dtype, a, b, at = a.dtype, a.double(), b.double(), at.double()[:, None]
    lengths = [x.norm(dim=1, keepdim=True) for x in (a, b)]
    a, b = a / lengths[0], b / lengths[1]
    cosine = (a * b).sum(1, keepdim=True)
    across = b - cosine * a
    across = across / across.norm(dim=1, keepdim=True).clamp(min=torch.finfo(across.dtype).tiny)
    angle = at * cosine.clamp(-1, 1).arccos()
    return ((a * angle.cos() + across * angle.sin()) * torch.lerp(*lengths, at)).to(dtype)


def path_lengths(
    paths: LatentPaths, distance: Callable[[Tensor, Tensor], Float[Tensor, " b"]], at: Float[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """Squared distances per squared step, at these fractions of the ways.

    Args:
        distance: squared perceptual distance of images in [-1, 1].
    """
    return distance(paths.images(at), paths.images(at + STEP)) / STEP**2


def trimmed(lengths: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """Without the shortest and the longest 1 % of the lengths, as published, in double precision; of 100 lengths or fewer, all.

    As in the release, the bounds are the percentiles' outer neighbours.
    """
    lengths = lengths.double()
    shortest, longest = lengths.quantile(TRIMMED, interpolation="lower"), lengths.quantile(1 - TRIMMED, interpolation="higher")
    return lengths[(lengths >= shortest) & (lengths <= longest)]
