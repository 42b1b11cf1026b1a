"""StyleGAN3 that grows by runs: a stem at a small side, whose last layers give way to a head at twice the side, again and again.

Sauer et al. 2022 (arXiv:2202.00273), section 3.2 ("progressive growing") and appendix: what is kept stays as it was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.fourier import FourierInput
from t2igan.ranges import Count, Positive
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.synthesis.stylegan3 import (
    CRITICAL,
    FIRST_CUTOFF,
    FIRST_STOP,
    LayerSpec,
    StyleGAN3Layer,
    check_channels,
    render,
    table_from,
)
from t2igan.types import CheckContext, ImagePyramid, Stage, TextDescriptors

OF_THE_STEM = ("stem_resolution", "stem_layers", "channel_base", "channel_max", "stem_kernel", "equivariance")  # and of all heads


@dataclass(frozen=True)
class StyleGANXLSynthesisConfig(SynthesisConfig):
    """A layer of cutoff f has channel_base / (2 f) channels, at most channel_max. The defaults are the release's for ImageNet."""

    stem_resolution: Count = 16  # px
    stem_layers: Count = 10  # besides the one that makes the image; the paper counts it too
    head_layers: tuple[Count, ...] = ()  # likewise, of the head for each doubling after the stem
    channel_base: Count = 65536  # see above
    channel_max: Count = 1024  # see above
    stem_kernel: Literal[1, 3] = 3  # px; the release builds 3
    equivariance: Literal["translation", "rotation"] = "translation"  # rotation: 1x1 kernels, and filters without a direction
    clamp: Positive | None = 256.0  # of activations and images, by their absolute value; none: unbounded

    def check(self, context: CheckContext) -> None:
        if self.stem_resolution < 16 or self.stem_resolution & (self.stem_resolution - 1):
            raise ValueError(f"stem_resolution is {self.stem_resolution}, needs a power of two of 16 or more")
        made = self.stem_resolution << len(self.head_layers)
        if made != context.resolution:
            raise ValueError(
                f"head_layers has {len(self.head_layers)} entries, which make {made} px of a stem of {self.stem_resolution} px, "
                f"and resolution is {context.resolution}"
            )
        check_channels(self.channel_base, context.resolution)
        few = [count for count in (self.stem_layers, *self.head_layers) if count <= CRITICAL]
        if few:
            raise ValueError(f"head_layers or stem_layers is {few[0]}, needs {CRITICAL + 1} or more: the last {CRITICAL} are replaced")

    def check_start(self, earlier: SynthesisConfig) -> None:
        if not isinstance(earlier, StyleGANXLSynthesisConfig):
            raise ValueError("kind stylegan_xl grows from a run of its own kind, and start.run has another one")
        for name in OF_THE_STEM:
            mine, theirs = getattr(self, name), getattr(earlier, name)
            if mine != theirs:
                raise ValueError(f"{name} is {mine}, and start.run was trained with {theirs}; a stem stays as it was trained")
        if self.head_layers[: len(earlier.head_layers)] != earlier.head_layers:
            raise ValueError(f"head_layers is {list(self.head_layers)}, needs to begin with that of start.run, {list(earlier.head_layers)}")

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "StyleGANXLSynthesis":
        return StyleGANXLSynthesis(self, style_dim)


@dataclass(frozen=True)
class Row:
    """A layer in the whole network."""

    name: str  # the side at which it was trained, and its place there
    before: LayerSpec
    after: LayerSpec
    critical: bool
    to_rgb: bool


def rows_of_stage(table: list[LayerSpec], side: int) -> list[Row]:
    """The layers of a stem or a head, of which each takes what the one before it makes."""
    last = len(table) - 1
    return [Row(f"{side}_{i}", table[max(i - 1, 0)], row, i >= last - CRITICAL, i == last) for i, row in enumerate(table)]


def grown_rows(config: StyleGANXLSynthesisConfig) -> list[Row]:
    """The whole network: of each stage all but its critical layers and its image, and the last stage's head as a whole."""
    side, sizes = config.stem_resolution, (config.channel_base, config.channel_max)
    rows = rows_of_stage(table_from(FIRST_CUTOFF, FIRST_STOP, config.stem_layers, *sizes, side), side)
    for layers in config.head_layers:
        kept, side = rows[: -CRITICAL - 1], 2 * side
        base = kept[-1].after
        head = table_from(base.cutoff, base.cutoff + base.half_width, layers, *sizes, side)
        head[0] = replace(head[0], rate=base.rate, side=base.side, half_width=base.half_width, channels=base.channels)
        rows = kept + rows_of_stage(head, side)
    return rows


class StyleGANXLSynthesis(SynthesisNetwork):
    """A style for the Fourier features, one for every layer, and one for the image.

    Layers are named by the side of the run that trained them, so that a later run, which starts from it, finds them and can freeze them:
    `synthesis.layers.16_*`. Inputs are not divided by their magnitudes, which the release never measures.
    """

    def __init__(self, config: StyleGANXLSynthesisConfig, style_dim: int):
        rows = grown_rows(config)
        super().__init__(len(rows) + 1, style_dim)
        first = table_from(FIRST_CUTOFF, FIRST_STOP, config.stem_layers, config.channel_base, config.channel_max, config.stem_resolution)[0]
        self.input = FourierInput(style_dim, first.channels, first.side, first.rate, first.cutoff)
        rotation = config.equivariance == "rotation"

        def layer(row: Row) -> StyleGAN3Layer:
            of_stem = row.name.startswith(f"{config.stem_resolution}_")
            kernel = 1 if rotation or row.to_rgb else config.stem_kernel if of_stem else 3
            radial = rotation and not row.critical
            return StyleGAN3Layer(row.before, row.after, style_dim, kernel, radial, config.clamp, row.to_rgb, magnitude=False)

        self.layers = nn.ModuleDict({row.name: layer(row) for row in rows})

    @property
    def fourier_input(self) -> FourierInput:
        return self.input

    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: None = None,
        draws: Draws | None = None,
        stage: Stage | None = None,
    ) -> ImagePyramid:
        return ImagePyramid((render(self.input, self.layers.values(), styles, draws is not None),))
