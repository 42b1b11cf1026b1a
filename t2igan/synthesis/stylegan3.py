"""Styles to an image without aliases: Fourier features, modulated convolutions, filtered nonlinearities; details move with surfaces.

Karras et al. 2021 (arXiv:2106.12423), section 3 and appendix; configurations T (translation) and R (translation and rotation).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.alias_free import FilteredNonlinearity
from t2igan.layers.fourier import FourierInput
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.precision import full_precision
from t2igan.ranges import Count, Positive
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.types import CheckContext, ImagePyramid, Stage, TextDescriptors

FIRST_CUTOFF, FIRST_STOP = 2.0, 2.0**2.1  # cycles per width of the image, of the first layer
LAST_STOP = 2.0**0.3  # of the last layer, in units of half the resolution
CRITICAL = 2  # last layers, whose cutoff is half the resolution
MARGIN = 10  # px around the image, in its layers
OUTPUT_SCALE = 0.25


@dataclass(frozen=True)
class StyleGAN3SynthesisConfig(SynthesisConfig):
    """A layer of cutoff f has channel_base / (2 f) channels, at most channel_max. The defaults are configuration T at 1024 px."""

    layers: Count = 14  # besides the last one, which makes the image
    channel_base: Count = 32768  # see above
    channel_max: Count = 512  # see above
    equivariance: Literal["translation", "rotation"] = "translation"  # rotation: 1x1 kernels, and filters without a direction
    clamp: Positive | None = 256.0  # of activations and images, by their absolute value; none: unbounded
    magnitude_half_life: Count = 20_000  # images, of the running mean by which a layer's input is scaled

    def check(self, context: CheckContext) -> None:
        if context.resolution < 16:
            raise ValueError(f"kind stylegan3 makes images of 16 px or more, and resolution is {context.resolution}")
        if self.layers <= CRITICAL:
            raise ValueError(f"layers is {self.layers}, needs {CRITICAL + 1} or more: the last {CRITICAL} have the image's cutoff")
        check_channels(self.channel_base, context.resolution)

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "StyleGAN3Synthesis":
        return StyleGAN3Synthesis(self, resolution, style_dim)


def check_channels(channel_base: int, resolution: int) -> None:
    """Raises ValueError where the last layers, whose cutoff is half the resolution, would have no channel."""
    if not round(channel_base / resolution):
        raise ValueError(f"channel_base is {channel_base}, and resolution is {resolution}: the last layers would have no channel")


@dataclass(frozen=True)
class LayerSpec:
    """One row of the layers' table: what a layer makes."""

    cutoff: float  # cycles per width of the image
    half_width: float  # of the transition band beyond it
    rate: int  # samples per width of the image
    side: int  # px, with the margin
    channels: int


def layer_table(config: StyleGAN3SynthesisConfig, resolution: int) -> list[LayerSpec]:
    """`layers` + 1 rows. Appendix F of the paper: cutoffs and stop bands rise geometrically."""
    return table_from(FIRST_CUTOFF, FIRST_STOP, config.layers, config.channel_base, config.channel_max, resolution)


def table_from(
    first_cutoff: float, first_stop: float, layers: int, channel_base: int, channel_max: int, resolution: int
) -> list[LayerSpec]:
    """The rows of `layers` layers and the image, from a cutoff and a stop band to those of the resolution."""
    rows = []
    for i in range(layers + 1):
        part = min(i / (layers - CRITICAL), 1)
        cutoff = first_cutoff * (resolution / 2 / first_cutoff) ** part
        stop = first_stop * (LAST_STOP * resolution / 2 / first_stop) ** part
        rate = 2 ** math.ceil(math.log2(min(2 * stop, resolution)))
        channels = 3 if i == layers else round(min(channel_base / 2 / cutoff, channel_max))
        side = resolution if i >= layers - 1 else rate + 2 * MARGIN
        rows.append(LayerSpec(cutoff, max(stop, rate / 2) - cutoff, rate, side, channels))
    return rows


def whole_conv(x: Float[Tensor, "b i h w"], kernel: Float[Tensor, "o i k k"]) -> Float[Tensor, "b o h2 w2"]:
    """With zeros around the map, so that it grows by k - 1: the margin is cut by the filters."""
    return F.conv2d(x, kernel, padding=kernel.shape[-1] - 1)


class WholeAdaptiveConv2d(AdaptiveConv2d):
    conv = staticmethod(whole_conv)


