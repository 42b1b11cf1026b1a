"""Style mixing: an image whose finer stages take the style of another latent, so that stages do not rely on one another.

Karras et al. 2019 (arXiv:1812.04948), section 3.1. Ours: each image mixes at a stage of its own (the releases draw one per micro-batch),
and the mean style is measured when training ends (the releases keep a moving average).
"""

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from t2igan.draws import Draws
from t2igan.style.base import CONDITIONAL_MEAN_LATENTS, StyleNetwork
from t2igan.types import TextDescriptors


class MixingStyle(StyleNetwork):
    """A style network that mixes in training.

    Args:
        mixing: the share of images that do.
        conditional: whether styles depend on more than the latent.
    """

    def __init__(self, z_dim: int, style_dim: int, mixing: float, conditional: bool, truncated_styles: int | None = None):
        super().__init__(z_dim, style_dim, truncated_styles)
        self.mixing, self.conditional = mixing, conditional

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
        """Without a condition all prompts have one mean, and once it is measured (or was in an imported file) that one is taken."""
        if not self.conditional and bool(self.mean_style.any()):
            return self.mean_style.expand(len(text), -1)
        return super().conditional_mean(text, latents)
