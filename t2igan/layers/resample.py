"""Twofold up- and downsampling of feature maps and pictures.

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
