"""Learned layers on top of a frozen text tower.

Kang et al. 2023 (arXiv:2303.05511), section 3.1: T takes the tower's token states; its output at the end-of-text position is the
global descriptor, the others are the local ones.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from t2igan.layers.attention import CrossAttention, FeedForward
from t2igan.layers.equalized import EqualizedLinear
from t2igan.layers.normalize import RMSNorm, unit_rms
from t2igan.ranges import Count, Whole
from t2igan.text.projection import ProjectionConfig
from t2igan.types import CheckContext, PartConfig, PrepareContext, TextDescriptors, TextDims


@dataclass(frozen=True)
class AdapterConfig(PartConfig):
    depth: Whole = 4  # transformer layers
    width: Count | None = None  # of the learned layers and so of their descriptors; none: the tower's
    head_dim: Count = 64  # width of a head of attention
    pooling: Literal["eos", "pooled"] = "eos"  # where the global descriptor comes from: the end-of-text state, or the tower's pooled vector
    projection: ProjectionConfig | None = None  # Ours, with pooling pooled: a CLIP's text embedding takes the pooled vector's place

    def check(self, context: CheckContext) -> None:
        if not context.token_dim:
            raise ValueError("depth: the system has no text to learn layers on; set the adapter to null")
        if self.width and self.width % min(self.head_dim, self.width):
            raise ValueError(f"width is {self.width}, needs a multiple of head_dim {self.head_dim}")
        if not self.width and context.token_dim % min(self.head_dim, context.token_dim):
            raise ValueError(f"head_dim is {self.head_dim}, needs a divisor of token_dim {context.token_dim}; or give a width")
        if self.projection:
            if self.pooling != "pooled":
                raise ValueError("projection takes the place of the pooled vector, which pooling eos does not read; set pooling to pooled")
            self.projection.check(context)

    def build(self, text: TextDims, num_clusters: int = 0, local: bool = True) -> "TextAdapter":
        """The layers.

        Args:
            num_clusters: cluster labels (`TextDescriptors.cluster`) that are embedded with the text; 0: none.
            local: whether the local descriptors are read, too; D reads the global one alone.
        """
        return TextAdapter(self, text, num_clusters, local)


class AdapterBlock(nn.Module):
    """Token states to token states: masked self-attention and a pointwise network, both residual."""

    def __init__(self, dim: int, head_dim: int):
        super().__init__()
        self.norm = RMSNorm(dim)
        self.attention = CrossAttention(dim, dim, head_dim)
        self.norm_ff = RMSNorm(dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t c"]:
        normed = self.norm(x)
        x = x + self.attention(normed, normed, mask)
        return x + self.feed_forward(self.norm_ff(x))


class TextAdapter(nn.Module):
    """Frozen descriptors to learned ones: local [b t width] and global [b width], masked to the true end of each text.

    With `pooling: pooled` the tower's pooled vector joins the tokens as one more, and its state is the global descriptor. A cluster label's
    learned vector is added to the global descriptor. Where no layer reads tokens, the local descriptors are the frozen ones.
    """

    def __init__(self, config: AdapterConfig, text: TextDims, num_clusters: int = 0, local: bool = True):
        super().__init__()
        self.width = config.width or text.token
        self.reads_tokens = local or config.depth > 0 or config.pooling == "eos"
        self.in_proj = EqualizedLinear(text.token, self.width) if self.reads_tokens and self.width != text.token else None
        self.projection = config.projection.build(text) if config.projection else None
        pooled = config.projection.widths[-1] if config.projection else text.pooled
        self.from_pooled = EqualizedLinear(pooled, self.width) if config.pooling == "pooled" else None
        self.blocks = nn.ModuleList(AdapterBlock(self.width, min(config.head_dim, self.width)) for _ in range(config.depth))
        self.norm = RMSNorm(self.width)
        self.cluster = nn.Embedding(num_clusters + 1, self.width) if num_clusters else None

    @property
    def dims(self) -> TextDims:
        return TextDims(self.width, self.width)

    def prepare(self, context: PrepareContext) -> None:
        """Loads the projection, where there is one."""
        if self.projection is not None:
            self.projection.prepare(context)

    def forward(self, text: TextDescriptors) -> TextDescriptors:
        if self.reads_tokens:
            local, pooled = self.of_tokens(text)
        else:
            local, pooled = text.local, self.norm(self.pooled(text))
        if self.cluster is not None:
            pooled = pooled + self.cluster(text.cluster)
        return replace(text, local=local, pooled=pooled)

    def pooled(self, text: TextDescriptors) -> Float[Tensor, "b width"]:
        """The vector for the whole prompt, at the layers' width."""
        return self.from_pooled(unit_rms(text.pooled if self.projection is None else self.projection(text)))

    def of_tokens(self, text: TextDescriptors) -> tuple[Float[Tensor, "b t width"], Float[Tensor, "b width"]]:
        """Local and global descriptors after the layers."""
        x, mask = text.local, text.source.mask
        if self.in_proj is not None:
            x = self.in_proj(x)
        if self.from_pooled is not None:
            x = torch.cat([x, self.pooled(text)[:, None]], 1)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        if self.from_pooled is not None:
            return x[:, :-1], x[:, -1]
        return x, x[torch.arange(len(x), device=x.device), mask.sum(1) - 1]
