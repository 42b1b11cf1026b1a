"""The order of samples as a pure function of (seed, epoch, position).

Nothing is stored or shuffled in memory, unless images of one caption are to follow one another. A four-round Feistel network on the
smallest even number of bits that holds the data set, with cycle walking, is a pseudo-random bijection in constant memory (Black and Rogaway
2002, "Ciphers with arbitrary finite domains", section 3).
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


class CaptionGroups:
    """Positions in an endless stream to sample numbers, `group` of one caption after each other.

    An epoch shows every image at most once and leaves out fewer than `group`. Images that fill no whole group of their caption form mixed
    groups with those of other captions.

    Args:
        captions: the number of each sample's caption.
        group: at most the number of samples.
    """

    def __init__(self, captions: np.ndarray, group: int, seed: int):
        self.captions, self.group, self.seed = captions, group, seed
        self.epoch_size = len(captions) // group * group
        self.orders: dict[int, np.ndarray] = {}  # of the last epochs asked for

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        epochs, places = np.divmod(np.asarray(positions), self.epoch_size)
        found = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs):
            found[epochs == epoch] = self.epoch(int(epoch))[places[epochs == epoch]]
        return found

    def epoch(self, epoch: int) -> np.ndarray:
        """`ordered`, kept for this epoch and the one before."""
        if epoch not in self.orders:
            self.orders = {kept: order for kept, order in self.orders.items() if kept == epoch - 1} | {epoch: self.ordered(epoch)}
        return self.orders[epoch]

    def ordered(self, epoch: int) -> np.ndarray:
        """The sample numbers of a whole epoch in order."""
        keys = hashed(self.seed, epoch, 6, np.arange(len(self.captions)))
        order = np.lexsort((keys, self.captions))  # by caption, and by chance within it
        starts, counts = np.unique(self.captions[order], return_index=True, return_counts=True)[1:]
        rank = np.arange(len(order)) - np.repeat(starts, counts)
        whole = rank < np.repeat(counts // self.group * self.group, counts)
        rest = order[~whole]
        mixed = rest[np.argsort(keys[rest])]
        groups = np.concatenate([order[whole], mixed[: len(mixed) // self.group * self.group]]).reshape(-1, self.group)
        return groups[np.argsort(hashed(self.seed, epoch, 7, np.arange(len(groups))))].reshape(-1)
