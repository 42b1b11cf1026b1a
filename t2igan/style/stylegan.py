"""StyleGAN's mapping network: latents and a condition, together on the unit hypersphere, to styles.

Karras et al. 2019 (arXiv:1812.04948), section 2, 3.1 (style mixing) and appendix B (truncation of the coarse styles).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import plain_lrelu
from t2igan.layers.normalize import unit_rms
from t2igan.layers.progressive import HeLinear
from t2igan.ranges import Count, Positive, Share, Whole
from t2igan.style.base import StyleConfig
from t2igan.style.mixing import MixingStyle
from t2igan.types import TextDescriptors


@dataclass(frozen=True)
class StyleGANMappingConfig(StyleConfig):
    z_dim: Count = 512  # length of the latent z
    style_dim: Count = 512  # length of a style
    depth: Count = 8  # fully connected layers
    lr_multiplier: Positive = 0.01  # of the layers' learning rate
    mixing: Share = 0.9  # share of images whose finer stages take the style of another latent
    truncated_styles: Whole = 8  # truncation pulls so many of the coarsest styles

    def build(self, text_dim: int) -> "StyleGANMapping":
        return StyleGANMapping(self, text_dim)


class StyleGANMapping(MixingStyle):
    """[z, a matrix times the condition] to mean square 1, then to w; the condition is a label's one-hot vector or a text's descriptor."""

    def __init__(self, config: StyleGANMappingConfig, text_dim: int):
        super().__init__(config.z_dim, config.style_dim, config.mixing, bool(text_dim), config.truncated_styles)
        self.embed = nn.Parameter(torch.randn(text_dim, config.z_dim)) if text_dim else None  # without equalised rate, as in the release
        widths = [config.z_dim * (2 if text_dim else 1)] + [config.style_dim] * config.depth
        self.layers = nn.ModuleList(HeLinear(a, b, lr_multiplier=config.lr_multiplier) for a, b in zip(widths, widths[1:], strict=False))

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        x = z if self.embed is None else torch.cat([z, text.pooled @ self.embed], 1)
        x = unit_rms(x)
        for layer in self.layers:
            x = plain_lrelu(layer(x))
        return x
