"""Linear separability where the answer is known."""

import math
import sys

import pytest
import torch

from t2igan.errors import UserError
from t2igan.metrics.separability import AttributeClassifier, conditional_entropy, score, separate


def test_what_a_plane_separates_has_no_entropy_and_what_none_does_has_all():
    latents = torch.randn(2000, 8)
    plane = separate(latents, latents[:, 2] > 0.3)
    assert plane.entropy < 0.1 and plane.decision[latents[:, 2] > 1].min() > plane.decision[latents[:, 2] < -0.5].max()
    ring = separate(latents, latents[:, :2].square().sum(1) > 2 * math.log(2))  # half of the points lie inside
    assert ring.entropy > 0.97
    with pytest.raises(ValueError, match="all labels are equal"):
        separate(latents, torch.ones(2000, dtype=torch.bool))


def test_too_few_latents_prove_nothing():
    with pytest.raises(ValueError, match="16 latents of 8 dimensions, which are separated whatever their labels"):
        separate(torch.randn(16, 8), torch.arange(16) % 2 == 0)


def test_entropy_is_in_bits_and_the_score_is_two_to_their_sum():
    labels = torch.tensor([True, True, False, False, True, False, False, False])
    sides = torch.tensor([True, True, True, True, False, False, False, False])
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert conditional_entropy(labels, sides) == pytest.approx(0.5 * 1 + 0.5 * quarter)
    assert conditional_entropy(labels, labels) == 0 and score([0.0, 0.0]) == 1 and score([1.0, 1.0]) == 4


def test_a_classifier_knows_how_good_it_is():
    features = torch.randn(500, 16)
    good = AttributeClassifier.fit(features, features[:, 0] > 0)
    assert good.accuracy > 0.9 and ((good(features) > 0) == (features[:, 0] > 0)).float().mean() > 0.97
    assert AttributeClassifier.fit(features, torch.rand(500) > 0.5).accuracy == pytest.approx(0.5, abs=0.15)
    with pytest.raises(ValueError, match="3 images have it and 497 do not"):
        AttributeClassifier.fit(features, torch.arange(500) < 3)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(UserError, match=r"pip install 't2igan\[separability\]'"):
        separate(torch.randn(8, 2), torch.arange(8) % 2 == 0)
