"""The vocabulary, and that its shapes are checked while tests run."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from t2igan.layers.normalize import RMSNorm
from t2igan.schedule import Schedule, parse_schedule
from t2igan.types import Batch, ImagePyramid, TextDescriptors, Tokens, Verdict


def test_a_wrong_shape_is_caught_by_the_import_hook():
    with pytest.raises(TypeCheckError):
        ImagePyramid((torch.zeros(1, 4, 8, 8),))  # four channels
    with pytest.raises(TypeCheckError):
        Tokens(torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(TypeCheckError):
        RMSNorm(4)(torch.zeros(2, 4, dtype=torch.long))


def test_a_verdicts_mean_weighs_heads_and_averages_inside_each():
    verdict = Verdict((torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[10.0], [-10.0]])), (1.0, 3.0))
    assert torch.equal(verdict.mean(lambda logit: logit), torch.tensor([(2 + 30) / 4, -30 / 4]))
    assert torch.equal(verdict.mean(torch.square), torch.tensor([(5 + 300) / 4, 300 / 4]))


def test_descriptors_are_picked_and_repeated_together(descriptors):
    text = replace(descriptors([6, 2, 3]), drawing=torch.tensor([2, 0, 1]))
    for picked, rows in ((text[[2, 0]], [2, 0]), (text.repeat(2), [0, 0, 1, 1, 2, 2])):
        assert isinstance(picked, TextDescriptors)
        assert torch.equal(picked.local, text.local[rows])
        assert torch.equal(picked.pooled, text.pooled[rows])
        assert torch.equal(picked.source.mask, text.source.mask[rows])
        assert torch.equal(picked.drawing, text.drawing[rows])


def test_a_batch_splits_into_micro_batches():
    batch = Batch(torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2), list("abcde"), list("ABCDE"), [7, 8, 9, 10, 11])
    parts = batch.split(2)
    assert [part.captions for part in parts] == [["a", "b"], ["c", "d"], ["e"]]
    assert [part.names for part in parts] == [["A", "B"], ["C", "D"], ["E"]]
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert [part.samples for part in parts] == [[7, 8], [9, 10], [11]]


def test_schedules():
    linear, cosine = parse_schedule({"linear": [1, 3, 100]}), parse_schedule({"cosine": [1, 3, 100, 200]})
    assert [linear(images) for images in (0, 50, 100, 10**9)] == [1, 2, 3, 3]
    assert [round(cosine(images), 6) for images in (0, 100, 125, 150, 200, 300)] == [1, 1, 1.292893, 2, 3, 3]
    assert parse_schedule(0.5)(123) == 0.5
    assert parse_schedule({"linear": ["6e-3", "3e-4", "1e5"]}) == Schedule("linear", 0.006, 0.0003, 0, 100_000), "as YAML 1.1 reads them"
    assert parse_schedule(2) == Schedule("constant", 2.0, 2.0)


NO_SCHEDULES = [
    True, "x", None, [1, 2], {}, {"linear": [1, 2]}, {"linear": ["x", 2, 3]}, {"step": [1, 2, 3]},
    {"linear": [1, 2, 3], "cosine": [1, 2, 3]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", NO_SCHEDULES)
def test_other_forms_of_schedules_are_refused(wrong):
    with pytest.raises(ValueError, match=r"needs a number, \{linear"):
        parse_schedule(wrong)


@pytest.mark.parametrize("times", [[0], [5, 5], [9, 3]])
def test_a_schedule_ends_after_it_begins(times):
    with pytest.raises(ValueError, match="end after it begins"):
        parse_schedule({"linear": [1, 2, *times]})
