"""ProGAN's latent: z and a class label or a text, together on the unit hypersphere.

Karras et al. 2018 (arXiv:1710.10196), appendix A.1 and A.2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.normalize import unit_rms
from t2igan.ranges import Count
from t2igan.style.base import StyleConfig, StyleNetwork
from t2igan.types import TextDescriptors


@dataclass(frozen=True)
class ProGANLatentConfig(StyleConfig):
    z_dim: Count = 512  # length of the latent z

    def build(self, text_dim: int) -> "ProGANLatent":
        return ProGANLatent(self, text_dim)


class ProGANLatent(StyleNetwork):
    """[z, the pooled descriptor] to mean square 1; of a class label the descriptor is its one-hot vector. Nothing is learned."""

    def __init__(self, config: ProGANLatentConfig, text_dim: int):
        super().__init__(config.z_dim, config.z_dim + text_dim)

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        return unit_rms(torch.cat([z, text.pooled.to(z.dtype)], 1))
