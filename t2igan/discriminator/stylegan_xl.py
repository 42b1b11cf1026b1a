"""Heads on the mixed features of frozen classifiers: a projected discriminator with two points of view.

Sauer et al. 2021 (arXiv:2111.01007), sections 3.2 and 4: maps of four scales, mixed across channels and scales by fixed random
convolutions; 2022 (arXiv:2202.00273), section 3.2: a convolutional network and a transformer, conditioned by projection.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.base import DiscriminatorNetwork, DiscriminatorNetworkConfig, rows_of
from t2igan.errors import UserError
from t2igan.features.base import BLOCK, FeatureNetwork
from t2igan.features.open_clip import ClipScorer
from t2igan.layers.class_embedding import ClassEmbedding, check_table
from t2igan.layers.frozen import Frozen
from t2igan.layers.local_norm import LocalBatchNorm
from t2igan.layers.precision import full_precision
from t2igan.layers.spectral import SpectralConv2d, update_spectral
from t2igan.ranges import Count, Whole
from t2igan.types import CheckContext, ImageSet, PartConfig, PrepareContext, TextDescriptors, TextDims, Verdict

SCALES = 4
PROJECTION = 64  # channels of a class embedding and of the last map


@dataclass(frozen=True, kw_only=True)
class PointOfView(PartConfig):
    """A frozen network and the maps that are read of it, finest first, each of half the side of the one before."""

    model: str  # a name of timm; or (Ours) a CLIP, local-dir:FOLDER or hf-hub:ORG/REPO
    weights: str | None = None  # the file of timm's model, or hf-hub:ORG/REPO; a run cannot begin without
    side: Count | None = None  # px, at which a CLIP's ResNet makes its maps; none: the network's own rule
    layers: tuple[Whole, ...]  # four: timm's numbers of a model's maps, or a CLIP's layers, counted from 0
    widths: tuple[Count, ...]  # of the maps; one number: of all
    reassemble: tuple[Count, ...] = ()  # of a transformer, whose maps have one side: channels at 4, 2, 1 and 1/2 times that side

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{BLOCK}{number}" for number in self.layers)

    @property
    def all_widths(self) -> tuple[int, ...]:
        return self.widths if len(self.widths) > 1 else self.widths * SCALES

    def problem(self) -> str | None:
        """What is wrong with its numbers."""
        if len(self.layers) != SCALES or list(self.layers) != sorted(set(self.layers)):
            return f"layers is {list(self.layers)}, needs {SCALES} numbers of layers, each once, in rising order"
        if len(self.widths) not in (1, SCALES):
            return f"widths has {len(self.widths)} entries, needs {SCALES}, or one for all"
        if self.reassemble and len(self.reassemble) != SCALES:
            return f"reassemble has {len(self.reassemble)} entries, needs {SCALES}, or none"
        if self.side and not self.of_clip:
            return f"side is {self.side}, and {self.model} reads images by a rule of its own; leave it out"
        if self.weights and self.of_clip:
            return f"weights is {self.weights}, and a CLIP brings its own; leave it out"
        return None

    @property
    def of_clip(self) -> bool:
        return self.model.startswith(("local-dir:", "hf-hub:"))

    def tower(self) -> FeatureNetwork:
        if self.of_clip:
            return ClipScorer(self.model, layers=self.names, side=self.side)
        from t2igan.features.image_maps import ImageMaps  # timm takes seconds to load, which every other command is spared

        return ImageMaps(self.weights, self.model, self.names)


@dataclass(frozen=True, kw_only=True)
class StyleGANXLDiscriminatorConfig(DiscriminatorNetworkConfig):
    views: tuple[PointOfView, ...]  # points of view, each on a frozen network
    mixed: tuple[Count, ...] = (64, 128, 256, 512)  # channels of the maps mixed across channels, finest first
    head_channels: tuple[Count, ...] = (64, 128, 256, 512)  # of a head's maps, as their sides halve
    head_blocks: Whole = 1  # blocks that halve the coarsest map; each finer one has one more
    head_kernel: Count = 4  # px, of the last convolution
    group: Count = 8  # images over which a head's features are normalised
    class_embeddings: str | None = None  # a file of data_prep/class_embeddings.py; none: no table, the descriptor itself is projected
    embedding_width: Count | None = None  # of the file's rows

    @property
    def any_side(self) -> bool:
        return True

    def check(self, context: CheckContext) -> None:
        if not self.views:
            raise ValueError("views is empty, needs a frozen network or more")
        for number, view in enumerate(self.views):
            if view.problem():
                raise ValueError(f"views.{number}.{view.problem()}")
        for name in ("mixed", "head_channels"):
            if len(getattr(self, name)) != SCALES:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries, needs {SCALES}")
        if self.head_blocks > 1:
            raise ValueError(f"head_blocks is {self.head_blocks}, needs 0 or 1, as head_channels has four entries")
        if self.class_embeddings and not context.num_classes:
            raise ValueError("class_embeddings needs class labels (text: {kind: label, ...}); leave it out")
        check_table(self.class_embeddings, self.embedding_width)
        super().check(context)

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "StyleGANXLDiscriminator":
        return StyleGANXLDiscriminator(self, resolution, adapter, text.pooled if adapter is None else adapter.width)


class RandomConv(nn.Module):
    """A convolution that is never trained. Its weights are not the same in every run: so they are saved."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d):
        super().__init__()
        self.register_buffer("weight", conv.weight.detach())
        self.register_buffer("bias", conv.bias.detach())
        self.apply_to = F.conv_transpose2d if isinstance(conv, nn.ConvTranspose2d) else F.conv2d
        self.stride, self.padding = conv.stride, conv.padding

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        return self.apply_to(x, self.weight, self.bias, self.stride, self.padding)


