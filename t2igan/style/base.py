"""What every style network promises: latents and text to the styles that synthesis takes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.types import PartConfig, PrepareContext, TextDescriptors

MEAN_STYLE_LATENTS = 16  # per prompt, for the mean style over many prompts
CONDITIONAL_MEAN_LATENTS = 256  # for the mean style of one prompt


@dataclass(frozen=True)
class StyleConfig(PartConfig):
    """The section `generator.style`. Generic code reads nothing of it but this."""

    @property
    def num_clusters(self) -> int:
        """Among how many cluster labels the latent chooses; 0: none."""
        return 0

    def build(self, text_dim: int) -> "StyleNetwork":
        """The network; `text_dim` is the width of the pooled text descriptor, 0 where there is no text."""
        raise TypeError(f"{type(self).__name__} builds no network")


class StyleNetwork(nn.Module, ABC):
    """A latent z and the text to a style w; both truncations, and a style for every stage of synthesis.

    Args:
        z_dim: width of the latent.
        style_dim: width of the style.
        truncated_styles: truncation pulls so many of the styles, the coarsest ones; None: all.
    """

    def __init__(self, z_dim: int, style_dim: int, truncated_styles: int | None = None):
        super().__init__()
        self.z_dim, self.style_dim, self.truncated_styles = z_dim, style_dim, truncated_styles
        self.centroids: Tensor | None = None  # styles to the nearest of which truncation pulls, in place of the prompt's mean
        self.register_buffer("mean_style", torch.zeros(style_dim))  # over prompts and latents; zeros until training ends and measures it

    @abstractmethod
    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        """The style of each latent and prompt."""

    def prepare(self, context: PrepareContext) -> None:
        """Called once before training; loads what a network begins with."""

    def sample_latents(self, draws: Draws, text: TextDescriptors) -> Float[Tensor, "b z_dim"]:
        """Latents for training, a function of `draws`; a network whose latents carry cluster labels takes them from the text."""
        return draws.normal("latents", self.z_dim)

    def spread(
        self, w: Float[Tensor, "b style_dim"], num_styles: int, text: TextDescriptors, draws: Draws | None
    ) -> Float[Tensor, "b l style_dim"]:
        """A style for every stage. With `draws`, that is in training, a network may mix in the styles of other latents."""
        return repeat(w, "b d -> b l d", l=num_styles)

    def forward(
        self,
        z: Float[Tensor, "b z_dim"],
        text: TextDescriptors,
        num_styles: int,
        truncation: float = 1.0,
        global_truncation: float = 1.0,
        draws: Draws | None = None,
    ) -> Float[Tensor, "b l style_dim"]:
        """Styles; `truncation` below 1 pulls each towards the mean style of its own prompt, then `global_truncation` towards that of all.

        Where `centroids` are given, it pulls towards the nearest of them: Mokady et al. 2022 (arXiv:2202.12211), section 3.3. Kang et al.
        2023 (arXiv:2303.05511), section 4 and appendix, interpolate towards both means; the order is ours.
        """
        w = own = self.map(z, text)
        w = w if truncation == 1 else torch.lerp(self.truncation_target(w, text).to(w.dtype), w, truncation)
        w = w if global_truncation == 1 else torch.lerp(self.mean_style.to(w.dtype), w, global_truncation)
        styles = self.spread(w, num_styles, text, draws)
        if w is own or self.truncated_styles is None:
            return styles
        pulled = torch.arange(num_styles, device=w.device) < self.truncated_styles
        return torch.where(pulled[:, None], styles, self.spread(own, num_styles, text, draws))

    def truncation_target(self, w: Float[Tensor, "b style_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        if self.centroids is None:
            return self.conditional_mean(text)
        return self.centroids[torch.cdist(w.float(), self.centroids).argmin(1)]

    @torch.no_grad()
    def conditional_mean(self, text: TextDescriptors, latents: int = CONDITIONAL_MEAN_LATENTS) -> Float[Tensor, "b style_dim"]:
        """E_z w for each prompt, over a fixed set of latents, so that it is a function of the prompt alone."""
        z = torch.randn(latents, self.z_dim, generator=torch.Generator().manual_seed(0)).to(text.pooled)
        return torch.stack([self.map(z, text[i : i + 1].repeat(latents)).mean(0) for i in range(len(text))])

    def measure_mean(self, text: TextDescriptors) -> None:
        """Sets `mean_style`, the target of global truncation, to the mean over these prompts."""
        self.mean_style.zero_()  # a mean of before is not the target that this one is measured by
        self.mean_style.copy_(self.conditional_mean(text, latents=MEAN_STYLE_LATENTS).mean(0))
