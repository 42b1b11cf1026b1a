"""What a metric computes from features, and how many images it needs."""

import pytest
import torch
import torch.nn.functional as F

from t2igan.errors import UserError
from t2igan.metrics.frechet import frechet_distance
from t2igan.metrics.metric import METRICS, Metric


def reader(**features):
    """Chunks of 50, as on disk."""
    return lambda kind: features[kind].split(50)


def test_clip_score_is_the_mean_cosine():
    a, b = F.normalize(torch.randn(120, 8), dim=1), F.normalize(torch.randn(120, 8), dim=1)
    found = METRICS["clip_score"].compute(reader(generated=a, captions=b))
    assert found["value"] == pytest.approx(F.cosine_similarity(a, b).mean().item(), rel=1e-5)


def test_r_precision_of_perfect_of_chance_and_of_repeated_captions():
    captions = F.normalize(torch.randn(2000, 16), dim=1)
    r_precision = METRICS["r_precision"].compute
    assert r_precision(reader(generated=captions, captions=captions))["value"] == 1
    chance = r_precision(reader(generated=captions.roll(1, 0), captions=captions))["value"]
    assert chance < 0.03  # one in a hundred
    assert r_precision(reader(generated=captions, captions=captions[:20].repeat(100, 1)))["value"] < 0.2
    few = captions[:20].repeat(100, 1)  # each caption a hundred times: the same words are no wrong answer
    assert r_precision(reader(generated=few, captions=few))["value"] == 1


def test_parts_and_whole_give_the_same_frechet_distance():
    a, b = torch.randn(120, 5), torch.randn(90, 5) + 1
    assert METRICS["fid"].compute(reader(generated=a, real=b))["value"] == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_too_few_images():
    gaussian, six = Metric("n", "l", len, gaussian=True), Metric("n", "l", len, min_images=6)
    gaussian.check("fid", 2049, 2048, force=False)
    gaussian.check("fid", 100, 2048, force=True)
    with pytest.raises(UserError, match="fid of 2048 images, which cannot fill the 2048 dimensions"):
        gaussian.check("fid", 2048, 2048, force=False)
    with pytest.raises(UserError, match="fid needs 2 images or more, got 1"):
        gaussian.check("fid", 1, 2048, force=True)
    with pytest.raises(UserError, match="precision_recall needs 6 images or more, got 5"):
        six.check("precision_recall", 5, 4096, force=True)
