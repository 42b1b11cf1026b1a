"""Rounds of the game with known verdicts."""

import pytest
import torch

from t2igan.objective.term import Round
from t2igan.types import Fake, ImagePyramid, TrainingTime, Verdict


def verdict(*heads, weights=None) -> Verdict:
    """Each head a list of logits, one per picture."""
    logits = tuple(torch.as_tensor(head, dtype=torch.float32).reshape(len(head), -1) for head in heads)
    return Verdict(logits, tuple(weights or [1.0] * len(heads)))


@pytest.fixture
def make_verdict():
    return verdict


@pytest.fixture
def make_round(descriptors):
    """make_round(n, field=value, ...) -> a Round of n pictures whose other fields are blank."""

    def make(n=2, *, pictures=None, **fields) -> Round:
        pictures = torch.zeros(n, 3, 4, 4) if pictures is None else pictures
        fake = Fake(ImagePyramid((pictures,)), torch.zeros(n, 1, 4))
        names = fields.pop("names", [f"thing {i}" for i in range(n)])
        blank = dict(fake=fake, fake_verdict=verdict([0.0] * n), text=descriptors([2] * n), captions=list(names), names=names, now=TrainingTime(0))
        return Round(**blank | fields)

    return make