class Reassemble(nn.Module):
    """Maps of one side to a pyramid: 4, 2, 1 and 1/2 times that side. Ranftl et al. 2021 (arXiv:2103.13413), section 3."""

    def __init__(self, widths: Sequence[int], channels: Sequence[int]):
        super().__init__()
        self.project = nn.ModuleList(RandomConv(nn.Conv2d(a, b, 1)) for a, b in zip(widths, channels, strict=True))
        first, second, _, last = channels
        self.resize = nn.ModuleList(
            [
                RandomConv(nn.ConvTranspose2d(first, first, 4, 4)),
                RandomConv(nn.ConvTranspose2d(second, second, 2, 2)),
                nn.Identity(),
                RandomConv(nn.Conv2d(last, last, 3, 2, 1)),
            ]
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [resize(project(x)) for x, project, resize in zip(maps, self.project, self.resize, strict=True)]


class Projection(nn.Module):
    """Four maps, finest first, to as many of twice their sides: mixed across channels, then across scales from the coarsest up."""

    def __init__(self, widths: Sequence[int], mixed: Sequence[int]):
        super().__init__()
        self.across_channels = nn.ModuleList(RandomConv(nn.Conv2d(a, b, 1)) for a, b in zip(widths, mixed, strict=True))
        outputs = (mixed[0], *mixed[:-1])
        self.across_scales = nn.ModuleList(RandomConv(nn.Conv2d(a, b, 1)) for a, b in zip(mixed, outputs, strict=True))

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> list[Float[Tensor, "b _ _ _"]]:
        found, above = [], None
        for x, own, across in reversed(list(zip(maps, self.across_channels, self.across_scales, strict=True))):
            x = own(x) if above is None else own(x) + above
            above = across(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
            found.append(above)
        return found[::-1]


class DownBlock(nn.Module):
    """A map to one of half its side."""

    def __init__(self, in_channels: int, out_channels: int, group: int):
        super().__init__()
        self.conv, self.norm = SpectralConv2d(in_channels, out_channels, 4, 2, 1), LocalBatchNorm(out_channels, group)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        y = self.conv(x)
        return F.leaky_relu(self.norm(y.flatten(2)).unflatten(2, y.shape[2:]), 0.2)


class MapHead(nn.Module):
    """A projected map to logits; the class or the text decides by projection."""

    def __init__(self, widths: Sequence[int], config: StyleGANXLDiscriminatorConfig, text_dim: int):
        super().__init__()
        self.blocks = nn.ModuleList(DownBlock(a, b, config.group) for a, b in zip(widths, widths[1:], strict=False))
        self.out = SpectralConv2d(widths[-1], PROJECTION if text_dim else 1, config.head_kernel, bias=False)
        self.embed = ClassEmbedding(text_dim, config.embedding_width, PROJECTION) if text_dim else None

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o _"]:
        for block in self.blocks:
            x = block(x)
        return self.out(x).flatten(2)

    def forward(self, features: Float[Tensor, "b o _"], descriptor: Float[Tensor, "b text_dim"]) -> Float[Tensor, "b _"]:
        if self.embed is None:
            return features.squeeze(1)
        return (features * self.embed(descriptor)[:, :, None]).sum(1) / math.sqrt(PROJECTION)


class View(nn.Module):
    """A frozen network, its random projection, and four heads."""

    def __init__(self, view: PointOfView, config: StyleGANXLDiscriminatorConfig, text_dim: int):
        super().__init__()
        self.names = view.names
        self.reassemble = Reassemble(view.all_widths, view.reassemble) if view.reassemble else None
        self.projection = Projection(view.reassemble or view.all_widths, config.mixed)
        channels = config.head_channels
        inputs = (config.mixed[0], *config.mixed[:-1])
        self.heads = nn.ModuleList(
            MapHead((width, *channels[len(channels) - (SCALES - 1 - i) - config.head_blocks :]), config, text_dim)
            for i, width in enumerate(inputs)
        )
        self.tower = Frozen(view.tower())

    def maps(self, images: Float[Tensor, "b 3 r r"]) -> list[Float[Tensor, "b _ _ _"]]:
        return self.project(self.tower(images))

    def project(self, found: dict[str, Tensor]) -> list[Float[Tensor, "b _ _ _"]]:
        """The tower's features as the heads take them."""
        maps = [found[name].float() for name in self.names]
        return self.projection(maps if self.reassemble is None else self.reassemble(maps))


class StyleGANXLDiscriminator(DiscriminatorNetwork):
    """Scores images by the heads of all points of view.

    Ours: a head's statistics are those of a few images of one set (the release keeps running ones for evaluation).
    """

    def __init__(self, config: StyleGANXLDiscriminatorConfig, resolution: int, adapter: nn.Module | None, text_dim: int):
        super().__init__((resolution,))
        self.config, self.adapter = config, adapter
        self.views = nn.ModuleList(View(view, config, text_dim) for view in config.views)

    def prepare(self, context: PrepareContext) -> None:
        """Loads the frozen networks and the class embeddings. Raises UserError where weights are missing or widths are not the recipe's."""
        super().prepare(context)
        for number, (view, given) in enumerate(zip(self.views, self.config.views, strict=True)):
            context.load(view.tower.network)
            with torch.no_grad():
                found = view.tower(torch.zeros(1, 3, *self.levels * 2, device=context.device))
            widths = [found[name].shape[1] for name in view.names]
            if widths != list(given.all_widths):
                where = f"discriminator.network.views.{number}.widths"
                raise UserError(f"{where} is {list(given.all_widths)}, {given.model} has {widths}; write that")
            sides = [found[name].shape[2] for name in view.names]
            if not given.reassemble and [side // 2 for side in sides[:-1]] != sides[1:]:
                where, why = f"discriminator.network.views.{number}", "not each half of the one before"
                raise UserError(f"{where}: the maps of {given.model} have {sides} px, {why}; choose layers, or reassemble")
            if self.config.class_embeddings and context.weights:
                for head in view.heads:
                    head.embed.load(Path(self.config.class_embeddings), "discriminator.network.class_embeddings")

    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        images = torch.cat([one.pyramid.finest for one in sets])
        towers = [view.tower(images) for view in self.views]  # as fast as autocast allows
        with full_precision(text.pooled.device):
            descriptors = (text if self.adapter is None else self.adapter(text)).pooled.float()
            heads = [head for view in self.views for head in view.heads]
            maps = [x for view, found in zip(self.views, towers, strict=True) for x in view.project(found)]
            found = []
            for one, rows in zip(sets, rows_of(sets), strict=True):
                features = [head.features(x[rows]) for head, x in zip(heads, maps, strict=True)]
                found.append(tuple(verdict(heads, features, descriptors[captions]) for captions in one.captions))
            return tuple(found)

    def update(self) -> None:
        update_spectral(self)

    def without_frozen(self) -> None:
        return None

    def parts(self) -> dict[str, nn.Module]:
        heads = nn.ModuleList(view.heads for view in self.views)
        return {"heads": heads} if self.adapter is None else {"adapter": self.adapter, "heads": heads}


def verdict(heads: Sequence[MapHead], features: Sequence[Tensor], descriptor: Float[Tensor, "b text_dim"]) -> Verdict:
    logits = tuple(head(x, descriptor) for head, x in zip(heads, features, strict=True))
    return Verdict(logits, (1.0,) * len(logits))
