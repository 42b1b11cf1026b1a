"""Pictures with the caption of another picture."""

import math
import random

import pytest
import torch

from t2igan.objective.adversarial import NonSaturating
from t2igan.objective.matching import Matching, MatchingConfig, mismatch
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.schedule import Schedule
from t2igan.types import Fake, ImagePyramid, TrainingTime, Verdict


@pytest.mark.parametrize("seed", range(20))
def test_no_caption_of_the_same_thing_where_that_can_be_avoided(seed):
    draw = random.Random(seed)
    names = [draw.choice("abcd"[: 1 + seed % 4]) for _ in range(draw.randint(1, 12))]
    found = mismatch(names, names).tolist()
    assert len(found) == len(names)
    if len(set(names)) > 1:
        assert all(names[other] != name for name, other in zip(names, found, strict=True))
    else:
        assert found == list(range(len(names)))


def test_it_is_the_nearest_following_one():
    names = ["a", "a", "b", "c", "a"]
    assert mismatch(names, names).tolist() == [2, 2, 3, 4, 2]


def test_a_caption_that_is_left_out_is_wrong_for_no_picture():
    assert mismatch(["a", "b", "c"], ["a", "", "c"]).tolist() == [2, 2, 0]
    assert mismatch(["a", "b"], ["a", ""]).tolist() == [0, 0]


def test_known_logits(make_round, make_verdict):
    log2, log4, log4_3 = math.log(2), math.log(4), math.log(4 / 3)
    round = make_round(2, real_mismatched=make_verdict([0.0, math.log(3)]), fake_mismatched=make_verdict([0.0, -math.log(3)]))
    assert Matching(MatchingConfig(generated=False)).discriminator(round).item() == pytest.approx((log2 + log4) / 2)
    assert Matching(MatchingConfig(generated=True)).discriminator(round).item() == pytest.approx((log2 + log4 + log2 + log4_3) / 2)
    assert Matching(MatchingConfig()).generator(round).item() == pytest.approx((log2 + log4) / 2)


class CaptionCritic:
    """Scores a picture by its own number (its red mean) times ten plus the number of the prompt it is asked about."""

    def __call__(self, pyramid, text, *pairings):
        number = pyramid.finest[:, 0].mean((1, 2))
        return tuple(Verdict(((10 * number + text.pooled[pairing, 0])[:, None],), (1.0,)) for pairing in pairings)


def numbered(first, n) -> ImagePyramid:
    return ImagePyramid((torch.arange(first, first + n).float()[:, None, None, None].expand(n, 3, 4, 4),))


@pytest.mark.parametrize("half", ["discriminator", "generator"])
def test_wrong_captions_are_those_of_other_things(half, descriptors):
    """Pictures 1 to 3 are real, 4 to 6 generated; prompts are numbered 0 to 2; the first two show the same thing."""
    seen = []

    class Watch(Matching):
        def discriminator(self, round):
            seen.append(round)
            return super().discriminator(round)

        def generator(self, round):
            seen.append(round)
            return super().generator(round)

    text = descriptors([2, 2, 2])
    text.pooled[:, 0] = torch.arange(3)
    names, now = ["cat", "cat", "dog"], TrainingTime(0)
    real, generated = numbered(1, 3), numbered(4, 3)
    fake = Fake(generated, torch.zeros(3, 1, 2))
    one = Schedule("constant", 1.0, 1.0)
    terms = [ScheduledTerm("matching", Watch(MatchingConfig()), one), ScheduledTerm("nonsaturating", NonSaturating(), one)]
    objective = Objective(terms, terms)
    if half == "discriminator":
        losses = objective.discriminator_losses(CaptionCritic(), real, fake, generated, text, list("abc"), names, now)
        (round,) = seen
        assert round.real_verdict.logits[0].flatten().tolist() == [10, 21, 32]
        assert round.real_mismatched.logits[0].flatten().tolist() == [12, 22, 30]
        sensitivity = losses.parts["D/caption_sensitivity"].item()
        assert sensitivity == pytest.approx((2 + 1 + 2) / 3)
        assert losses.parts["D/logit_real"].item() == pytest.approx((10 + 21 + 32) / 3)
        assert losses.parts["D/logit_fake"].item() == pytest.approx((40 + 51 + 62) / 3)
    else:
        losses = objective.generator_losses(CaptionCritic(), generated.finest, fake, generated, text, list("abc"), names, now)
        (round,) = seen
        assert round.real_verdict is None and round.real_mismatched is None
    assert round.fake_verdict.logits[0].flatten().tolist() == [40, 51, 62]
    assert round.fake_mismatched.logits[0].flatten().tolist() == [42, 52, 60]
