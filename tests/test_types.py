"""The vocabulary, and that its shapes are checked while tests run."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from t2igan.layers.normalize import RMSNorm
from t2igan.schedule import Schedule, constant, parse_schedule
from t2igan.types import Batch, Caption, Fake, ImagePyramid, ImageSet, TextDescriptors, Tokens, Verdict


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


def test_heads_on_frozen_networks_come_on_top_of_the_primary_ones():
    """They weigh as much together as their weight times the primary heads, by which losses are normalised."""
    primary = Verdict((torch.tensor([[1.0]]), torch.tensor([[2.0]])), (1.0, 3.0))
    both = primary.with_heads([torch.tensor([[10.0]]), torch.tensor([[30.0]])], weight=0.5)
    assert both.weights == (1.0, 3.0, 1.0, 1.0) and both.num_primary == 2
    assert both.mean(lambda logit: logit).item() == pytest.approx((1 + 6) / 4 + 0.5 * (10 + 30) / 2)
    assert both.primary().weights == (1.0, 3.0) and len(both.primary().logits) == 2
    assert torch.equal(both.primary().mean(torch.square), primary.mean(torch.square))


def test_the_difference_of_two_verdicts_is_logit_by_logit():
    a = Verdict((torch.tensor([[1.0, 5.0]]), torch.tensor([[2.0]])), (1.0, 3.0), num_primary=1)
    b = Verdict((torch.tensor([[4.0, 1.0]]), torch.tensor([[7.0]])), (1.0, 3.0), num_primary=1)
    difference = a.minus(b)
    assert [logit.tolist() for logit in difference.logits] == [[[-3.0, 4.0]], [[-5.0]]]
    assert (difference.weights, difference.num_primary) == (a.weights, 1)


def test_leaves_are_the_same_images_cut_off_from_the_graph():
    source = torch.randn(2, 3, 4, 4, requires_grad=True)
    pyramid = ImagePyramid((2 * source, source[:, :, ::2, ::2]))
    leaves, detached = pyramid.leaves(), pyramid.detach()
    for leaf, plain, level in zip(leaves.levels, detached.levels, pyramid.levels, strict=True):
        assert torch.equal(leaf, level) and leaf.is_leaf and leaf.requires_grad
        assert torch.equal(plain, level) and not plain.requires_grad
    fake = Fake(pyramid, 2 * source[:, :1, 0]).detach()
    assert not fake.styles.requires_grad and not fake.pyramid.finest.requires_grad


def test_pyramids_and_sets_are_as_long_as_they_have_images():
    pyramid = ImagePyramid((torch.zeros(5, 3, 8, 8), torch.zeros(5, 3, 4, 4)))
    assert len(pyramid) == len(ImageSet(pyramid, (torch.arange(5),))) == 5


def test_descriptors_are_picked_and_repeated_together(descriptors):
    text = replace(descriptors([6, 2, 3]), cluster=torch.tensor([2, 0, 1]), attention_bias=torch.randn(3, 6))
    for picked, rows in ((text[[2, 0]], [2, 0]), (text.repeat(2), [0, 0, 1, 1, 2, 2])):
        assert isinstance(picked, TextDescriptors)
        assert torch.equal(picked.local, text.local[rows])
        assert torch.equal(picked.pooled, text.pooled[rows])
        assert torch.equal(picked.source.mask, text.source.mask[rows])
        assert torch.equal(picked.cluster, text.cluster[rows])
        assert torch.equal(picked.attention_bias, text.attention_bias[rows])
        assert len(picked) == len(rows)


def test_a_batch_splits_into_micro_batches():
    batch = Batch(
        torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2), list("abcde"), list("ABCDE"), [7, 8, 9, 10, 11], torch.arange(5) + 40
    )
    parts = batch.split(2)
    assert [part.captions for part in parts] == [["a", "b"], ["c", "d"], ["e"]]
    assert [part.primary_captions for part in parts] == [["A", "B"], ["C", "D"], ["E"]]
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert [part.sample_ids for part in parts] == [[7, 8], [9, 10], [11]]
    assert [part.positions.tolist() for part in parts] == [[40, 41], [42, 43], [44]]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert ["".join(caption.text for caption in part.following) for part in parts] == ["cde", "eab", "abcd"]
    other = replace(batch, following=[Caption("x", "X", 1)])
    assert ["".join(caption.text for caption in part.following) for part in other.split(2)] == ["cdex", "exab", "xabcd"]


def test_descriptors_of_two_batches_of_prompts_join(descriptors):
    one, two = (replace(descriptors([2, 3][:n]), cluster=torch.arange(n)) for n in (2, 1))
    joined = one.followed_by(two)
    assert len(joined) == 3 and joined.cluster.tolist() == [0, 1, 0] and joined.attention_bias is None
    assert torch.equal(joined.local[2], two.local[0]) and torch.equal(joined.source.mask[:2], one.source.mask)
    assert torch.equal(joined.pooled, torch.cat([one.pooled, two.pooled]))


def test_schedules():
    linear, cosine = parse_schedule({"linear": [1, 3, 100]}), parse_schedule({"cosine": [1, 3, 100, 200]})
    assert [linear(images) for images in (0, 50, 100, 10**9)] == [1, 2, 3, 3]
    assert [round(cosine(images), 6) for images in (0, 100, 125, 150, 200, 300)] == [1, 1, 1.292893, 2, 3, 3]
    assert parse_schedule(0.5)(123) == 0.5
    assert parse_schedule({"linear": ["6e-3", "3e-4", "1e5"]}) == Schedule("linear", 0.006, 0.0003, 0, 100_000), "as YAML 1.1 reads them"
    assert parse_schedule(2) == constant(2.0) == Schedule("constant", 2.0, 2.0)
    assert [schedule.extremes() for schedule in (linear, cosine, constant(2.0))] == [(1, 3), (1, 3), (2, 2)]


NO_SCHEDULES = [
    True, "x", None, [1, 2], {}, {"linear": [1, 2]}, {"linear": ["x", 2, 3]}, {"step": [1, 2, 3]},
    {"linear": [1, 2, 3], "cosine": [1, 2, 3]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", NO_SCHEDULES)
def test_other_forms_of_schedules_are_refused(wrong):
    with pytest.raises(ValueError, match=r"needs a number, \{linear"):
        parse_schedule(wrong)


@pytest.mark.parametrize("times", [[0], [5, 5], [9, 3], [-1, 3]])
def test_a_schedule_ends_after_it_begins(times):
    with pytest.raises(ValueError, match="begin at 0 or later, and end after that"):
        parse_schedule({"linear": [1, 2, *times]})
