"""PSNR and SSIM against their definitions."""

import math

import pytest
import torch

from t2igan.metrics.similarity import psnr, ssim


def test_psnr_of_a_known_difference():
    a = torch.zeros(2, 3, 8, 8)
    b = torch.stack([a[0] + 0.2, a[1] + 0.02])
    assert psnr(a, b).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)
    assert psnr(a, a).tolist() == [100.0, 100.0]


def test_ssim_equals_a_loop_over_windows():
    a, b = torch.rand(1, 3, 14, 13, dtype=torch.float64) * 2 - 1, torch.rand(1, 3, 14, 13, dtype=torch.float64) * 2 - 1
    weights = torch.tensor(
        [[math.exp(-((y - 5) ** 2 + (x - 5) ** 2) / (2 * 1.5**2)) for x in range(11)] for y in range(11)], dtype=torch.float64
    )
    weights /= weights.sum()
    values = []
    for colour in range(3):
        for y in range(4):
            for x in range(3):
                p, q = (image[0, colour, y : y + 11, x : x + 11] for image in (a, b))
                mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
                var_p, var_q = (weights * (p - mean_p) ** 2).sum(), (weights * (q - mean_q) ** 2).sum()
                covariance = (weights * (p - mean_p) * (q - mean_q)).sum()
                c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
                top = (2 * mean_p * mean_q + c1) * (2 * covariance + c2)
                values.append(top / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2)))
    assert ssim(a, b).item() == pytest.approx(torch.stack(values).mean().item(), abs=1e-10)


def test_ssim_of_equal_images_is_one_and_falls_with_noise():
    a = torch.rand(2, 3, 32, 32) * 2 - 1
    assert ssim(a, a).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    little, much = (ssim(a, a + strength * torch.randn_like(a)) for strength in (0.05, 0.5))
    assert (little < 1).all() and (little > much).all()
