"""The order of samples as a pure function of (seed, epoch, position): nothing is stored or shuffled in memory.

A four-round Feistel network on the smallest even number of bits that holds the data set, with cycle walking, is a pseudo-random bijection
in constant memory (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 3).
"""

import numpy as np

ROUNDS = 4
Whole = int | np.integer | np.ndarray  # one number or many


@np.errstate(over="ignore")  # arithmetic modulo 2^64
def mix(x: np.uint64 | np.ndarray) -> np.uint64 | np.ndarray:
    """splitmix64's finaliser: 64 bits to 64 well mixed bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hashed(seed: int, *values: Whole) -> np.uint64 | np.ndarray:
    """A 64-bit hash of the seed and of arrays of integers, elementwise."""
    state = mix(np.asarray(seed + 0x9E3779B9, dtype=np.uint64))
    for value in values:
        state = mix(state ^ mix(np.asarray(value, dtype=np.uint64) ^ np.uint64(0x9E3779B97F4A7C15)))
    return state


def shuffled(positions: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Positions in an endless stream to sample numbers: every epoch is another permutation of range(size)."""
    positions = np.asarray(positions, dtype=np.uint64)
    epoch, found = positions // np.uint64(size), positions % np.uint64(size)
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    outside = np.arange(len(positions))
    while len(outside):  # cycle walking: numbers outside the data set go through the network again
        found[outside] = _feistel(found[outside], half, seed, epoch[outside])
        outside = outside[found[outside] >= size]
    return found.astype(np.int64)


def _feistel(x: np.ndarray, half: np.uint64, seed: int, epoch: np.ndarray) -> np.ndarray:
    """A bijection of numbers of 2 * half bits."""
    low = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & low
    for round in range(ROUNDS):
        left, right = right, left ^ (hashed(seed, epoch, round, right) & low)
    return (left << half) | right
