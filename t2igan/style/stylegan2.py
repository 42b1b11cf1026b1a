"""StyleGAN2's mapping network: latents and a condition to styles, with style mixing.

Karras et al. 2019 (arXiv:1812.04948), section 2 and 3.1; 2020 (arXiv:1912.04958, arXiv:2006.06676).
"""

from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.equalized import EqualizedLinear, lrelu
from t2igan.layers.normalize import unit_rms
from t2igan.ranges import Count, Positive, Share
from t2igan.style.base import CONDITIONAL_MEAN_LATENTS, StyleConfig, StyleNetwork
from t2igan.types import TextDescriptors


@dataclass(frozen=True)
class StyleGAN2MappingConfig(StyleConfig):
    z_dim: Count = 512
    style_dim: Count = 512
    depth: Count = 8
    lr_multiplier: Positive = 0.01
    mixing: Share = 0.9  # of the images of a step, whose finer stages take the style of another latent

    def build(self, text_dim: int) -> "StyleGAN2Mapping":
        return StyleGAN2Mapping(self, text_dim)


class StyleGAN2Mapping(StyleNetwork):
    """[z, a linear function of the condition], each of unit mean square, to w.

    The condition is a class label (the one-hot pooled descriptor) or a caption's pooled descriptor; without text, z alone. Ours: each image
    mixes at a stage of its own (the release draws one per micro-batch), and the mean style is measured when training ends (the release
    keeps a moving average).
    """

    def __init__(self, config: StyleGAN2MappingConfig, text_dim: int):
        super().__init__(config.z_dim, config.style_dim)
        self.mixing = config.mixing
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

    def spread(
        self, w: Float[Tensor, "b style_dim"], num_styles: int, text: TextDescriptors, draws: Draws | None
    ) -> Float[Tensor, "b l style_dim"]:
        """One style for all stages; in training, of a share of the images, another latent's from a random stage on."""
        styles = repeat(w, "b d -> b l d", l=num_styles)
        if draws is None or not self.mixing or num_styles < 2:
            return styles
        other = self.map(draws.normal("mixed latents", self.z_dim), text)
        coin, place = draws.uniform("style mixing", 2).unbind(1)
        first = torch.where(coin < self.mixing, 1 + (place * (num_styles - 1)).long(), num_styles)
        mixed = torch.arange(num_styles, device=w.device) >= first[:, None]
        return torch.where(mixed[:, :, None], other[:, None], styles)

    def conditional_mean(self, text: TextDescriptors, latents: int = CONDITIONAL_MEAN_LATENTS) -> Float[Tensor, "b style_dim"]:
        """Without text all prompts have one mean, and once it is measured (or was in an imported file) that one is taken."""
        if self.embed is None and bool(self.mean_style.any()):
            return self.mean_style.expand(len(text), -1)
        return super().conditional_mean(text, latents)
