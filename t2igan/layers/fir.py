"""StyleGAN's low-pass filters, alone and where the side changes twofold, as the releases apply them.

Karras et al. 2019 (arXiv:1812.04948), section 2: [1, 2, 1]; 2020 (arXiv:1912.04958), appendix B: [1, 3, 3, 1]; zeros around. A filter is
separable and given by its taps along one axis, which sum to 1.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.convolution import depthwise

DENSE = 256  # px up to which a filter is a product with a dense matrix: more arithmetic than a convolution of few channels, in less time
Ends = tuple[tuple[int, int], tuple[int, int]]
NONE: Ends = ((0, 0), (0, 0))


def upsample_binomial(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """`upsample_fir` by [1, 3, 3, 1] / 8: bilinear interpolation between the map and zeros around it."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)[:, :, 2:-2, 2:-2]


def downsample_binomial(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """`downsample_fir` by [1, 3, 3, 1] / 8."""
    return blur(x, 4, padding=1, stride=2)


def blur(x: Float[Tensor, "b c h w"], taps: int, padding: int, stride: int = 1) -> Float[Tensor, "b c h2 w2"]:
    """Each channel by a binomial filter along rows and columns, with zeros around.

    Args:
        taps: 3 or 4: [1, 2, 1] / 4 or [1, 3, 3, 1] / 8.
        padding: zeros on each side.
    """
    assert taps in (3, 4)
    along = 0.5 - (torch.arange(taps, device=x.device) - (taps - 1) / 2).abs() / 4
    return depthwise(x, along[:, None] * along, stride, padding)


def filter2d(x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"], stride: int = 1) -> Float[Tensor, "b c h2 w2"]:
    """Each channel correlated with the taps along rows and columns, without padding."""
    channels, k = x.shape[1], len(taps)
    taps = taps.to(x.dtype)
    x = F.conv2d(x, taps.view(1, 1, 1, k).expand(channels, 1, 1, k), stride=(1, stride), groups=channels)
    return F.conv2d(x, taps.view(1, 1, k, 1).expand(channels, 1, k, 1), stride=(stride, 1), groups=channels)


def insert_zeros(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Twice as many rows and columns: a zero after every value."""
    b, c, h, w = x.shape
    return F.pad(x.view(b, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1)).view(b, c, 2 * h, 2 * w)


def upsample_fir(x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"], mirrored: Ends = NONE) -> Float[Tensor, "b c h2 w2"]:
    """Twice the side: zeros between the values, then the filter (a true convolution) with gain 4.

    Args:
        mirrored: pixels that reflection adds before, at both ends of the rows' axis and of the columns'.
    """
    k = len(taps)
    if max(x.shape[2:]) <= DENSE:
        return resample(x, *(upsampling_matrix(side, taps, ends) for side, ends in zip(x.shape[2:], mirrored, strict=True)))
    rows, columns = mirrored
    x = F.pad(x, (*columns, *rows), mode="reflect")
    before, after = (k + 1) // 2, (k - 2) // 2
    return filter2d(F.pad(insert_zeros(x), (before, after, before, after)), 2 * taps.flip(0))


def downsample_fir(x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"], padding: int = 0) -> Float[Tensor, "b c h2 w2"]:
    """Half the side: a correlation with the taps, then every second value; `padding` more on each side, which may be negative."""
    if max(x.shape[2:]) // 2 + padding <= DENSE:
        return resample(x, *(downsampling_matrix(side, taps, padding) for side in x.shape[2:]))
    k = len(taps)
    before, after = padding + (k - 1) // 2, padding + (k - 2) // 2
    return filter2d(F.pad(x, (before, after, before, after)), taps, stride=2)


# ---------------------------------------------------------------------------------------------------- the same by dense matrices


def resample(x: Float[Tensor, "b c h w"], rows: Float[Tensor, "h2 h"], columns: Float[Tensor, "w2 w"]) -> Float[Tensor, "b c h2 w2"]:
    """A separable linear map of images: a matrix along the rows' axis, one along the columns'.

    Its derivatives of every order are products with the same two. Of a convolution's gradient, torch computes the gradient in the taps as
    well, which nobody asks for.
    """
    return rows.to(x.dtype) @ (x @ columns.to(x.dtype).T)


def upsampling_matrix(side: int, taps: Float[Tensor, " k"], mirrored: tuple[int, int] = (0, 0)) -> Float[Tensor, "side2 side"]:
    """What `upsample_fir` does along one axis."""
    k = len(taps)
    pixels = F.pad(torch.eye(side).to(taps)[:, None], mirrored, mode="reflect")
    apart = F.pad(torch.stack([pixels, torch.zeros_like(pixels)], -1).flatten(2), ((k + 1) // 2, (k - 2) // 2))
    return F.conv1d(apart, 2 * taps.flip(0)[None, None])[:, 0].T


def downsampling_matrix(side: int, taps: Float[Tensor, " k"], padding: int = 0) -> Float[Tensor, "half side"]:
    """What `downsample_fir` does along one axis."""
    k = len(taps)
    pixels = F.pad(torch.eye(side).to(taps)[:, None], (padding + (k - 1) // 2, padding + (k - 2) // 2))
    return F.conv1d(pixels, taps[None, None], stride=2)[:, 0].T
