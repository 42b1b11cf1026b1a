"""MS-SSIM against a version written window by window."""

import numpy as np
import pytest
import torch

from t2igan.metrics.ms_ssim import WEIGHTS, ms_ssim


def reference(a: np.ndarray, b: np.ndarray) -> float:
    """Of two images [3, r, r] in 0..255; loops over scales, channels and windows."""
    value = 1.0
    for scale, weight in enumerate(WEIGHTS):
        size = min(11, a.shape[-1])
        place = np.arange(size) - (size - 1) / 2
        line = np.exp(-(place**2) / (2 * (1.5 * size / 11) ** 2))
        window = np.outer(line, line) / line.sum() ** 2
        similarity, contrast = [], []
        for x, y in zip(a, b, strict=True):
            for i in range(a.shape[-1] - size + 1):
                for j in range(a.shape[-1] - size + 1):
                    p, q = x[i : i + size, j : j + size], y[i : i + size, j : j + size]
                    mp, mq = (window * p).sum(), (window * q).sum()
                    vp, vq, cov = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum(), (window * (p - mp) * (q - mq)).sum()
                    c = (2 * cov + 58.5225) / (vp + vq + 58.5225)
                    contrast.append(c)
                    similarity.append(c * (2 * mp * mq + 6.5025) / (mp**2 + mq**2 + 6.5025))
        value *= max(np.mean(similarity if scale == 4 else contrast), 0) ** weight
        a, b = (x.reshape(3, x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean((2, 4)) for x in (a, b))
    return value


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_it_equals_one_written_window_by_window(noise):
    smooth = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4) * 2 - 1, 32, mode="bilinear")
    other = (smooth + noise * torch.randn(2, 3, 32, 32)).clamp(-1, 1)
    found = ms_ssim(smooth, other)
    for value, x, y in zip(found, smooth.double(), other.double(), strict=True):
        assert float(value) == pytest.approx(reference(((x + 1) * 127.5).numpy(), ((y + 1) * 127.5).numpy()), abs=1e-9)


def test_the_same_image_is_one_and_another_is_less():
    images = torch.rand(3, 3, 64, 64) * 2 - 1
    assert torch.allclose(ms_ssim(images, images), torch.ones(3, dtype=torch.float64))
    assert ms_ssim(images, images.flip(0))[[0, 2]].max() < 0.2
    assert ms_ssim(images, -images).eq(0).all(), "an opposite has no similarity, and no NaN"
