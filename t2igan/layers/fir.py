"""Twofold up- and downsampling by a finite impulse response filter, as the StyleGAN releases do it.

Karras et al. 2019 (arXiv:1812.04948), section 2, and 2020 (arXiv:1912.04958), appendix B: taps [1, 3, 3, 1], zero padding. A filter is
separable and given by its taps along one axis, which sum to 1.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def upsample_binomial(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """`upsample_fir` by [1, 3, 3, 1] / 8: bilinear interpolation between the map and zeros around it."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)[:, :, 2:-2, 2:-2]


def downsample_binomial(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """`downsample_fir` by [1, 3, 3, 1] / 8: three times the mean of neighbours."""
    x = F.avg_pool2d(F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 2, stride=1), 2, stride=1)
    return F.avg_pool2d(x, 2)


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


def upsample_fir(x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"]) -> Float[Tensor, "b c h2 w2"]:
    """Twice the side: zeros between the values, then the filter (a true convolution) with gain 4."""
    k = len(taps)
    before, after = (k + 1) // 2, (k - 2) // 2
    return filter2d(F.pad(insert_zeros(x), (before, after, before, after)), 2 * taps.flip(0))


def downsample_fir(x: Float[Tensor, "b c h w"], taps: Float[Tensor, " k"], padding: int = 0) -> Float[Tensor, "b c h2 w2"]:
    """Half the side: a correlation with the taps, then every second value; `padding` more on each side, which may be negative."""
    k = len(taps)
    before, after = padding + (k - 1) // 2, padding + (k - 2) // 2
    return filter2d(F.pad(x, (before, after, before, after)), taps, stride=2)
