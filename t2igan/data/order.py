"""The order of samples as a pure function of (seed, epoch, position): nothing to store, nothing to shuffle.

A four-round Feistel network on the smallest even number of bits that holds the data set, with cycle walking, is a pseudo-random bijection
in constant memory (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 3).
"""

import numpy as np

ROUNDS = 4
Whole = int | np.integer | np.ndarray  # one number or many


def mix(x: Whole) -> np.uint64 | np.ndarray:
    """splitmix64's finaliser: 64 bits to 64 well mixed bits."""
    x = np.asarray(x, dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64
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
    """Which sample of an endless stream stands at each position: epoch after epoch, each a permutation of range(size) of its own."""
    positions = np.asarray(positions, dtype=np.uint64)
    epoch, place = positions // np.uint64(size), positions % np.uint64(size)
    return np.array([_permute(int(p), size, seed, int(e)) for p, e in zip(place, epoch, strict=True)], dtype=np.int64)


def _permute(x: int, size: int, seed: int, epoch: int) -> int:
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    x = np.uint64(x)
    while True:
        left, right = x >> half, x & low
        for round in range(ROUNDS):
            left, right = right, left ^ (hashed(seed, epoch, round, right) & low)
        x = (left << half) | right
        if x < size:
            return int(x)
