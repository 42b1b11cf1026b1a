"""The latent itself, with the text embedded beside it: systems without a mapping network.

ProGAN (Karras et al. 2018, arXiv:1710.10196), R3GAN (Huang et al. 2024, arXiv:2501.05441): a class label there; the pooled text descriptor
takes its place. Without text, z alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.residual_grouped import PlainLinear
from t2igan.ranges import Count
from t2igan.style.base import StyleConfig, StyleNetwork
from t2igan.types import TextDescriptors


@dataclass(frozen=True)
class LatentConfig(StyleConfig):
    z_dim: Count = 64  # length of the latent z
    text_dim: Count = 64  # of the embedded text

    def build(self, text_dim: int) -> "LatentStyle":
        return LatentStyle(self, text_dim)


class LatentStyle(StyleNetwork):
    """[z, a linear function of the pooled text descriptor]; neither is normalised."""

    def __init__(self, config: LatentConfig, text_dim: int):
        super().__init__(config.z_dim, config.z_dim + (config.text_dim if text_dim else 0))
        self.embed = PlainLinear(text_dim, config.text_dim) if text_dim else None

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        return z if self.embed is None else torch.cat([z, self.embed(text.pooled).to(z.dtype)], 1)
