"""The same images at falling resolutions."""

import pytest
import torch

from t2igan.pyramid import build_pyramid, concatenate, select_levels


def test_levels_are_means_of_blocks():
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    pyramid = build_pyramid(images, (16, 4))
    assert torch.equal(pyramid.finest, images)
    assert torch.allclose(pyramid.levels[1], images.unflatten(3, (4, 4)).unflatten(2, (4, 4)).mean((3, 5)))


def test_a_level_that_halving_does_not_reach_is_refused():
    with pytest.raises(ValueError, match="no level of 12 px"):
        build_pyramid(torch.zeros(1, 3, 16, 16), (16, 12))
    with pytest.raises(ValueError, match="16 px have no level of 32 px"):
        build_pyramid(torch.zeros(1, 3, 16, 16), (32,))


def test_select_levels_and_concatenate():
    a, b = (build_pyramid(torch.randn(n, 3, 16, 16), (16, 8, 4)) for n in (2, 3))
    chosen = select_levels(a, (16, 4))
    assert chosen.levels[0] is a.levels[0] and chosen.levels[1] is a.levels[2]
    assert [level.shape[-1] for level in select_levels(a, (4, 16)).levels] == [4, 16], "in the order of the sides"
    both = concatenate(a, b)
    assert [len(level) for level in both.levels] == [5, 5, 5]
    assert torch.equal(both.levels[1][:2], a.levels[1]) and torch.equal(both.levels[1][2:], b.levels[1])
