"""StyleGAN's low-pass filters, alone and where the side changes twofold, as the releases apply them.

Karras et al. 2019 (arXiv:1812.04948), section 2: [1, 2, 1]; 2020 (arXiv:1912.04958), appendix B: [1, 3, 3, 1]; zeros around. A filter is
separable and given by its taps along one axis, which sum to 1.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.linear_map import LinearMap
from t2igan.layers.precision import full_precision, widen

DENSE = 256  # px up to which a long filter of three channels is a product with a dense matrix, which takes less time on a CPU
Ends = tuple[int, int]


def upsample_binomial(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """`upsample_fir` by [1, 3, 3, 1] / 8: bilinear interpolation between the map and zeros around it."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)[:, :, 2:-2, 2:-2]


def downsample_binomial(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """`downsample_fir` by [1, 3, 3, 1] / 8."""
    return binomial(x, 4, padding=1, stride=2)


def binomial(x: Float[Tensor, "b c h w"], length: int, padding: int, stride: int = 1) -> Float[Tensor, "b c h2 w2"]:
    """Each channel by a binomial filter along rows and columns; a side of n becomes (n + 2 padding - length) // stride + 1.

    Args:
        length: 3 or 4, of the filter [1, 2, 1] / 4 or [1, 3, 3, 1] / 8.
        padding: zeros on each side.
    """
    return (binomial_by_convolution if x.device.type == "cpu" else binomial_by_means)(x, length, padding, stride)


def binomial_by_means(x: Float[Tensor, "b c h w"], length: int, padding: int, stride: int) -> Float[Tensor, "b c h2 w2"]:
    """`binomial` as means of two neighbours, one less than the filter has taps."""
    x = F.pad(x, (padding,) * 4)
    for _ in range(length - 2):
        x = F.avg_pool2d(x, 2, stride=1)
    return F.avg_pool2d(x, 2, stride)


def binomial_by_convolution(x: Float[Tensor, "b c h w"], length: int, padding: int, stride: int) -> Float[Tensor, "b c h2 w2"]:
    """`binomial` as a convolution of each channel, which is several times as fast as means on a CPU.

    Its adjoint spreads values over more places where the stride is above 1: float32 takes a tenth of bf16's time for that.
    """
    taps = 0.5 - (torch.arange(length, device=x.device) - (length - 1) / 2).abs() / 4  # a triangle
    kernel = torch.outer(taps, taps).to(x.dtype).expand(x.shape[1], 1, length, length).contiguous()
    sides, layout = x.shape[2:], torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format

    def apply(y: Tensor) -> Tensor:
        with full_precision(y.device):
            return F.conv2d(y, kernel, stride=stride, padding=padding, groups=len(kernel))

    def spread(out: Tensor, like: Tensor, kernel: Tensor) -> Tensor:
        geometry = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(kernel)
        return torch.ops.aten.convolution_backward(out, like, kernel, None, *geometry, [True, False, False])[0]

    def adjoint(out: Tensor) -> Tensor:
        like = torch.empty(len(out), len(kernel), *sides, dtype=out.dtype, device=out.device, memory_format=layout)
        if stride > 1:
            return spread(widen(out), widen(like), widen(kernel)).to(out.dtype)
        return spread(out, like, kernel)

    return LinearMap.apply(x, apply, adjoint)


def separable(x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"], conv: Callable, stride: int = 1, padding: int = 0) -> Tensor:
    """A depthwise convolution or transposed convolution along rows, then along columns."""
    channels, k = x.shape[1], len(taps)
    taps = taps.to(x.dtype)
    x = conv(x, taps.view(1, 1, 1, k).expand(channels, 1, 1, k), stride=(1, stride), padding=(0, padding), groups=channels)
    return conv(x, taps.view(1, 1, k, 1).expand(channels, 1, k, 1), stride=(stride, 1), padding=(padding, 0), groups=channels)


def insert_zeros(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Twice as many rows and columns: a zero after every value."""
    b, c, h, w = x.shape
    return F.pad(x.view(b, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1)).view(b, c, 2 * h, 2 * w)


def upsample_fir(
    x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"], mirrored: tuple[Ends, Ends] = ((0, 0), (0, 0))
) -> Float[Tensor, "b c h2 w2"]:
    """Twice the side: zeros between the values, then the filter (a true convolution) with gain 4.

    Args:
        mirrored: ((top, bottom), (left, right)), px by which reflection enlarges the images before.
    """
    if max(x.shape[2:]) <= DENSE:
        return resample(x, *(upsampling_matrix(side, taps, ends) for side, ends in zip(x.shape[2:], mirrored, strict=True)))
    (top, bottom), (left, right) = mirrored
    x = F.pad(x, (left, right, top, bottom), mode="reflect")
    k = len(taps)
    before, after = (k + 1) // 2, (k - 2) // 2
    return separable(F.pad(insert_zeros(x), (before, after, before, after)), 2 * taps.flip(0), F.conv2d)


def downsample_fir(x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"], padding: int = 0) -> Float[Tensor, "b c h2 w2"]:
    """Half the side: a correlation with the taps, then every second value; `padding` more on each side, which may be negative."""
    if max(x.shape[2:]) // 2 + padding <= DENSE:
        return resample(x, *(downsampling_matrix(side, taps, padding) for side in x.shape[2:]))
    k = len(taps)
    before, after = padding + (k - 1) // 2, padding + (k - 2) // 2
    return separable(F.pad(x, (before, after, before, after)), taps, F.conv2d, stride=2)


# ---------------------------------------------------------------------------------------------------- the same by dense matrices


def resample(x: Float[Tensor, "b c h w"], rows: Float[Tensor, "h2 h"], columns: Float[Tensor, "w2 w"]) -> Float[Tensor, "b c h2 w2"]:
    """A separable linear map of images: a matrix along the rows' axis, one along the columns'."""
    return rows.to(x.dtype) @ (x @ columns.to(x.dtype).T)


def resample_channels_last(x: Float[Tensor, "b c h h"], matrix: Float[Tensor, "h2 h"]) -> Float[Tensor, "b c h2 h2"]:
    """A matrix along both axes of maps whose channels lie side by side; the first product is the smaller one."""
    matrix, y = matrix.to(x.dtype), x.permute(0, 2, 3, 1)
    if len(matrix) > matrix.shape[1]:
        return along_rows(matrix @ y, matrix).permute(0, 3, 1, 2)
    return (matrix @ along_rows(y, matrix)).permute(0, 3, 1, 2)


def along_rows(y: Float[Tensor, "b h w c"], matrix: Float[Tensor, "h2 h"]) -> Float[Tensor, "b h2 w c"]:
    return (matrix @ y.flatten(2)).unflatten(2, y.shape[2:])


def upsampling_matrix(side: int, taps: Float[Tensor, " k"], mirrored: Ends = (0, 0)) -> Float[Tensor, "side2 side"]:
    """What `upsample_fir` does along one axis."""
    k = len(taps)
    pixels = F.pad(torch.eye(side, dtype=taps.dtype, device=taps.device)[:, None], mirrored, mode="reflect")
    apart = F.pad(torch.stack([pixels, torch.zeros_like(pixels)], -1).flatten(2), ((k + 1) // 2, (k - 2) // 2))
    return F.conv1d(apart, 2 * taps.flip(0)[None, None])[:, 0].T


def downsampling_matrix(side: int, taps: Float[Tensor, " k"], padding: int = 0) -> Float[Tensor, "half side"]:
    """What `downsample_fir` does along one axis."""
    k = len(taps)
    pixels = torch.eye(side, dtype=taps.dtype, device=taps.device)[:, None]
    pixels = F.pad(pixels, (padding + (k - 1) // 2, padding + (k - 2) // 2))
    return F.conv1d(pixels, taps[None, None], stride=2)[:, 0].T
