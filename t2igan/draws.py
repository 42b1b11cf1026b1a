"""The random numbers of training: a function of (seed, purpose, position of the image in the training), and of nothing else.

A position is the number of real images that the run had seen before this one, so no two images of a run share it. A sample's numbers
therefore depend on no rank, world size, micro-batch or restart, a checkpoint needs no random state, and each process computes its own
samples alone, on its own device. Generator: splitmix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators"); normals by
Box and Muller (1958).
"""

from __future__ import annotations

import hashlib
import math
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's increment
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)


class Draws:
    """Independent random numbers for each sample of a batch, by purpose.

    Uniform and normal numbers of one purpose come from the same bits: whoever needs both names two purposes.

    Args:
        seed: the run's.
        positions: of each sample in the training; the numbers are computed on their device.
        scope: a prefix of every purpose, such as the half of the step.
    """

    def __init__(self, seed: int, positions: Int[Tensor, " b"], scope: str = ""):
        self.seed, self.positions, self.scope = seed, positions, scope

    def __getitem__(self, rows) -> Draws:
        return Draws(self.seed, self.positions[rows], self.scope)

    def __len__(self) -> int:
        return len(self.positions)

    def scoped(self, scope: str) -> Draws:
        """The same samples with other numbers for every purpose."""
        return Draws(self.seed, self.positions, f"{self.scope}{scope}/")

    def uniform(self, purpose: str, *shape: int) -> Float[Tensor, b * shape]:
        """Numbers from [0, 1), of 24 bits each."""
        bits = self._bits(purpose, math.prod(shape))
        return (_high(bits).float() * 2.0**-24).view(-1, *shape)

    def normal(self, purpose: str, *shape: int) -> Float[Tensor, b * shape]:
        """Numbers from N(0, 1)."""
        count = math.prod(shape)
        bits = self._bits(purpose, -(-count // 2))
        radius = (-2 * ((_high(bits) + 1).float() * 2.0**-24).log()).sqrt()  # of a number from (0, 1]
        angle = _middle(bits).float() * (2 * math.pi * 2.0**-24)
        return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count].reshape(-1, *shape)

    def _bits(self, purpose: str, count: int) -> Int[Tensor, "b count"]:
        keys = mix(self.positions * _signed(GOLDEN) + stream(self.seed, self.scope + purpose))
        counter = torch.arange(1, count + 1, device=keys.device) * _signed(GOLDEN)
        return mix(keys[:, None] + counter)


@cache
def stream(seed: int, purpose: str) -> int:
    """A 64-bit number, signed, for each pair of seed and purpose."""
    digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """splitmix64's finaliser: 64 bits to 64 well mixed bits; int64 overflow wraps on every device."""
    x = (x ^ _shift(x, SHIFTS[0])) * _signed(FACTORS[0])
    x = (x ^ _shift(x, SHIFTS[1])) * _signed(FACTORS[1])
    return x ^ _shift(x, SHIFTS[2])


def _shift(x: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; torch's own copies the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _high(x: Tensor) -> Tensor:
    """Bits 40 to 63 as a whole number."""
    return _shift(x, 40)


def _middle(x: Tensor) -> Tensor:
    """Bits 16 to 39 as a whole number."""
    return (x >> 16) & 0xFFFFFF


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x
