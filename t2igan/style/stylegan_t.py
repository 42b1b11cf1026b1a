"""StyleGAN-T's mapping network: latents alone are mapped, and the text joins the result as it is.

Sauer et al. 2023 (arXiv:2301.09515), section 3.1 and Fig. 2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedLinear, lrelu
from t2igan.layers.normalize import unit_rms
from t2igan.ranges import Count, Positive
from t2igan.style.base import StyleConfig, StyleNetwork
from t2igan.types import TextDescriptors


@dataclass(frozen=True)
class StyleGANTMappingConfig(StyleConfig):
    z_dim: Count = 64  # length of the latent z
    depth: Count = 2  # fully connected layers
    lr_multiplier: Positive = 0.01  # of the layers' learning rate
    # Ours: a factor of the text, whose entries the paper leaves as small as those of a vector of length 1; the root of its width makes
    # them as large as those of z
    text_scale: Positive = 1.0

    def build(self, text_dim: int) -> "StyleGANTMapping":
        return StyleGANTMapping(self, text_dim)


class StyleGANTMapping(StyleNetwork):
    """w = [f(z), c], c of length 1. Truncation pulls f(z) to its mean, which is the same for every prompt, and leaves the text."""

    def __init__(self, config: StyleGANTMappingConfig, text_dim: int):
        super().__init__(config.z_dim, config.z_dim + text_dim)
        self.layers = nn.ModuleList(
            EqualizedLinear(config.z_dim, config.z_dim, lr_multiplier=config.lr_multiplier) for _ in range(config.depth)
        )
        self.text_scale = config.text_scale

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        x = unit_rms(z)
        for layer in self.layers[:-1]:
            x = lrelu(layer(x))
        text = F.normalize(text.pooled.float(), dim=1).to(x.dtype)
        return torch.cat([self.layers[-1](x), self.text_scale * text], 1)

    def truncation_target(self, w: Float[Tensor, "b style_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        """The nearest centroid, too, is one of f(z), and leaves the text."""
        if self.centroids is None:
            return super().truncation_target(w, text)
        own = w[:, : self.z_dim].float()
        modes = self.centroids[:, : self.z_dim]
        return torch.cat([modes[torch.cdist(own, modes).argmin(1)], w[:, self.z_dim :].float()], 1)
