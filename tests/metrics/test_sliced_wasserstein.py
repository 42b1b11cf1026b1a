"""The pyramid, the patches and the distances of ProGAN's sliced Wasserstein distance."""

import numpy as np
import pytest
import torch

from t2igan.metrics.sliced_wasserstein import PATCHES, laplacian_pyramid, patches, sliced_wasserstein, standardised


def mirrored(i: int, n: int) -> int:
    """The index of a border that is mirrored without repeating the edge."""
    i = abs(i)
    return 2 * (n - 1) - i if i >= n else i


def reference_pyramid(image: np.ndarray) -> list[np.ndarray]:
    """Written pixel by pixel."""
    taps = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256

    def filtered(x):
        n = len(x)
        return np.array(
            [
                [sum(taps[a, b] * x[mirrored(i + a - 2, n), mirrored(j + b - 2, n)] for a in range(5) for b in range(5)) for j in range(n)]
                for i in range(n)
            ]
        )

    smaller = filtered(image)[::2, ::2]
    spaced = np.zeros_like(image)
    spaced[::2, ::2] = smaller
    return [image - 4 * filtered(spaced), smaller]


def test_the_pyramid_equals_one_written_pixel_by_pixel():
    image = torch.randn(1, 1, 32, 32, dtype=torch.float64)
    found, expected = laplacian_pyramid(image), reference_pyramid(image[0, 0].numpy())
    assert [level.shape[-1] for level in found] == [32, 16]
    for level, other in zip(found, expected, strict=True):
        assert np.allclose(level[0, 0].numpy(), other)
    assert [level.shape[-1] for level in laplacian_pyramid(torch.zeros(1, 3, 128, 128))] == [128, 64, 32, 16]
    assert torch.allclose(laplacian_pyramid(torch.full((1, 3, 32, 32), 7.0))[0], torch.zeros(1), atol=1e-5), "a flat image has no detail"


def test_patches_are_squares_of_the_image_at_places_of_its_number():
    columns = torch.arange(32.0).expand(32, 32)
    image = torch.stack([columns, columns.T, 32 * columns.T + columns])[None]  # every pixel tells where it is
    found = patches(image, [5])
    assert found.shape == (PATCHES, 3, 7, 7)
    top, left = found[:, 1, 0, 0], found[:, 0, 0, 0]
    assert found[:, 0].equal(left[:, None, None] + torch.arange(7.0).expand(7, 7))
    assert found[:, 1].equal(top[:, None, None] + torch.arange(7.0)[:, None].expand(7, 7))
    assert 0 <= left.min() < 4 and 21 < left.max() <= 25, "all over the image"
    both = patches(image.repeat(2, 1, 1, 1), [4, 5])
    assert both[PATCHES:].equal(found) and not both[:PATCHES].equal(found)


def test_the_distance_of_two_gaussians_is_how_far_they_are_moved():
    """Moved by v, projections move by <v, d>: the mean of |N(0, 1)| times |v| / sqrt(dimensions), nearly."""
    points, v = torch.randn(20_000, 147), torch.zeros(147)
    assert sliced_wasserstein(points, points) == 0
    v[3] = 2.0
    assert sliced_wasserstein(points, points + v) == pytest.approx(1e3 * 2 / 147**0.5 * (2 / torch.pi) ** 0.5, rel=0.1)
    assert sliced_wasserstein(points, points[torch.randperm(20_000)]) < 1e-3, "the order of points does not matter"


def test_channels_are_standardised_over_all_patches():
    found = standardised(torch.randn(50, 3, 7, 7) * torch.tensor([1.0, 5.0, 9.0])[:, None, None] + 3).view(50, 3, 49)
    assert torch.allclose(found.mean((0, 2)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.std((0, 2), unbiased=False), torch.ones(3), atol=1e-4)
    assert standardised(torch.ones(4, 3, 7, 7)).eq(0).all(), "a flat set stays finite"
