"""Multi-scale structural similarity of two images, 1 where they are the same.

Wang et al. 2003, "Multiscale structural similarity for image quality assessment". Between the images of a generator it shows a lack of
variety: Odena et al. 2017 (arXiv:1610.09585), section 4.2; Karras et al. 2018 (arXiv:1710.10196), section 5.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
WINDOW, DEVIATION = 11, 1.5  # px; where the image is smaller, both shrink with it
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(a: Float[Tensor, "b 3 r r"], b: Float[Tensor, "b 3 r r"]) -> Float[Tensor, " b"]:
    """Of pairs of images in [-1, 1], over the three channels alike."""
    a, b = ((x.double() + 1) * 127.5 for x in (a, b))
    value = torch.ones(len(a), dtype=torch.float64, device=a.device)
    for scale, weight in enumerate(WEIGHTS):
        similarity, contrast = ssim(a, b)
        value = value * (similarity if scale == len(WEIGHTS) - 1 else contrast).clamp(min=0) ** weight
        a, b = halved(a), halved(b)
    return value


def ssim(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Similarity, and its part without brightness, of images in 0..255."""
    mean_a, mean_b = windowed(a), windowed(b)
    var_a, var_b = windowed(a * a) - mean_a**2, windowed(b * b) - mean_b**2
    contrast = (2 * (windowed(a * b) - mean_a * mean_b) + C2) / (var_a + var_b + C2)
    brightness = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return (brightness * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def windowed(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Means under a Gaussian window, wherever it lies inside the image."""
    size = min(WINDOW, *x.shape[2:])
    place = torch.arange(size, dtype=x.dtype, device=x.device) - (size - 1) / 2
    line = torch.exp(-(place**2) / (2 * (DEVIATION * size / WINDOW) ** 2))
    kernel = (line[:, None] * line / line.sum() ** 2).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, groups=x.shape[1])


def halved(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """The mean of two by two pixels; of a single pixel, itself."""
    return F.avg_pool2d(x, 2) if min(x.shape[2:]) > 1 else x
