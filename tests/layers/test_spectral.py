"""Spectrally normalised convolutions over tokens, and normalisation over a few images."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from t2igan.errors import UserError
from t2igan.layers.local_norm import LocalBatchNorm
from t2igan.layers.spectral import SpectralConv1d, update_spectral


def test_the_largest_singular_value_is_one():
    layer = SpectralConv1d(6, 8, 3)
    for _ in range(50):
        update_spectral(layer)
    used = layer.weight.detach() / (layer.left @ layer.weight.flatten(1) @ layer.right)
    assert torch.linalg.matrix_norm(used.flatten(1), 2).item() == pytest.approx(1, abs=1e-4)
    x = torch.randn(2, 6, 5)
    expected = F.conv1d(torch.cat([x[..., -1:], x, x[..., :1]], 2), used, layer.bias)
    assert torch.allclose(layer(x), expected, atol=1e-6), "the sequence goes on at its other end"


def test_it_is_torchs_spectral_norm():
    """The same weights, gradients included, as the library's module after as many iterations."""
    layer = SpectralConv1d(6, 8)
    conv = nn.Conv1d(6, 8, 1)
    conv.load_state_dict({"weight": layer.weight.detach(), "bias": layer.bias.detach()})
    theirs = nn.utils.parametrizations.spectral_norm(conv)
    for _ in range(200):
        update_spectral(layer)
        theirs.parametrizations.weight[0]._power_method(theirs.parametrizations.weight.original.flatten(1), 1)
    theirs.eval()
    x = torch.randn(3, 6, 4)
    assert torch.allclose(layer(x), theirs(x), atol=1e-5)
    layer(x).square().sum().backward()
    theirs(x).square().sum().backward()
    assert torch.allclose(layer.weight.grad, theirs.parametrizations.weight.original.grad, atol=1e-4)


def test_a_pass_moves_nothing_and_a_step_does():
    layer = SpectralConv1d(6, 8)
    before = layer.left.clone()
    layer(torch.randn(2, 6, 4))
    assert torch.equal(layer.left, before)
    with torch.no_grad():
        layer.weight.normal_()
    update_spectral(nn.Sequential(layer))
    assert not torch.equal(layer.left, before)


def test_groups_of_eight_follow_each_other_and_do_not_mix():
    norm, x = LocalBatchNorm(3), torch.randn(16, 3, 5) * 2 + 1
    y = norm(x)
    assert torch.allclose(y[:8], norm(x[:8]), atol=1e-6) and torch.allclose(y[8:], norm(x[8:]), atol=1e-6)
    expected = F.batch_norm(x[:8], None, None, training=True)
    assert torch.allclose(y[:8], expected, atol=1e-5)
    assert torch.allclose(norm(x[:12])[:6], norm(x[:6]), atol=1e-6), "two groups of six"
    assert torch.equal(norm.eval()(x), y), "outside training too"
    with pytest.raises(UserError, match="a pass of 9 images makes no 2 equal groups of at most 8"):
        norm(x[:9])
