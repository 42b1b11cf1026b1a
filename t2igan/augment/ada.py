"""Adaptive discriminator augmentation: eighteen transforms, each with a probability that may follow D's overfitting.

Karras et al. 2020 (arXiv:2006.06676), section 2, appendix B (the pipeline) and section 3 (the controller). Every transform is a function of
given random numbers; images pass gradients through all of them, twice where a penalty asks for it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.augment.bands import BANDS, filter_bands, filter_bank
from t2igan.augment.base import Augment, AugmentConfig
from t2igan.draws import Draws
from t2igan.layers.fir import downsample_fir, upsample_fir
from t2igan.layers.precision import full_precision
from t2igan.layers.warp import warp
from t2igan.ranges import Amount, Count, Range, ShareOverTime
from t2igan.schedule import constant
from t2igan.types import ImagePyramid, TrainingTime, Verdict

# Daubechies' least asymmetric wavelet of length 12; it sums to the square root of 2
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
    0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
EXPECTED_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of natural images in the bands
FILTER_REACH = 3  # px that the upsampled filter reaches to each side, at the image's scale

# Strengths, appendix B
SHIFT, SCALE, ANISOTROPY, FRACTION = 0.125, 0.2, 0.2, 0.125
BRIGHTNESS, CONTRAST, SATURATION, BAND_GAIN, NOISE, CUTOUT = 0.2, 0.5, 1.0, 1.0, 0.1, 0.5

COINS = (
    "x_flip", "rotate_90", "x_int", "scale", "rotate_before", "aniso", "rotate_after", "x_frac", "brightness", "contrast", "luma_flip",
    "hue", "saturation", "band_0", "band_1", "band_2", "band_3", "noise", "cutout",
)  # fmt: skip
UNIFORMS = ("x_flip", "rotate_90", "x_int_x", "x_int_y", "rotate_before", "rotate_after", "luma_flip", "hue", "cutout_x", "cutout_y")
NORMALS = (
    "scale", "aniso", "x_frac_x", "x_frac_y", "brightness", "contrast", "saturation", "band_0", "band_1", "band_2", "band_3", "noise",
)  # fmt: skip


@dataclass(frozen=True)
class ADAConfig(AugmentConfig):
    """Each transform fires, per image, with its own factor times the common probability."""

    probability: ShareOverTime = constant(0.0)  # the common one; where there is a target, what it starts from
    # the mean of sign D(real) to which the probability adapts; none: it follows its schedule alone
    target: Annotated[float, Range("a number between -1 and 1", above=-1, below=1)] | None = None
    ramp_images: Count = 500_000  # images that it takes to go from 0 to 1, at most
    interval: Count = 4  # steps between adaptations
    x_flip: Amount = 1.0  # mirrored
    rotate_90: Amount = 1.0  # turned by a multiple of 90 degrees
    x_int: Amount = 1.0  # translation by whole pixels
    scale: Amount = 1.0  # enlarged or reduced
    rotate: Amount = 1.0  # turned by any angle
    aniso: Amount = 1.0  # stretched in one direction
    x_frac: Amount = 1.0  # translation by fractions of a pixel
    brightness: Amount = 1.0  # added
    contrast: Amount = 1.0  # multiplied
    luma_flip: Amount = 1.0  # light and dark exchanged, hue kept
    hue: Amount = 1.0  # turned
    saturation: Amount = 1.0  # multiplied
    image_filter: Amount = 0.0  # a gain for each band of frequencies
    noise: Amount = 0.0  # of every pixel
    cutout: Amount = 0.0  # a grey square

    @property
    def reads_sign(self) -> bool:
        return self.target is not None

    def build(self) -> "ADA":
        return ADA(self)


@dataclass(frozen=True)
class Numbers:
    """The random numbers of a batch by name: whether a transform fires, and how strongly."""

    on: dict[str, Tensor]  # bool [b]
    uniform: dict[str, Float[Tensor, " b"]]  # in [0, 1)
    normal: dict[str, Float[Tensor, " b"]]

    def where(self, coin: str, value: Tensor, otherwise: float) -> Float[Tensor, " b"]:
        return torch.where(self.on[coin], value, torch.full_like(value, otherwise))


class ADA(Augment):
    """A pyramid to the pyramid that D receives; every level of an image gets the same transforms at its own scale."""

    def __init__(self, config: ADAConfig):
        super().__init__()
        self.config = config
        self.register_buffer("probability", torch.tensor(config.probability(0)))
        self.register_buffer("signs", torch.zeros(2))  # the sum of sign D(real) and the number of images since the last adaptation
        self.register_buffer("seen", torch.zeros(2), persistent=False)  # the same of this step and this process
        self.register_buffer("sym6", torch.tensor(SYM6) / sum(SYM6), persistent=False)
        self.register_buffer("bank", filter_bank(), persistent=False)

    def forward(self, pyramid: ImagePyramid, draws: Draws, now: TrainingTime) -> ImagePyramid:
        p = float(self.probability) if self.config.target is not None else self.config.probability(now.images)
        if p == 0:
            return pyramid
        numbers = self.draw(draws, p)
        noise = [draws.normal(f"ada noise {x.shape[-1]}", *x.shape[1:]) if self.config.noise else None for x in pyramid.levels]
        with full_precision(pyramid.finest.device):
            return ImagePyramid(tuple(self.transform(x.float(), numbers, n) for x, n in zip(pyramid.levels, noise, strict=True)))

    def draw(self, draws: Draws, p: float) -> Numbers:
        coins, uniform, normal = (
            draws.uniform("ada coins", len(COINS)),
            draws.uniform("ada uniform", len(UNIFORMS)),
            draws.normal("ada normal", len(NORMALS)),
        )
        on = {name: coins[:, i] < self.chance(name, p) for i, name in enumerate(COINS)}
        return Numbers(on, dict(zip(UNIFORMS, uniform.unbind(1), strict=True)), dict(zip(NORMALS, normal.unbind(1), strict=True)))

    def chance(self, coin: str, p: float) -> float:
        """The probability that a transform fires: two rotations share one chance, four bands have one each."""
        if coin.startswith("rotate_") and coin != "rotate_90":
            return 1 - math.sqrt(1 - min(self.config.rotate * p, 1))
        return p * (self.config.image_filter if coin.startswith("band_") else getattr(self.config, coin))

    def transform(self, x: Float[Tensor, "b 3 r r"], numbers: Numbers, noise: Float[Tensor, "b 3 r r"] | None) -> Float[Tensor, "b 3 r r"]:
        """The transforms that these numbers choose, in the paper's order."""
        c = self.config
        if any((c.x_flip, c.rotate_90, c.x_int, c.scale, c.rotate, c.aniso, c.x_frac)):
            x = self.geometry(x, inverse_matrix(numbers, x.shape[-1]))
        if any((c.brightness, c.contrast, c.luma_flip, c.hue, c.saturation)):
            matrix = color_matrix(numbers)
            x = torch.einsum("bij,bjhw->bihw", matrix[:, :3, :3], x) + matrix[:, :3, 3, None, None]
        if c.image_filter:
            x = filter_bands(x, band_gains(numbers) @ self.bank)
        if noise is not None:
            x = x + noise * numbers.where("noise", numbers.normal["noise"].abs() * NOISE, 0.0)[:, None, None, None]
        return cut_out(x, numbers) if c.cutout else x

    def geometry(self, x: Float[Tensor, "b 3 r r"], inverse: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 r r"]:
        """The image at the places that the matrix sends its pixels to (in px, from the centre), by a filtered image of twice the side."""
        side = x.shape[-1]
        left, top, right, bottom = margins(inverse, side)
        x = upsample_fir(x, self.sym6, mirrored=((top, bottom), (left, right)))
        inverse = translation((left - right) / 2, (top - bottom) / 2, inverse) @ inverse
        double, half = scaling(2.0, 2.0, inverse), scaling(0.5, 0.5, inverse)
        shift, back = translation(-0.5, -0.5, inverse), translation(0.5, 0.5, inverse)
        inverse = shift @ double @ inverse @ half @ back
        out = 2 * (side + 2 * FILTER_REACH)
        inverse = scaling(2 / x.shape[3], 2 / x.shape[2], inverse) @ inverse @ scaling(out / 2, out / 2, inverse)
        grid = F.affine_grid(inverse[:, :2], [len(x), 3, out, out], align_corners=False)
        return downsample_fir(warp(x, grid), self.sym6, padding=-2 * FILTER_REACH)

    # ------------------------------------------------------------------------------------------------ the controller

    @torch.no_grad()
    def observe(self, real: Verdict) -> None:
        if self.config.target is not None:
            signs = real.primary().mean(torch.sign)
            self.seen += torch.stack([signs.sum(), signs.new_tensor(float(len(signs)))]).to(self.seen)

    @torch.no_grad()
    def update(self, now: TrainingTime, batch: int, sum_over_processes: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        if self.config.target is None:
            return {"augment/probability": torch.tensor(self.config.probability(now.images))}
        self.signs += sum_over_processes(self.seen.clone())
        self.seen.zero_()
        if now.step % self.config.interval == 0:
            total, count = self.signs
            direction = torch.sign(total / count.clamp(min=1) - self.config.target)
            self.probability += direction * batch * self.config.interval / self.config.ramp_images
            self.probability.clamp_(min=0)  # without an upper bound, as in the release
            self.signs.zero_()
        return {"augment/probability": self.probability.clone()}


# ---------------------------------------------------------------------------------------------------- matrices


def matrix3(rows: list[list[Tensor | float | int]], like: Tensor) -> Float[Tensor, "b 3 3"]:
    """A 3x3 matrix for each image from numbers and vectors [b]."""
    entries = [[e if torch.is_tensor(e) else like.new_full((len(like),), float(e)) for e in row] for row in rows]
    return torch.stack([torch.stack(row, 1) for row in entries], 1)


def translation(x, y, like: Tensor) -> Float[Tensor, "b 3 3"]:
    return matrix3([[1, 0, x], [0, 1, y], [0, 0, 1]], like)


def scaling(x, y, like: Tensor) -> Float[Tensor, "b 3 3"]:
    return matrix3([[x, 0, 0], [0, y, 0], [0, 0, 1]], like)


def rotation(angle: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    return matrix3([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]], angle)


def inverse_matrix(numbers: Numbers, side: int) -> Float[Tensor, "b 3 3"]:
    """From a place in the augmented image to the place in the original, in px from the centre: the transforms' inverses, in their order."""
    u, n, where = numbers.uniform, numbers.normal, numbers.where
    flip = where("x_flip", 1 - 2 * (2 * u["x_flip"]).floor(), 1.0)
    quarter = where("rotate_90", (4 * u["rotate_90"]).floor(), 0.0)
    shift = [where("x_int", ((2 * u[f"x_int_{a}"] - 1) * SHIFT * side).round(), 0.0) for a in "xy"]
    scale = where("scale", 2 ** (n["scale"] * SCALE), 1.0)
    before, after = (where(f"rotate_{when}", (2 * u[f"rotate_{when}"] - 1) * math.pi, 0.0) for when in ("before", "after"))
    stretch = where("aniso", 2 ** (n["aniso"] * ANISOTROPY), 1.0)
    fraction = [where("x_frac", n[f"x_frac_{a}"] * FRACTION * side, 0.0) for a in "xy"]
    steps = [
        scaling(1 / flip, 1.0, flip),
        rotation(quarter * math.pi / 2),
        translation(-shift[0], -shift[1], flip),
        scaling(1 / scale, 1 / scale, flip),
        rotation(before),
        scaling(1 / stretch, stretch, flip),
        rotation(after),
        translation(-fraction[0], -fraction[1], flip),
    ]
    result = steps[0]
    for step in steps[1:]:
        result = result @ step
    return result


@torch.no_grad()
def margins(inverse: Float[Tensor, "b 3 3"], side: int) -> list[int]:
    """Padding left, top, right, bottom that covers the transformed corners of every image of the batch and the filter's reach."""
    c = (side - 1) / 2
    corners = inverse.new_tensor([[-c, -c, 1], [c, -c, 1], [c, c, 1], [-c, c, 1]])
    places = (inverse @ corners.T)[:, :2]  # [b, x and y, corner]
    reach = torch.cat([-places.amin((0, 2)), places.amax((0, 2))]) + 2 * FILTER_REACH - c
    return reach.clamp(0, side - 1).ceil().int().tolist()


def color_matrix(numbers: Numbers) -> Float[Tensor, "b 4 4"]:
    """The affine map of colours: brightness, contrast, luma flip, hue, saturation, in this order."""
    u, n, where = numbers.uniform, numbers.normal, numbers.where
    like = n["brightness"]
    eye = torch.eye(4, device=like.device)
    v = torch.tensor([1.0, 1.0, 1.0, 0.0], device=like.device) / math.sqrt(3)  # the luma axis
    vv = torch.outer(v, v)

    def times(factor: Tensor) -> Tensor:
        return factor[:, None, None]

    matrix = eye.repeat(len(like), 1, 1)
    matrix[:, :3, 3] = where("brightness", like * BRIGHTNESS, 0.0)[:, None]
    contrast = where("contrast", 2 ** (n["contrast"] * CONTRAST), 1.0)
    matrix = torch.cat([matrix[:, :3] * times(contrast), matrix[:, 3:]], 1)
    matrix = (eye - 2 * vv * times(where("luma_flip", (2 * u["luma_flip"]).floor(), 0.0))) @ matrix
    matrix = rotation_about(v[:3], where("hue", (2 * u["hue"] - 1) * math.pi, 0.0)) @ matrix
    return (vv + (eye - vv) * times(where("saturation", 2 ** (n["saturation"] * SATURATION), 1.0))) @ matrix


def rotation_about(axis: Float[Tensor, " 3"], angle: Float[Tensor, " b"]) -> Float[Tensor, "b 4 4"]:
    """Rodrigues' rotation, in homogeneous coordinates."""
    x, y, z = axis.tolist()
    cross = axis.new_tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    turned = cos * torch.eye(3, device=axis.device) + sin * cross + (1 - cos) * torch.outer(axis, axis)
    matrix = torch.eye(4, device=axis.device).repeat(len(angle), 1, 1)
    matrix[:, :3, :3] = turned
    return matrix


# ---------------------------------------------------------------------------------------------------- gains and cutout


def band_gains(numbers: Numbers) -> Float[Tensor, "b 4"]:
    """A gain per band; each amplified band lowers the others, so that the expected power stays."""
    gains = torch.ones(len(numbers.normal["band_0"]), BANDS, device=numbers.normal["band_0"].device)
    power = torch.tensor(EXPECTED_POWER, device=gains.device)
    for band in range(BANDS):
        factor = torch.ones_like(gains)
        factor[:, band] = numbers.where(f"band_{band}", 2 ** (numbers.normal[f"band_{band}"] * BAND_GAIN), 1.0)
        gains = gains * factor / (power * factor.square()).sum(1, keepdim=True).sqrt()
    return gains


def cut_out(x: Float[Tensor, "b 3 r r"], numbers: Numbers) -> Float[Tensor, "b 3 r r"]:
    """A grey square of half the side around a random centre."""
    size = numbers.where("cutout", torch.full_like(numbers.uniform["cutout_x"], CUTOUT), 0.0)
    along = (torch.arange(x.shape[-1], device=x.device) + 0.5) / x.shape[-1]
    keep_x, keep_y = ((along - numbers.uniform[f"cutout_{a}"][:, None]).abs() >= size[:, None] / 2 for a in "xy")
    return x * (keep_y[:, :, None] | keep_x[:, None, :])[:, None].to(x.dtype)
