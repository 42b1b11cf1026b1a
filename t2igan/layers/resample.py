"""Twofold up- and downsampling of feature maps and images.

Bilinear upsampling is the [1, 3, 3, 1] filter of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958) with replicated borders; the mean
of 2x2 is its cheapest antialiased inverse, and what makes a pyramid consistent: down(up(x)) keeps means.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def upsample(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def downsample(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.avg_pool2d(x, 2)


def resize_bicubic(images: Float[Tensor, "b 3 r r"], side: int) -> Float[Tensor, "b 3 s s"]:
    """Images at another side, bicubic with antialiasing: near the Lanczos reduction by which the data are prepared."""
    return F.interpolate(images, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
