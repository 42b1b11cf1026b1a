"""Images split in octave bands of spatial frequency, for filters of random response.

Karras et al. 2020 (arXiv:2006.06676), appendix B, image-space filtering.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

BANDS = 4
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)  # Daubechies' wavelet of length 4


def filter_bank() -> Float[Tensor, "4 43"]:
    """Taps of four bands that sum to the identity: each octave split by H(z) H(1/z) / 2 of sym2, the split filters dilated."""
    low = torch.tensor(SYM2, dtype=torch.float64)
    high = low * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    low2, high2 = (convolve(f, f.flip(0)) / 2 for f in (low, high))
    bank = torch.eye(BANDS, 1, dtype=torch.float64)
    for band in range(1, BANDS):
        bank = torch.stack([bank, torch.zeros_like(bank)], 2).flatten(1)[:, :-1]
        bank = torch.stack([convolve(row, low2) for row in bank])
        start = (bank.shape[1] - len(high2)) // 2
        bank[band, start : start + len(high2)] += high2
    return bank.float()


def convolve(a: Float[Tensor, " n"], b: Float[Tensor, " m"]) -> Float[Tensor, " k"]:
    return F.conv1d(a[None, None], b.flip(0)[None, None], padding=len(b) - 1)[0, 0]


def filter_bands(x: Float[Tensor, "b 3 r r"], taps: Float[Tensor, "b k"]) -> Float[Tensor, "b 3 r r"]:
    """Each image filtered along rows and columns by its own taps, with mirrored borders."""
    b, c, k = len(x), x.shape[1], taps.shape[1]
    kernel = taps.repeat_interleave(c, 0)
    x = F.pad(x, (k // 2,) * 4, mode="reflect").reshape(1, b * c, x.shape[2] + k - 1, x.shape[3] + k - 1)
    x = F.conv2d(x, kernel[:, None, None, :], groups=b * c)
    x = F.conv2d(x, kernel[:, None, :, None], groups=b * c)
    return x.view(b, c, *x.shape[2:])
