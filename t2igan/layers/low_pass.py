"""Low-pass filters of StyleGAN3, designed with the Kaiser window: separable ones, and ones that are the same in every direction.

Karras et al. 2021 (arXiv:2106.12423), section 3 and appendix C. The window's design rules: Kaiser 1974.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def kaiser_beta(taps: int, width: float, rate: int) -> float:
    """The window's shape for a transition band of `width`, at the attenuation that this number of taps can have."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95  # dB
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def kaiser_window(taps: int, beta: float) -> Float[Tensor, " taps"]:
    return torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)


def low_pass(taps: int, cutoff: float, width: float, rate: int) -> Float[Tensor, " taps"]:
    """A separable filter along one axis, of sum 1.

    Args:
        cutoff, width: of the pass band and of the whole transition band, in the units of `rate`.
        rate: of the samples.
    """
    place = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    ideal = torch.sinc(2 * cutoff / rate * place)
    found = ideal * kaiser_window(taps, kaiser_beta(taps, width, rate))
    return found / found.sum()


def radial_low_pass(taps: int, cutoff: float, width: float, rate: int) -> Float[Tensor, "taps taps"]:
    """A filter in the plane whose ideal response is a disc, of sum 1; an even number of taps, so that no tap lies at the centre."""
    place = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    radius = torch.hypot(place[:, None], place)
    ideal = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
    window = kaiser_window(taps, kaiser_beta(taps, width, rate))
    found = ideal * window[:, None] * window
    return found / found.sum()
