"""How close an image is to the true one, pixel by pixel (PSNR) and window by window (SSIM)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian, px
K1, K2 = 0.01, 0.03
RANGE = 2.0  # images are in [-1, 1]


def psnr(a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB, 10 log10(range^2 / mean squared difference): 100 at most, for equal images."""
    return 10 * (RANGE**2 / (a - b).square().mean((1, 2, 3))).log10().clamp(max=10)


def ssim(a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Structural similarity, 1 for equal images: the mean over windows that lie inside the image, and over colours.

    Wang et al. 2004 (IEEE TIP 13(4)), section III, Eq. 13.
    """
    at = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    line = torch.exp(-at.square() / (2 * SIGMA**2))
    window = (line / line.sum())[None, None].expand(a.shape[1], 1, -1)

    def mean(x: Tensor) -> Tensor:
        rows = F.conv2d(x, window[..., None, :], groups=x.shape[1])
        return F.conv2d(rows, window[..., None], groups=x.shape[1])

    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b, covariance = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).mean((1, 2, 3))
