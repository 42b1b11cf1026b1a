"""StyleGAN-XL's mapping network: a short latent, and classes as the features of their pictures.

Sauer et al. 2022 (arXiv:2202.00273), section 3.1 and 3.2.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.class_embedding import ClassEmbedding, check_table
from t2igan.layers.equalized import EqualizedLinear, lrelu
from t2igan.layers.normalize import unit_rms
from t2igan.ranges import Count, Positive
from t2igan.style.base import StyleConfig, StyleNetwork
from t2igan.types import CheckContext, PrepareContext, TextDescriptors


@dataclass(frozen=True)
class StyleGANXLMappingConfig(StyleConfig):
    z_dim: Count = 64  # length of the latent z
    style_dim: Count = 512  # length of a style
    depth: Count = 2  # fully connected layers
    lr_multiplier: Positive = 0.01  # of the layers' learning rate
    class_embeddings: str | None = None  # a file of data_prep/class_embeddings.py; none: no table, the descriptor itself is projected
    embedding_width: Count | None = None  # of the file's rows

    def check(self, context: CheckContext) -> None:
        if self.class_embeddings and not context.num_classes:
            raise ValueError("class_embeddings needs class labels (text: {kind: label, ...}); leave it out")
        check_table(self.class_embeddings, self.embedding_width)

    def build(self, text_dim: int) -> "StyleGANXLMapping":
        return StyleGANXLMapping(self, text_dim)


class StyleGANXLMapping(StyleNetwork):
    """[z, projected class or text], each of unit mean square, to w."""

    def __init__(self, config: StyleGANXLMappingConfig, text_dim: int):
        super().__init__(config.z_dim, config.style_dim)
        self.file = config.class_embeddings
        self.embed = ClassEmbedding(text_dim, config.embedding_width, config.z_dim) if text_dim else None
        widths = [config.z_dim * (2 if text_dim else 1)] + [config.style_dim] * config.depth
        self.layers = nn.ModuleList(
            EqualizedLinear(a, b, lr_multiplier=config.lr_multiplier) for a, b in zip(widths, widths[1:], strict=False)
        )

    def prepare(self, context: PrepareContext) -> None:
        if self.file and context.weights:
            self.embed.load(Path(self.file), "generator.style.class_embeddings")

    def map(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors) -> Float[Tensor, "b style_dim"]:
        x = unit_rms(z)
        if self.embed is not None:
            x = torch.cat([x, unit_rms(self.embed(text.pooled))], 1)
        for layer in self.layers:
            x = lrelu(layer(x))
        return x
