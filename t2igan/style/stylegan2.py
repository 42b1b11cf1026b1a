"""StyleGAN2's mapping network: latents and a condition to styles, with style mixing.

Karras et al. 2019 (arXiv:1812.04948), section 2 and 3.1; 2020 (arXiv:1912.04958, arXiv:2006.06676).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedLinear, lrelu
from t2igan.layers.normalize import unit_rms
from t2igan.ranges import Count, Positive, Share
from t2igan.style.base import StyleConfig
from t2igan.style.mixing import MixingStyle
from t2igan.types import TextDescriptors


@dataclass(frozen=True)
class StyleGAN2MappingConfig(StyleConfig):
    z_dim: Count = 512  # length of the latent z
    style_dim: Count = 512  # length of a style
    depth: Count = 8  # fully connected layers
    lr_multiplier: Positive = 0.01  # of the layers' learning rate
    mixing: Share = 0.9  # share of images whose finer stages take the style of another latent

    def build(self, text_dim: int) -> "StyleGAN2Mapping":
        return StyleGAN2Mapping(self, text_dim)


class StyleGAN2Mapping(MixingStyle):
    """[z, a linear function of the condition], each of unit mean square, to w.

    The condition is a class label (the one-hot pooled descriptor) or a caption's pooled descriptor; without text, z alone.
    """

    def __init__(self, config: StyleGAN2MappingConfig, text_dim: int):
        super().__init__(config.z_dim, config.style_dim, config.mixing, bool(text_dim))
        self.embed = EqualizedLinear(text_dim, config.style_dim) if text_dim else None
        widths = [config.z_dim + (config.style_dim if text_dim else 0)] + [config.style_dim] * config.depth
        self.layers = nn.ModuleList(
            EqualizedLinear(a, b, lr_multiplier=config.lr_multiplier) for a, b in zip(widths, widths[1:], strict=False)
        )

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        x = unit_rms(z)
        if self.embed is not None:
            x = torch.cat([x, unit_rms(self.embed(text.pooled))], 1)
        for layer in self.layers:
            x = lrelu(layer(x))
        return x
