"""A latent and the global text descriptor to a style vector, by fully connected layers.

Karras et al. 2019 (arXiv:1812.04948), section 2; with the text joined to z as in Kang et al. 2023 (arXiv:2303.05511), section 3.1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedLinear, lrelu
from t2igan.layers.normalize import unit_rms
from t2igan.types import PartConfig, TextDescriptors

MEAN_LATENTS = 16  # per prompt, for the mean style over many prompts


@dataclass(frozen=True)
class MappingConfig(PartConfig):
    z_dim: int = 128
    style_dim: int = 1024
    depth: int = 4  # fully connected layers
    lr_multiplier: float = 0.01
    modes: int = 0  # Ours: the first `modes` entries of z also choose, by argmax, one of `modes` learned vectors; 0 leaves z as it is

    def check(self, resolution: int) -> None:
        if not 0 <= self.modes <= self.z_dim:
            raise ValueError(f"modes is {self.modes}, needs 0 to z_dim {self.z_dim}: each mode takes an entry of z")


def latent_mode(z: Float[Tensor, "b z_dim"], modes: int):
    """Which mode a latent chooses: uniform over `modes` for z ~ N(0, I)."""
    return z[:, :modes].argmax(1)


class MappingNetwork(nn.Module):
    """z and the global descriptor, each scaled to unit mean square and joined, to w. With modes, the vector of z's mode joins them."""

    def __init__(self, config: MappingConfig, text_dim: int):
        super().__init__()
        self.z_dim, self.style_dim, self.modes = config.z_dim, config.style_dim, config.modes
        self.mode = nn.Embedding(config.modes, config.z_dim) if config.modes else None
        widths = [config.z_dim * (2 if config.modes else 1) + text_dim] + [config.style_dim] * config.depth
        self.layers = nn.ModuleList(
            EqualizedLinear(a, b, lr_multiplier=config.lr_multiplier) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.register_buffer(
            "mean_style", torch.zeros(config.style_dim)
        )  # over prompts and latents; zeros until it is measured, when training ends

    def forward(
        self, z: Float[Tensor, "b z_dim"], text: TextDescriptors, truncation: float = 1.0, global_truncation: float = 1.0
    ) -> Float[Tensor, "b style_dim"]:
        """Styles; `truncation` below 1 pulls each towards the mean style of its own prompt, then `global_truncation` towards that of all.

        Kang et al. 2023, section 4 and appendix, interpolate towards both; the order is ours.
        """
        w = self.map(z, text)
        w = w if truncation == 1 else torch.lerp(self.conditional_mean(text), w, truncation)
        return w if global_truncation == 1 else torch.lerp(self.mean_style, w, global_truncation)

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        parts = [unit_rms(z), unit_rms(text.pooled)]
        if self.mode is not None:
            parts.insert(1, self.mode(latent_mode(z, self.modes)))
        x = torch.cat(parts, 1)
        for layer in self.layers:
            x = lrelu(layer(x))
        return x

    @torch.no_grad()
    def conditional_mean(self, text: TextDescriptors, latents: int = 256) -> Float[Tensor, "b style_dim"]:
        """E_z w for each prompt, over a fixed set of latents, so that it is a function of the prompt alone."""
        z = torch.randn(latents, self.z_dim, generator=torch.Generator().manual_seed(0)).to(text.pooled)
        return torch.stack([self.map(z, text[i : i + 1].repeat(latents)).mean(0) for i in range(len(text))])

    def measure_mean(self, text: TextDescriptors) -> None:
        """Sets `mean_style`, which global truncation pulls to, to the mean over these prompts."""
        self.mean_style.copy_(self.conditional_mean(text, latents=MEAN_LATENTS).mean(0))
