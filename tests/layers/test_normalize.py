"""Root-mean-square normalisations."""

import pytest
import torch

from t2igan.layers.normalize import RMSNorm, unit_rms
from t2igan.layers.precision import widen


def test_unit_rms_has_mean_square_one_and_ignores_length():
    x = torch.randn(3, 4, 50, dtype=torch.float64) * 7
    assert torch.allclose(unit_rms(x).square().mean(-1), torch.ones(3, 4, dtype=torch.float64))
    assert torch.allclose(unit_rms(5 * x), unit_rms(x))
    assert torch.allclose(unit_rms(x) / x, (unit_rms(x) / x)[..., :1].expand_as(x)), "directions stay"


def test_unit_rms_of_nothing_is_nothing():
    x = torch.zeros(2, 8, requires_grad=True)
    unit_rms(x).sum().backward()
    assert torch.equal(unit_rms(x), torch.zeros(2, 8))
    assert torch.isfinite(x.grad).all()


def test_rms_norm_is_unit_rms_times_its_gain():
    norm = RMSNorm(6)
    x = torch.randn(2, 3, 6)
    assert torch.equal(norm(x), unit_rms(x))
    norm.gain.data = torch.arange(6.0)
    assert torch.allclose(norm(x), unit_rms(x) * torch.arange(6.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_rms_norm_gives_back_the_precision_it_got(dtype):
    x = torch.randn(4, 64).to(dtype)
    y = RMSNorm(64)(x)
    assert y.dtype == dtype
    assert torch.allclose(y.double(), unit_rms(x.double()), rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_widen_touches_half_precision_only():
    assert [widen(torch.ones(1, dtype=d)).dtype for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64)] == [
        torch.float32, torch.float32, torch.float32, torch.float64]  # fmt: skip
