"""A latent and the global text descriptor to a style, by fully connected layers.

Karras et al. 2019 (arXiv:1812.04948), section 2; with the text joined to z as in Kang et al. 2023 (arXiv:2303.05511), section 3.1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.equalized import EqualizedLinear, lrelu
from t2igan.layers.normalize import unit_rms
from t2igan.ranges import Count, Positive, Whole
from t2igan.style.base import StyleConfig, StyleNetwork
from t2igan.types import CheckContext, TextDescriptors


@dataclass(frozen=True)
class MappingConfig(StyleConfig):
    z_dim: Count = 128  # length of the latent z
    style_dim: Count = 1024  # length of a style
    depth: Whole = 4  # fully connected layers
    lr_multiplier: Positive = 0.01  # of the layers' learning rate
    num_clusters: Whole = 0  # Ours: the first entries of z also choose, by argmax, one of so many learned vectors; 0 leaves z as it is

    def check(self, context: CheckContext) -> None:
        if self.num_clusters > self.z_dim:
            raise ValueError(f"num_clusters is {self.num_clusters}, needs 0 to z_dim {self.z_dim}: each cluster takes an entry of z")

    def build(self, text_dim: int) -> "MappingNetwork":
        return MappingNetwork(self, text_dim)


def latent_cluster(z: Float[Tensor, "b z_dim"], num_clusters: int) -> Int[Tensor, " b"]:
    """The cluster that a latent chooses, 0 to num_clusters - 1: uniform for z ~ N(0, I)."""
    return z[:, :num_clusters].argmax(1)


def assign_clusters(z: Float[Tensor, "b z_dim"], cluster: Int[Tensor, " b"], num_clusters: int) -> Float[Tensor, "b z_dim"]:
    """Latents that choose the given clusters (labels from 1 on); where the label is 0, the latent as it is.

    A latent chooses the cluster of its greatest entry: that entry changes places with the wanted one, which leaves N(0, I) given the label.
    """
    rows = torch.arange(len(z), device=z.device)
    greatest = latent_cluster(z, num_clusters)
    wanted = torch.where(cluster > 0, cluster - 1, greatest)
    assigned = z.clone()
    assigned[rows, wanted], assigned[rows, greatest] = z[rows, greatest], z[rows, wanted]
    return assigned


class MappingNetwork(StyleNetwork):
    """z and the global descriptor, each scaled to unit mean square and joined, to w; with clusters, the vector of z's cluster too."""

    def __init__(self, config: MappingConfig, text_dim: int):
        super().__init__(config.z_dim, config.style_dim)
        self.num_clusters = config.num_clusters
        self.cluster = nn.Embedding(config.num_clusters, config.z_dim) if config.num_clusters else None
        widths = [config.z_dim * (2 if config.num_clusters else 1) + text_dim] + [config.style_dim] * config.depth
        self.layers = nn.ModuleList(
            EqualizedLinear(a, b, lr_multiplier=config.lr_multiplier) for a, b in zip(widths, widths[1:], strict=False)
        )

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        parts = [unit_rms(z), unit_rms(text.pooled)]
        if self.cluster is not None:
            parts.insert(1, self.cluster(latent_cluster(z, self.num_clusters)))
        x = torch.cat(parts, 1)
        for layer in self.layers:
            x = lrelu(layer(x))
        return x

    def sample_latents(self, draws: Draws, text: TextDescriptors) -> Float[Tensor, "b z_dim"]:
        z = super().sample_latents(draws, text)
        return z if text.cluster is None else assign_clusters(z, text.cluster, self.num_clusters)
