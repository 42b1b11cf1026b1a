"""Whether an image moves and turns as the input of its generator does: peak signal-to-noise ratios EQ-T, EQ-T_frac and EQ-R.

Karras et al. 2021 (arXiv:2106.12423), section 2.1 and appendix E: the image of a moved input against the moved image, in decibels.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LOBES = 3  # of the Lanczos windows
FINER = 4  # grid points per pixel at which a turned image is computed before it is sampled
PEAK = 2.0  # of images in [-1, 1]

Moved = tuple[Float[Tensor, "b 3 r r"], Float[Tensor, "r r"]]  # images, and 1 where their pixels are known


def lanczos(x: Tensor) -> Tensor:
    """Window of sinc filters: 1 at 0, 0 from `LOBES` on."""
    return torch.where(x.abs() < LOBES, torch.sinc(x / LOBES), torch.zeros_like(x))


def shifted(images: Float[Tensor, "b 3 r r"], across: float, down: float) -> Moved:
    """By any number of pixels to the right and down, by Lanczos filters; by whole numbers exactly."""
    side, whole = images.shape[-1], (math.floor(across), math.floor(down))
    out, reach = images, LOBES
    known = torch.ones(side, side, dtype=images.dtype, device=images.device)
    for axis, amount in ((3, across - whole[0]), (2, down - whole[1])):
        if not amount:
            continue
        place = torch.arange(-reach + 1, reach + 1, dtype=torch.float64) - amount  # of the pixels around, seen from where it is computed
        taps = torch.sinc(place) * lanczos(place)
        taps = (taps / taps.sum()).flip(0).to(images)
        shape, padding = ((1, 1, 1, -1), (reach, reach - 1, 0, 0)) if axis == 3 else ((1, 1, -1, 1), (0, 0, reach, reach - 1))
        out = F.conv2d(F.pad(out, padding), taps.view(shape).expand(3, -1, -1, -1), groups=3)
        border = [slice(None), slice(None)]
        for border[axis - 2] in (slice(0, reach), slice(side - reach + 1, side)):
            known[tuple(border)] = 0
    x, y = whole
    out, known = torch.roll(out, (y, x), (2, 3)), torch.roll(known, (y, x), (0, 1))
    for lines, amount in ((known.T, x), (known, y)):  # what came around the border is not known
        lines[: max(amount, 0)] = 0
        lines[side + min(amount, 0) :] = 0
    return out, known


def rotation(angle: float) -> Float[Tensor, "2 2"]:
    """By an angle in radians, from the axis across to the axis down."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def turning_filter(angle: float, finer: int = FINER) -> Float[Tensor, "k k"]:
    """The filter of what the pixel grid and the turned grid can both hold, at `finer` points per pixel: two sincs, one of them turned.

    A product of windows of `LOBES` lobes ends at twice that distance. The sum of its values at pixels' distances is 1, wherever it begins.
    """
    reach, wide = 2 * LOBES, 64  # px; the sincs are convolved over `wide` px either way
    line = torch.arange(-wide * finer, wide * finer, dtype=torch.float64) / finer
    y, x = torch.meshgrid(line, line, indexing="ij")
    turned_x, turned_y = (torch.stack([x, y], 2) @ rotation(angle).T).unbind(2)

    def convolved(a: Tensor, b: Tensor) -> Tensor:
        return torch.fft.ifftshift(torch.fft.ifft2(torch.fft.fft2(torch.fft.fftshift(a)) * torch.fft.fft2(torch.fft.fftshift(b))).real)

    sincs = convolved(torch.sinc(x) * torch.sinc(y), torch.sinc(turned_x) * torch.sinc(turned_y))
    windows = convolved(lanczos(x) * lanczos(y), lanczos(turned_x) * lanczos(turned_y))
    inside = slice((wide - reach) * finer, (wide + reach) * finer)
    found = (sincs * windows)[inside, inside].unflatten(0, (2 * reach, finer)).unflatten(2, (2 * reach, finer))
    return (found / found.sum((0, 2), keepdim=True)).flatten(0, 1).flatten(1, 2)


def turned(images: Float[Tensor, "b 3 r r"], angle: float) -> Moved:
    """Around the middle, by the filter above at a finer grid and then bilinear."""
    kernel = turning_filter(angle).to(images)
    side, k = images.shape[-1], kernel.shape[0]
    fine = F.conv_transpose2d(images, kernel.expand(3, 1, -1, -1), stride=FINER, groups=3)  # begins k / 2 points before pixel 0
    middle = (fine.shape[-1] - 1) / 2
    line = torch.arange(side, dtype=images.dtype, device=images.device) - (side - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    source = torch.stack([x, y], 2) @ rotation(-angle).T.to(images)  # px from the middle, before the turn
    inside = source.abs().amax(2) <= (side - 1) / 2 - 2 * LOBES
    points = source * FINER + (k / 2 + (side - 1) / 2 * FINER) - middle  # in points from the middle of the fine map
    grid = (points / ((fine.shape[-1]) / 2)).expand(len(images), -1, -1, -1)
    return F.grid_sample(fine, grid, mode="bilinear", align_corners=False), inside.to(images)


def limited(images: Float[Tensor, "b 3 r r"], angle: float) -> Moved:
    """Images of a turned input, filtered as `turned` filters, so that both lack the same frequencies."""
    kernel = turning_filter(-angle)[::FINER, ::FINER].to(images)
    reach = kernel.shape[0] // 2
    out = F.conv2d(F.pad(images, (reach, reach - 1, reach, reach - 1)), kernel.expand(3, 1, -1, -1), groups=3)
    known = torch.zeros(images.shape[2:], dtype=images.dtype, device=images.device)
    known[reach:-reach, reach:-reach] = 1
    return out, known


def decibels(squared: float, count: float) -> float:
    """Of the sum of squared differences over so many values."""
    return 10 * math.log10(PEAK**2 * count / squared) if squared else math.inf
