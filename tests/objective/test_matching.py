"""Images with the caption of another image."""

import math
import random

import pytest
import torch

from t2igan.objective.adversarial import NonSaturating
from t2igan.objective.matching import GeneratorMatchingConfig, Matching, MatchingConfig, mismatched_captions
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.schedule import constant
from t2igan.types import REACH, Batch, TrainingTime, Verdict


@pytest.mark.parametrize("seed", range(20))
def test_no_caption_of_the_same_thing_where_that_can_be_avoided(seed):
    draw = random.Random(seed)
    primary = [draw.choice("abcd"[: 1 + seed % 4]) for _ in range(draw.randint(1, 12))]
    found = mismatched_captions(primary, primary).tolist()
    assert len(found) == len(primary)
    if len(set(primary)) > 1:
        assert all(primary[other] != first for first, other in zip(primary, found, strict=True))
    else:
        assert found == list(range(len(primary)))


def test_it_is_the_nearest_following_one():
    primary = ["a", "a", "b", "c", "a"]
    assert mismatched_captions(primary, primary).tolist() == [2, 2, 3, 4, 2]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_same_one_however_the_step_is_shared(size, seed):
    draw = random.Random(seed)
    primary = [draw.choice("abc") for _ in range(12)]
    captions = [f"{name} {i}" if draw.random() < 0.8 else "" for i, name in enumerate(primary)]
    whole = mismatched_captions(primary, captions).tolist()
    batch, found = Batch(torch.zeros(12, 3, 1, 1), captions, primary, list(range(12)), torch.arange(12)), []
    for part in batch.split(size):
        following = list(part.following)[:REACH]  # as many as another process would know
        rows = mismatched_captions(part.primary_captions, part.captions, following).tolist()
        numbers = [*part.sample_ids, *(caption.sample_id for caption in following)]
        found += [numbers[row] for row in rows]
    assert found == whole and len(set(whole)) > 1


def test_far_captions_are_not_looked_at():
    primary = ["a"] * REACH + ["b"]
    assert mismatched_captions(primary, primary)[:2].tolist() == [REACH, REACH]
    assert mismatched_captions(["a", *primary], ["a", *primary])[0].item() == 0


def test_a_caption_that_is_left_out_is_wrong_for_no_image():
    assert mismatched_captions(["a", "b", "c"], ["a", "", "c"]).tolist() == [2, 2, 0]
    assert mismatched_captions(["a", "b"], ["a", ""]).tolist() == [0, 0]


def test_known_logits(make_inputs, make_verdict):
    log2, log4, log4_3 = math.log(2), math.log(4), math.log(4 / 3)
    inputs = make_inputs(
        2,
        real_mismatched=make_verdict([0.0, math.log(3)]),
        fake_mismatched=make_verdict([0.0, -math.log(3)]),
        has_mismatch=torch.tensor([True, True]),
    )
    assert MatchingConfig(generated=False).build().discriminator(inputs).item() == pytest.approx((log2 + log4) / 2)
    assert MatchingConfig(generated=True).build().discriminator(inputs).item() == pytest.approx((log2 + log4 + log2 + log4_3) / 2)
    assert GeneratorMatchingConfig().build().generator(inputs).item() == pytest.approx((log2 + log4) / 2)


@pytest.mark.parametrize("half", ["discriminator", "generator"])
def test_images_without_another_caption_do_not_count(half, make_inputs, make_verdict):
    """Neither in the value nor in its gradient, and the mean is over those that count."""
    real, fake = (torch.tensor([[1.0], [2.0], [5.0]], requires_grad=True) for _ in range(2))
    of = {"real_mismatched": Verdict((real,), (1.0,)), "fake_mismatched": Verdict((fake,), (1.0,))}
    loss = getattr(Matching(), half)(make_inputs(3, **of, has_mismatch=torch.tensor([True, False, True])))
    counted = {name: Verdict((verdict.logits[0][[0, 2]],), (1.0,)) for name, verdict in of.items()}
    expected = getattr(Matching(), half)(make_inputs(2, **counted, has_mismatch=torch.tensor([True, True])))
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert (fake.grad.flatten() != 0).tolist() == [True, False, True]
    assert half == "generator" or (real.grad.flatten() != 0).tolist() == [True, False, True]


