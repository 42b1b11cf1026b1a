"""Twofold resampling."""

import torch
import torch.nn.functional as F

from t2igan.layers.resample import downsample, resize_bicubic, upsample


def test_upsampling_is_the_filter_1_3_3_1():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    spread = torch.zeros(2, 3, 12, 12, dtype=torch.float64)
    spread[:, :, ::2, ::2] = x
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 4
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)
    filtered = F.conv2d(F.pad(spread, (2, 1, 2, 1)), kernel, groups=3)
    inside = slice(2, -2)  # the border is replicated, not zero
    assert (upsample(x)[:, :, inside, inside] - filtered[:, :, inside, inside]).abs().max() < 1e-12


def test_flat_images_stay_flat_up_to_the_border():
    assert torch.allclose(upsample(torch.full((1, 3, 4, 4), 0.7)), torch.full((1, 3, 8, 8), 0.7))
    assert torch.allclose(resize_bicubic(torch.full((1, 3, 16, 16), 0.7), 6), torch.full((1, 3, 6, 6), 0.7))


def test_downsampling_is_the_mean_of_four():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    expected = (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
    assert torch.allclose(downsample(x), expected)


def test_up_then_down_keeps_means():
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    assert torch.allclose(downsample(upsample(x)).mean((2, 3)), x.mean((2, 3)))


def test_bicubic_reduction_averages_before_it_samples():
    """A checkerboard, the finest detail there is, becomes grey; an image at its own size stays as it is."""
    checkerboard = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8).expand(1, 3, 16, 16)
    inside = resize_bicubic(checkerboard, 4)[:, :, 1:-1, 1:-1]  # at the border the filter is cut off
    assert inside.abs().max() < 0.02
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(resize_bicubic(x, 8), x, atol=1e-6)
