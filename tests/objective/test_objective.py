"""Terms with their weights and times to the losses of D and of G."""

import pytest
import torch

from t2igan.objective.gradient_penalty import R1, R1Config
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.objective.term import Term
from t2igan.schedule import Schedule, parse_schedule
from t2igan.types import Fake, ImagePyramid, TrainingTime, Verdict


class Constant(Term):
    def __init__(self, value: float):
        self.value = value

    def discriminator(self, round):
        return torch.tensor(self.value)

    def generator(self, round):
        return torch.tensor(-self.value)


class Recorder:
    """A D that gives zeros, notes what it was asked, and follows the pictures linearly."""

    def __init__(self):
        self.asked = []

    def __call__(self, pyramid, text, *pairings):
        self.asked.append((pyramid, pairings))
        logits = sum(level.sum((1, 2, 3)) for level in pyramid.levels)[:, None]
        return tuple(Verdict((logits,), (1.0,)) for _ in pairings)


def term(value=1.0, weight=1.0, **options) -> ScheduledTerm:
    return ScheduledTerm(f"constant {value}", Constant(value), parse_schedule(weight), **options)


def play(terms, now, descriptors, half="discriminator", D=None):
    objective, text = Objective(terms, terms), descriptors([2, 2])
    pictures = ImagePyramid((torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)))
    fake = Fake(pictures, torch.zeros(2, 1, 4))
    names = ["a", "b"]
    if half == "generator":
        return objective.generator_losses(D or Recorder(), pictures.finest, fake, pictures, text, names, names, now)
    return objective.discriminator_losses(D or Recorder(), pictures, fake, pictures, text, names, names, now)


@pytest.mark.parametrize(("half", "sign"), [("discriminator", 1), ("generator", -1)])
def test_the_total_is_the_weighted_sum_and_parts_are_unweighted(half, sign, descriptors):
    losses = play([term(2.0, weight=3.0), term(5.0, weight=0.5)], TrainingTime(0), descriptors, half)
    assert losses.total.item() == sign * (2 * 3 + 5 * 0.5)
    letter = half[0].upper()
    assert losses.parts[f"{letter}/constant 2.0"].item() == sign * 2
    assert losses.parts[f"{letter}/constant 5.0"].item() == sign * 5


def test_two_terms_of_one_name_both_count(descriptors):
    losses = play([term(2.0, weight=3.0), term(2.0, weight=0.5)], TrainingTime(0), descriptors)
    assert losses.total.item() == 2 * 3 + 2 * 0.5


def test_every_n_th_step_counts_n_fold(descriptors):
    """So the sum over n steps is what it would be without `every`."""
    terms = [term(0.0), term(2.0, weight=0.5, every=4)]
    totals = [play(terms, TrainingTime(32 * step, step), descriptors).total.item() for step in range(8)]
    assert totals == [4, 0, 0, 0, 4, 0, 0, 0]


def test_a_term_waits_until_after_and_follows_its_schedule(descriptors):
    terms = [term(0.0), term(1.0, weight={"linear": [0, 10, 100, 200]}, after=150)]
    totals = [play(terms, TrainingTime(images), descriptors).total.item() for images in (0, 149, 150, 175, 500)]
    assert totals == [0, 0, 5, 7.5, 10]


def test_what_is_not_due_is_not_in_the_report(descriptors):
    assert "D/constant 2.0" not in play([term(1.0), term(2.0, every=4)], TrainingTime(0, 1), descriptors).parts


def test_d_is_asked_once_per_half_and_only_what_is_needed(descriptors):
    class NeedsMismatched(Constant):
        needs_mismatched = True

    for terms, captions_per_picture in (([term()], 1), ([term(), ScheduledTerm("m", NeedsMismatched(1.0), Schedule(), every=2)], 2)):
        D = Recorder()
        play(terms, TrainingTime(0, 0), descriptors, D=D)
        ((pyramid, pairings),) = D.asked
        assert [len(level) for level in pyramid.levels] == [4, 4]  # reals, then fakes
        assert len(pairings) == captions_per_picture
        assert pairings[0].tolist() == [0, 1, 0, 1]
        D = Recorder()
        play(terms, TrainingTime(0, 1), descriptors, "generator", D)
        assert [pairing.tolist() for pairing in D.asked[0][1]] == [[0, 1]]


def test_the_penalty_sees_reals_only_and_only_when_due(descriptors):
    """Linear critic: every pixel's gradient is 1. The finest of 2 pictures has 192 values, the coarse 48, weighed by area."""
    penalty = ScheduledTerm("r1", R1(R1Config(gamma=2.0)), parse_schedule(1.0), every=2)
    D = Recorder()
    losses = play([term(0.0), penalty], TrainingTime(0, 0), descriptors, D=D)
    assert losses.parts["D/r1"].item() == pytest.approx(192 + 48 / 4)
    assert losses.total.item() == pytest.approx(2 * (192 + 48 / 4))
    play([term(0.0), penalty], TrainingTime(0, 1), descriptors, D=D)
    assert [asked[0].finest.requires_grad for asked in D.asked] == [True, False]


def test_every_term_is_prepared_with_the_names():
    heard = []

    class Listens(Constant):
        def prepare(self, names, device):
            heard.append((names, device))

    entries = [ScheduledTerm("l", Listens(1.0), Schedule())]

    def names():
        return ["a"]

    Objective(entries, entries).prepare(names, torch.device("cpu"))
    assert heard == [(names, torch.device("cpu"))] * 2