@pytest.mark.parametrize("half", ["discriminator", "generator"])
def test_a_micro_batch_of_one_thing_costs_nothing(half, make_critic, make_batch, make_fake):
    """Neither a loss nor a gradient, and no NaN in either."""
    generated = torch.randn(3, 3, 8, 8, requires_grad=True)
    terms = [ScheduledTerm("matching", Matching(), constant(1.0))]
    batch = make_batch(3, images=torch.randn(3, 3, 8, 8), primary_captions=["a"] * 3)
    losses = getattr(Objective(terms, terms), half)(make_critic(), batch, make_fake(generated, (8, 4)), TrainingTime(0))
    assert losses.total.item() == 0
    losses.total.backward()
    assert torch.equal(generated.grad, torch.zeros_like(generated))
    assert half == "generator" or losses.parts["D/caption_sensitivity"].item() == 0


class Watch(Matching):
    """Keeps what it gets."""

    def discriminator(self, inputs):
        self.inputs = inputs
        return super().discriminator(inputs)

    def generator(self, inputs):
        self.inputs = inputs
        return super().generator(inputs)


def by_number(pyramid, descriptor):
    """An image's own number (its red mean) times ten plus the number of the prompt it is scored against."""
    return 10 * pyramid.finest[:, 0].mean((1, 2)) + descriptor[:, 0]


def numbered(first, n):
    return torch.arange(first, first + n).float()[:, None, None, None].expand(n, 3, 4, 4)


@pytest.mark.parametrize("half", ["discriminator", "generator"])
def test_wrong_captions_are_those_of_other_things(half, descriptors, make_critic, make_batch, make_fake):
    """Images 1 to 3 are real, 4 to 6 generated; prompts are numbered 0 to 2; the first two images show the same thing."""
    text, watch = descriptors([2, 2, 2]), Watch()
    text.pooled[:, 0] = torch.arange(3)
    batch = make_batch(3, images=numbered(1, 3), captions=list("abc"), primary_captions=["cat", "cat", "dog"], text=text)
    terms = [ScheduledTerm("matching", watch, constant(1.0)), ScheduledTerm("nonsaturating", NonSaturating(), constant(1.0))]
    critic, fake = make_critic(by_number, levels=(4,)), make_fake(numbered(4, 3))
    losses = getattr(Objective(terms, terms), half)(critic, batch, fake, TrainingTime(0))
    inputs = watch.inputs
    assert inputs.has_mismatch.tolist() == [True] * 3
    assert inputs.fake_output.logits[0].flatten().tolist() == [40, 51, 62]
    assert inputs.fake_mismatched.logits[0].flatten().tolist() == [42, 52, 60]
    if half == "generator":
        assert inputs.real_output is None and inputs.real_mismatched is None
        return
    assert inputs.real_output.logits[0].flatten().tolist() == [10, 21, 32]
    assert inputs.real_mismatched.logits[0].flatten().tolist() == [12, 22, 30]
    assert losses.parts["D/caption_sensitivity"].item() == pytest.approx((2 + 1 + 2) / 3)
    assert losses.parts["D/logit_real"].item() == pytest.approx((10 + 21 + 32) / 3)
    assert losses.parts["D/logit_fake"].item() == pytest.approx((40 + 51 + 62) / 3)


def test_the_caption_sensitivity_is_that_of_images_with_another_caption(descriptors, make_critic, make_batch, make_fake):
    """The first image has the only caption of the micro-batch: the others can be held against it, it against nothing."""
    text = descriptors([2, 2, 2])
    text.pooled[:, 0] = torch.tensor([0.0, 4.0, 9.0])
    batch = make_batch(3, images=numbered(1, 3), captions=["a", "", ""], primary_captions=["cat", "dog", "bus"], text=text)
    terms = [ScheduledTerm("matching", Matching(), constant(1.0))]
    losses = Objective(terms, []).discriminator(make_critic(by_number, levels=(4,)), batch, make_fake(numbered(4, 3)), TrainingTime(0))
    assert losses.parts["D/caption_sensitivity"].item() == pytest.approx((4 + 9) / 2), "the first image has no other caption"
