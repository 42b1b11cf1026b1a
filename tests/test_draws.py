"""The random numbers of training: functions of seed, purpose and position alone, and as good as random."""

import math

import pytest
import torch

from t2igan.draws import Draws, mix, stream

FAR = 2**40 + 12_345  # images seen, beyond any 32-bit number


def draws(n: int, seed: int = 0, scope: str = "", first: int = 0, step: int = 1) -> Draws:
    return Draws(seed, torch.arange(first, first + n * step, step), scope)


KINDS = ["uniform", "normal"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_arguments_give_the_same_numbers(kind):
    a, b = (getattr(draws(4, seed=7), kind)("latents", 3, 5) for _ in range(2))
    assert a.shape == (4, 3, 5) and a.dtype == torch.float32
    assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["seed", "purpose", "scope", "position"])
def test_seed_purpose_scope_and_position_each_change_every_number(what, kind):
    n, seed, scope, purpose, first = 6, 7, "D/", "latents", 0
    before = getattr(draws(n, seed, scope, first), kind)(purpose, 40)
    seed, scope, purpose = seed + (what == "seed"), scope + "x" * (what == "scope"), purpose + "x" * (what == "purpose")
    after = getattr(draws(n, seed, scope, first + n * (what == "position")), kind)(purpose, 40)
    assert (before != after).all()


def test_scopes_are_prefixes_and_keep_the_samples():
    half = draws(3, seed=2, first=5).scoped("D")
    assert torch.equal(half.positions, draws(3, first=5).positions)
    assert half.scope == "D/" and half.scoped("generator").scope == "D/generator/"
    assert not torch.equal(half.uniform("noise", 9), half.scoped("generator").uniform("noise", 9))
    assert not torch.equal(half.uniform("noise", 9), draws(3, seed=2, first=5).scoped("G").uniform("noise", 9))


POSITIONS = [0, 12, FAR]
UNIFORM = [[0.93495798, 0.07848340, 0.79674470], [0.27680182, 0.01703149, 0.63004386], [0.69759369, 0.95225698, 0.96397680]]
NORMAL = [[-0.19703655, 0.68896765, 0.30932805], [1.25530982, -0.63319260, 0.99654585], [0.55154443, -0.04941012, -0.64500815]]


@pytest.mark.parametrize(("kind", "expected"), [("uniform", UNIFORM), ("normal", NORMAL)])
def test_known_values(kind, expected):
    """A run that resumes with a newer library gets the numbers that it would have had: a changed generator is noticed here."""
    found = getattr(Draws(3, torch.tensor(POSITIONS), "D/"), kind)("latents", 3)
    assert torch.allclose(found, torch.tensor(expected), atol=2e-6, rtol=0)


MASK, GOLDEN = 2**64 - 1, 0x9E3779B97F4A7C15


def splitmix64(x: int) -> int:
    """The finaliser in whole-number arithmetic."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_the_finaliser_is_splitmix64s():
    """Also at the first outputs for seed 1234567, which other implementations list."""
    values = [0, 1, -1, 2**63 - 1, -(2**63), 0x1234_5678_9ABC_DEF0, *torch.randint(-(2**62), 2**62, (50,)).tolist()]
    assert [value & MASK for value in mix(torch.tensor(values)).tolist()] == [splitmix64(value & MASK) for value in values]
    assert [splitmix64((1234567 + i * GOLDEN) & MASK) for i in (1, 2)] == [6457827717110365317, 3203168211198807973]


def test_numbers_are_counters_of_a_key_per_sample():
    """Each sample's key is hashed of stream and position, each number of key and counter; a normal takes both halves of one hash."""
    keys = [splitmix64((stream(3, "D/latents") + position * GOLDEN) & MASK) for position in POSITIONS]
    bits = [[splitmix64((key + i * GOLDEN) & MASK) for i in (1, 2, 3)] for key in keys]
    assert [[(x >> 40) / 2**24 for x in row] for row in bits] == Draws(3, torch.tensor(POSITIONS), "D/").uniform("latents", 3).tolist()
    for row, found in zip(bits, Draws(3, torch.tensor(POSITIONS), "D/").normal("latents", 3).tolist(), strict=True):
        radii = [math.sqrt(-2 * math.log(((x >> 40) + 1) / 2**24)) for x in row[:2]]
        angles = [2 * math.pi * (x >> 16 & 0xFFFFFF) / 2**24 for x in row[:2]]
        cosines, sines = ([r * f(a) for r, a in zip(radii, angles, strict=True)] for f in (math.cos, math.sin))
        assert found == pytest.approx((cosines + sines)[:3], abs=2e-6)


def test_streams_tell_seeds_and_purposes_apart():
    pairs = [(seed, purpose) for seed in (0, 1, 11, 111) for purpose in ("", "1", " 1", "1 1", "a", "A")]
    assert len({stream(*pair) for pair in pairs}) == len(pairs)


# ------------------------------------------------------------------------------------------------ their distribution


def worst_gap(sorted_values, cdf) -> float:
    """Kolmogorov and Smirnov's statistic, times the root of the sample size: above 1.95 once in a thousand samples."""
    n = len(sorted_values)
    expected, steps = cdf(sorted_values.double()), torch.arange(n + 1).double() / n
    return max((steps[1:] - expected).max().item(), (expected - steps[:-1]).max().item()) * n**0.5