class InputMagnitude(nn.Module):
    """The running mean of a layer's squared input over training, by whose root the input is divided.

    Ours: it moves once after every step, by all of G's passes (the release moves it inside the pass that makes images for D), so that it
    depends neither on processes nor on micro-batches.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("mean_square", torch.ones(()))
        self.register_buffer("seen", torch.zeros(2), persistent=False)  # the sum of squares since the last step, and of how many values

    def forward(self, training: bool, x: Tensor) -> Float[Tensor, ""]:
        """The factor of the input; in training takes note of it."""
        if training:
            with torch.no_grad(), full_precision(x.device):
                self.seen += torch.stack([x.detach().float().square().mean() * len(x), self.seen.new_tensor(float(len(x)))])
        return self.mean_square.rsqrt()


class StyleGAN3Layer(nn.Module):
    """A modulated convolution, a bias, a filtered nonlinearity; the last layer's convolution is neither demodulated nor filtered.

    Args:
        before, after: what it takes, and what it makes.
        kernel: px.
        radial: whether the filter down is the same in every direction.
        clamp: of the values, by their absolute value; None: unbounded.
        to_rgb: whether it is the last layer.
        magnitude: whether it divides its input by its magnitude over training.
    """

    def __init__(
        self,
        before: LayerSpec,
        after: LayerSpec,
        style_dim: int,
        kernel: int,
        radial: bool,
        clamp: float | None,
        to_rgb: bool,
        magnitude: bool = True,
    ):
        super().__init__()
        self.magnitude = InputMagnitude() if magnitude else None
        self.conv = WholeAdaptiveConv2d(before.channels, after.channels, style_dim, kernel, demodulate=not to_rgb, bias=False)
        self.bias = nn.Parameter(torch.zeros(after.channels, 1, 1))
        self.nonlinearity = None
        if not to_rgb:
            sides, pairs = (before.side + kernel - 1, after.side), (before, after)
            rates, cutoffs, half_widths = (tuple(getattr(s, name) for s in pairs) for name in ("rate", "cutoff", "half_width"))
            self.nonlinearity = FilteredNonlinearity(sides, rates, cutoffs, half_widths, radial, clamp)
        self.clamp = clamp

    def forward(self, x: Float[Tensor, "b i h h"], style: Float[Tensor, "b style_dim"], training: bool) -> Float[Tensor, "b o h2 h2"]:
        y = self.conv(x, style)
        if self.magnitude is not None:
            y = y * self.magnitude(training, x).to(y.dtype)
        y = y + self.bias.to(y.dtype)
        if self.nonlinearity is not None:
            return self.nonlinearity(y)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


def render(
    waves: FourierInput, layers: Iterable[StyleGAN3Layer], styles: Float[Tensor, "b l style_dim"], training: bool
) -> Float[Tensor, "b 3 r r"]:
    """The first style's Fourier features through the layers, each with its own style."""
    first, *others = styles.unbind(1)
    x = waves(first).contiguous(memory_format=torch.channels_last)
    for layer, style in zip(layers, others, strict=True):
        x = layer(x, style, training)
    return x.float() * OUTPUT_SCALE


class StyleGAN3Synthesis(SynthesisNetwork):
    """A style for the Fourier features, one for every layer, and one for the image."""

    def __init__(self, config: StyleGAN3SynthesisConfig, resolution: int, style_dim: int):
        super().__init__(config.layers + 2, style_dim)
        rows = layer_table(config, resolution)
        first = rows[0]
        self.input = FourierInput(style_dim, first.channels, first.side, first.rate, first.cutoff)
        rotation, last = config.equivariance == "rotation", config.layers
        self.layers = nn.ModuleList(
            StyleGAN3Layer(
                *(rows[max(i - 1, 0)], row, style_dim),
                kernel=1 if rotation or i == last else 3,
                radial=rotation and i < last - CRITICAL,
                clamp=config.clamp,
                to_rgb=i == last,
            )
            for i, row in enumerate(rows)
        )
        self.half_life = config.magnitude_half_life

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
        return ImagePyramid((render(self.input, self.layers, styles, draws is not None),))

    @torch.no_grad()
    def update(self, batch: int, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        means = [layer.magnitude for layer in self.layers]
        seen = sum_over_processes(torch.stack([mean.seen for mean in means]))
        for mean, (total, count) in zip(means, seen, strict=True):
            found = total / count.clamp(min=1)
            usable = (count > 0) & found.isfinite()  # not of a step that was skipped
            moved = torch.lerp(found, mean.mean_square, 0.5 ** (batch / self.half_life))
            mean.mean_square.copy_(torch.where(usable, moved, mean.mean_square))
            mean.seen.zero_()
