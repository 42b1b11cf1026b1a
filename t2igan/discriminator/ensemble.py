"""Heads on a frozen CLIP's features beside any discriminator.

Kumari et al. 2022 (arXiv:2112.09130); in Kang et al. 2023 (arXiv:2303.05511), section 3.3: maps of several layers of the image tower,
each through a fixed random projection (Sauer et al. 2021, arXiv:2111.01007, section 3.2) to 3x3 convolutions modulated by the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.base import NEEDS_TEXT, DiscriminatorNetwork, DiscriminatorNetworkConfig, rows_of
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.layers.equalized import EqualizedConv2d, lrelu
from t2igan.layers.frozen import Frozen
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.normalize import unit_rms
from t2igan.layers.precision import full_precision, widen
from t2igan.ranges import Amount, Count, Whole
from t2igan.types import CheckContext, ImageSet, PrepareContext, TextDescriptors, TextDims, Verdict


def networks() -> dict[str, type[DiscriminatorNetworkConfig]]:
    """The kinds of discriminators that heads may stand beside."""
    from t2igan.discriminator import KINDS  # the table contains this module's own kind

    return KINDS


@dataclass(frozen=True, kw_only=True)
class VisionAidedConfig(DiscriminatorNetworkConfig):
    network: Any = field(metadata={"kinds": networks})  # the discriminator beside which the heads stand
    model: str  # an open_clip name, local-dir:FOLDER or hf-hub:ORG/REPO, with a ViT
    pretrained: str | None = None  # open_clip's tag or a weight file, for a model given by name
    width: Count = 768  # of the tower
    layers: tuple[Whole, ...] = (3, 7, 11)  # of the tower, counted from 0, whose maps the heads take
    channels: Count = 256  # of the random projections and the heads
    head_depth: Count = 1  # 3x3 modulated convolutions per head
    weight: Amount = 1.0  # of the heads in every loss; the network's own have 1

    @property
    def any_side(self) -> bool:
        return self.network.any_side

    def levels(self, resolution: int) -> tuple[int, ...]:
        return self.network.levels(resolution)

    def check(self, context: CheckContext) -> None:
        if not context.token_dim:
            raise ValueError(NEEDS_TEXT.format("vision_aided"))
        try:
            self.network.check(context)
        except ValueError as error:
            raise ValueError(f"network.{error}") from None
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"layers is {list(self.layers)}, needs numbers of layers, each once, in rising order")

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "VisionAidedDiscriminator":
        return VisionAidedDiscriminator(self.network.build(resolution, adapter, text), self, text.pooled)


class VisionHead(nn.Module):
    """A frozen layer's map and the pooled descriptor to logits, one per place."""

    def __init__(self, config: VisionAidedConfig, text_dim: int):
        super().__init__()
        # fixed, but not the same in every run: so it is saved with the weights
        self.register_buffer("projection", torch.randn(config.channels, config.width, 1, 1) / config.width**0.5)
        self.layers = nn.ModuleList(AdaptiveConv2d(config.channels, config.channels, text_dim, 3) for _ in range(config.head_depth))
        self.out = EqualizedConv2d(config.channels, 1, kernel_size=1)

    def forward(self, x: Float[Tensor, "b c h w"], descriptor: Float[Tensor, "b text_dim"]) -> Float[Tensor, "b _"]:
        y = F.conv2d(unit_rms(x.movedim(1, -1)).movedim(-1, 1), self.projection)
        for layer in self.layers:
            y = lrelu(layer(y, descriptor))
        with full_precision(y.device):
            return self.out(widen(y)).flatten(1)


class VisionAidedDiscriminator(DiscriminatorNetwork):
    """A discriminator and heads on a frozen CLIP: their verdicts as one.

    Gradient penalties take the primary heads alone (`Verdict.primary`): D cannot change how steep the frozen tower is.
    """

    def __init__(self, network: DiscriminatorNetwork, config: VisionAidedConfig, text_dim: int):
        super().__init__(network.levels, network.batch_multiple)
        self.network = network
        self.heads = nn.ModuleList(VisionHead(config, text_dim) for _ in config.layers)
        self.config = config
        self.tower = Frozen(ClipScorer(config.model, config.pretrained))

    def prepare(self, context: PrepareContext) -> None:
        """Loads the frozen tower. Raises UserError where it is missing or its width is not the recipe's."""
        self.network.prepare(context)
        tower, config = self.tower.network, self.config
        context.load(tower)
        with torch.no_grad():
            widths = {x.shape[1] for x in tower.maps(torch.zeros(1, 3, tower.size, tower.size, device=context.device), config.layers)}
        if widths != {config.width}:
            raise UserError(f"discriminator.network.width is {config.width}, {config.model} has {max(widths)}; write that")

    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        """The network's verdicts, with the vision heads' logits after its own."""
        verdicts = self.network(sets, text, twice_differentiable)
        maps = self.tower.network.maps(torch.cat([images.pyramid.finest for images in sets]), self.config.layers)
        descriptors = unit_rms(text.pooled)

        def aided(verdict: Verdict, rows: slice, captions: Tensor) -> Verdict:
            logits = [head(x[rows], descriptors[captions]).float() for head, x in zip(self.heads, maps, strict=True)]
            return verdict.with_heads(logits, self.config.weight)

        return tuple(
            tuple(aided(verdict, rows, captions) for verdict, captions in zip(found, images.captions, strict=True))
            for found, images, rows in zip(verdicts, sets, rows_of(sets), strict=True)
        )

    def without_frozen(self) -> DiscriminatorNetwork | None:
        return self.network.without_frozen()

    def update(self) -> None:
        self.network.update()

    def parts(self) -> dict[str, nn.Module]:
        return self.network.parts() | {"vision_aided": self.heads}