LAYOUTS = [(1, 100_000), (100_000, 1), (1000, 100)]  # many numbers of one sample, few of many samples


@pytest.mark.parametrize("first", [0, FAR])
@pytest.mark.parametrize(("n", "count"), LAYOUTS)
def test_uniform_numbers_are_uniform(n, count, first):
    x = draws(n, first=first).uniform("test", count).flatten()
    assert x.min() >= 0 and x.max() < 1
    assert abs(x.mean().item() - 1 / 2) < 4 * (1 / 12 / len(x)) ** 0.5
    assert abs(x.var().item() - 1 / 12) < 4 * (1 / 180 / len(x)) ** 0.5
    assert worst_gap(x.sort().values, lambda v: v) < 1.95


@pytest.mark.parametrize("first", [0, FAR])
@pytest.mark.parametrize(("n", "count"), LAYOUTS)
def test_normal_numbers_are_normal(n, count, first):
    x = draws(n, first=first).normal("test", count).flatten()
    assert x.isfinite().all()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(x.double().pow(power).mean().item() - moment) < 4 * (variance / len(x)) ** 0.5, power
    assert worst_gap(x.sort().values, lambda v: (1 + torch.erf(v / math.sqrt(2))) / 2) < 1.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 2, 192, 4096])
def test_neighbours_are_uncorrelated(step, kind):
    """Along positions, whatever their distance, and along the elements of a sample: the halves of Box and Muller's pairs too."""
    x = getattr(draws(400, step=step), kind)("test", 400).double()
    x = (x - x.mean()) / x.std()
    bound = 5 / (400 * 400) ** 0.5  # of about a hundred comparisons
    for lag in (1, 2, 3, 200):
        assert abs((x[lag:] * x[:-lag]).mean().item()) < bound * (400 / (400 - lag)) ** 0.5
        assert abs((x[:, lag:] * x[:, :-lag]).mean().item()) < bound * (400 / (400 - lag)) ** 0.5
        assert abs((x[lag:, lag:] * x[:-lag, :-lag]).mean().item()) < bound * 400 / (400 - lag)
        assert abs((x[:, lag:].square() * x[:, :-lag].square()).mean().item() - 1) < 4 * bound * (400 / (400 - lag)) ** 0.5


def test_purposes_seeds_and_scopes_are_uncorrelated():
    base = draws(200).normal("a", 400)
    others = [draws(200).normal("b", 400), draws(200, seed=1).normal("a", 400), draws(200).scoped("a").normal("a", 400)]
    for other in others:
        assert abs((base * other).mean().item()) < 4 / base.numel() ** 0.5


def test_no_two_positions_share_their_numbers():
    first = draws(200_000).uniform("test", 2)
    assert len(torch.unique(first, dim=0)) > 200_000 - 5  # of 2^48 pairs


# ------------------------------------------------------------------------------------------------ what they depend on


@pytest.mark.parametrize("kind", KINDS)
def test_a_samples_numbers_do_not_depend_on_how_a_batch_is_cut(kind):
    """Micro-batches are slices, ranks take every so many positions: each gets the rows of the whole."""
    whole = draws(12, seed=5, scope="G/", first=FAR)
    numbers = getattr(whole, kind)("test", 3, 5)
    for rows in (slice(0, 4), slice(1, None, 3), torch.tensor([7, 0, 7]), slice(11, 12)):
        part = whole[rows]
        assert len(part) == len(numbers[rows])
        assert torch.equal(getattr(part, kind)("test", 3, 5), numbers[rows])
        assert torch.equal(getattr(part.scoped("view"), kind)("test", 2), getattr(whole.scoped("view"), kind)("test", 2)[rows])
    positions = [position for start in range(0, 12, 4) for position in range(FAR + start, FAR + start + 4)]
    assert torch.equal(getattr(Draws(5, torch.tensor(positions), "G/"), kind)("test", 3, 5), numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_the_global_generator_is_neither_read_nor_moved(kind):
    torch.manual_seed(1)
    before, state = getattr(draws(3), kind)("test", 7), torch.get_rng_state()
    torch.manual_seed(2)
    torch.rand(5)
    other = torch.get_rng_state()
    assert torch.equal(getattr(draws(3), kind)("test", 7), before)
    assert torch.equal(torch.get_rng_state(), other) and not torch.equal(state, other)


def test_positions_beyond_2_to_the_40_stay_apart():
    far = Draws(0, torch.tensor([2**40, 2**40 + 1, 2**41, 2**62, 0, 1])).uniform("test", 64)
    for i in range(6):
        for j in range(i):
            assert (far[i] != far[j]).all(), (i, j)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_normal_has_odd_and_even_counts(count):
    x = draws(5000).normal("test", count)
    assert x.shape == (5000, count)
    assert ((x.mean(0)).abs() < 5 / 5000**0.5).all() and ((x.var(0) - 1).abs() < 5 * (2 / 5000) ** 0.5).all()


@pytest.mark.parametrize("shape", [(), (1, 1, 1), (3, 4, 5)])
def test_shapes_are_the_given_ones(shape):
    for kind in KINDS:
        assert getattr(draws(2), kind)("test", *shape).shape == (2, *shape)
