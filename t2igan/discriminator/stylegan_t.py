"""Heads on the tokens of a frozen vision transformer: every token of several layers votes, and the text decides by projection.

Sauer et al. 2023 (arXiv:2301.09515), section 3.2 and Fig. 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.base import DiscriminatorNetwork, DiscriminatorNetworkConfig, rows_of
from t2igan.errors import UserError
from t2igan.features.base import BLOCK, EMBEDDING, FeatureNetwork
from t2igan.features.open_clip import ClipScorer
from t2igan.layers.equalized import EqualizedLinear
from t2igan.layers.frozen import Frozen
from t2igan.layers.local_norm import LocalBatchNorm
from t2igan.layers.precision import full_precision
from t2igan.layers.spectral import SpectralConv1d, update_spectral
from t2igan.ranges import Count, Whole
from t2igan.types import CheckContext, ImageSet, PrepareContext, TextDescriptors, TextDims, Verdict

REACH = 9  # tokens that a head's second convolution sees


@dataclass(frozen=True, kw_only=True)
class StyleGANTDiscriminatorConfig(DiscriminatorNetworkConfig):
    model: str = "vit_small_patch16_224.dino"  # a vision transformer of timm; or (Ours) a CLIP, local-dir:FOLDER or hf-hub:ORG/REPO
    weights: str | None = None  # the file of timm's model, or hf-hub:ORG/REPO; a run cannot begin without
    side: Count | None = None  # px, at which timm's model reads images; none: its own
    layers: tuple[Whole, ...] = (2, 5, 8, 11)  # from 0 on, whose tokens a head reads each; of timm's model one more reads the embedding
    widths: tuple[Count, ...] = (384,)  # of the tokens of each head; one number: of all
    channels: Count = 64  # of the projection on the text
    group: Count = 8  # images over which a head's features are normalised

    @property
    def any_side(self) -> bool:
        return True

    def check(self, context: CheckContext) -> None:
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"layers is {list(self.layers)}, needs numbers of layers, each once, in rising order")
        if len(self.widths) not in (1, len(self.names)):
            raise ValueError(f"widths has {len(self.widths)} entries, needs one for each of {', '.join(self.names)}, or one for all")
        for name in ("weights", "side"):
            if self.of_clip and getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)}, and a CLIP brings its own; leave it out")
        super().check(context)

    @property
    def of_clip(self) -> bool:
        return self.model.startswith(("local-dir:", "hf-hub:"))

    @property
    def names(self) -> tuple[str, ...]:
        """The features that the heads read, in their order."""
        return (*(f"{BLOCK}{number}" for number in self.layers), *([] if self.of_clip else [EMBEDDING]))

    def tower(self) -> FeatureNetwork:
        if self.of_clip:
            return ClipScorer(self.model, layers=self.names)
        from t2igan.features.vision_tokens import VisionTokens  # timm takes seconds to load, which every other command is spared

        return VisionTokens(self.weights, self.model, self.names, self.side)

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "StyleGANTDiscriminator":
        return StyleGANTDiscriminator(self, resolution, adapter, text.pooled if adapter is None else adapter.width)


class TokenHead(nn.Module):
    """One layer's tokens to a logit each."""

    def __init__(self, c: int, config: StyleGANTDiscriminatorConfig, text_dim: int):
        super().__init__()
        self.first, self.first_norm = SpectralConv1d(c, c), LocalBatchNorm(c, config.group)
        self.second, self.second_norm = SpectralConv1d(c, c, REACH), LocalBatchNorm(c, config.group)
        self.out = SpectralConv1d(c, config.channels if text_dim else 1)
        self.embed = EqualizedLinear(text_dim, config.channels) if text_dim else None

    def features(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b o t"]:
        x = F.leaky_relu(self.first_norm(self.first(x)), 0.2)
        x = (x + F.leaky_relu(self.second_norm(self.second(x)), 0.2)) * math.sqrt(0.5)
        return self.out(x)

    def forward(self, features: Float[Tensor, "b o t"], descriptor: Float[Tensor, "b text_dim"]) -> Float[Tensor, "b t"]:
        if self.embed is None:
            return features.squeeze(1)
        return (features * self.embed(descriptor)[:, :, None]).sum(1) / math.sqrt(features.shape[1])


class StyleGANTDiscriminator(DiscriminatorNetwork):
    """Scores images by a frozen network's tokens. Statistics are those of a few images of one set."""

    def __init__(self, config: StyleGANTDiscriminatorConfig, resolution: int, adapter: nn.Module | None, text_dim: int):
        super().__init__((resolution,))
        self.config, self.adapter, self.names = config, adapter, config.names
        self.widths = config.widths if len(config.widths) > 1 else config.widths * len(self.names)
        self.heads = nn.ModuleList(TokenHead(width, config, text_dim) for width in self.widths)
        self.tower = Frozen(config.tower())

    def prepare(self, context: PrepareContext) -> None:
        """Loads the frozen network. Raises UserError where its weights are missing or its widths are not the recipe's."""
        super().prepare(context)
        context.load(self.tower.network)
        with torch.no_grad():
            found = self.tower(torch.zeros(1, 3, *self.levels * 2, device=context.device))
        widths = [found[name].shape[1] for name in self.names]
        if widths != list(self.widths):
            raise UserError(f"discriminator.network.widths is {list(self.widths)}, {self.config.model} has {widths}; write that")

    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        tokens = self.tower(torch.cat([images.pyramid.finest for images in sets]))
        with full_precision(text.pooled.device):
            descriptors = F.normalize(text.pooled.float(), dim=1) if self.adapter is None else self.adapter(text).pooled.float()
            found = []
            for images, rows in zip(sets, rows_of(sets), strict=True):
                features = [head.features(tokens[name][rows].flatten(2)) for head, name in zip(self.heads, self.names, strict=True)]
                found.append(tuple(self.verdict(features, descriptors[captions]) for captions in images.captions))
            return tuple(found)

    def verdict(self, features: list[Tensor], descriptor: Float[Tensor, "b text_dim"]) -> Verdict:
        logits = tuple(head(x, descriptor) for head, x in zip(self.heads, features, strict=True))
        return Verdict(logits, (1.0,) * len(logits))

    def update(self) -> None:
        update_spectral(self)

    def without_frozen(self) -> None:
        return None

    def parts(self) -> dict[str, nn.Module]:
        return {"heads": self.heads} if self.adapter is None else {"adapter": self.adapter, "heads": self.heads}
