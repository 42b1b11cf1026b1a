"""Terms with their needs, weights and times to the losses of D and of G."""

import pytest
import torch

from t2igan.augment.base import Augment
from t2igan.augment.diffaugment import DiffAugmentConfig
from t2igan.objective.gradient_penalty import R1Config
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.objective.term import Term, TermOptions
from t2igan.pyramid import build_pyramid
from t2igan.schedule import constant, parse_schedule
from t2igan.types import ImageSet, PrepareContext, TrainingTime

START = TrainingTime(0)


class Constant(Term):
    """A loss of a known value; keeps what it gets."""

    def __init__(self, value: float = 1.0, needs=()):
        super().__init__()
        self.value, self.needs = value, frozenset(needs)

    def discriminator(self, inputs):
        self.inputs = inputs
        return torch.tensor(self.value)

    def generator(self, inputs):
        self.inputs = inputs
        return torch.tensor(-self.value)


def term(value=1.0, weight=1.0, needs=(), **options) -> ScheduledTerm:
    return ScheduledTerm(f"constant {value}", Constant(value, needs), parse_schedule(weight), **options)


@pytest.fixture
def play(make_critic, make_batch, make_fake):
    """play(terms, now, half) -> the Losses of two images of 8 px, at 8 and 4 px."""

    def run(terms, now=START, half="discriminator", critic=None, generated=None):
        generated = torch.randn(2, 3, 8, 8) if generated is None else generated
        batch, fake = make_batch(2, images=torch.randn(2, 3, 8, 8)), make_fake(generated, (8, 4))
        return getattr(Objective(terms, terms), half)(critic or make_critic(), batch, fake, now)

    return run


# ------------------------------------------------------------------------------------------------ weights and times


@pytest.mark.parametrize(("half", "sign"), [("discriminator", 1), ("generator", -1)])
def test_the_total_is_the_weighted_sum_and_parts_are_unweighted(half, sign, play):
    losses = play([term(2.0, weight=3.0), term(5.0, weight=0.5)], half=half)
    assert losses.total.item() == sign * (2 * 3 + 5 * 0.5)
    letter = half[0].upper()
    assert losses.parts[f"{letter}/constant 2.0"].item() == sign * 2
    assert losses.parts[f"{letter}/constant 5.0"].item() == sign * 5


def test_two_terms_of_one_name_both_count(play):
    assert play([term(2.0, weight=3.0), term(2.0, weight=0.5)]).total.item() == 2 * 3 + 2 * 0.5


def test_every_n_th_step_counts_n_fold(play):
    """So the sum over n steps is what it would be without `every`."""
    terms = [term(0.0), term(2.0, weight=0.5, every=4)]
    assert [play(terms, TrainingTime(32 * step, step)).total.item() for step in range(8)] == [4, 0, 0, 0, 4, 0, 0, 0]


def test_a_term_waits_until_after_and_follows_its_schedule(play):
    terms = [term(0.0), term(1.0, weight={"linear": [0, 10, 100, 200]}, after=150)]
    assert [play(terms, TrainingTime(images)).total.item() for images in (0, 149, 150, 175, 500)] == [0, 0, 5, 7.5, 10]


def test_what_is_not_due_is_not_in_the_report(play):
    assert "D/constant 2.0" not in play([term(1.0), term(2.0, every=4)], TrainingTime(0, 1)).parts


def test_headlines_are_the_first_loss_of_d_and_the_first_two_of_g():
    of_d, of_g = ([ScheduledTerm(name, Constant(), constant(1.0)) for name in names] for names in ("ab", "cde"))
    assert Objective(of_d, of_g).headline() == ("D/a", "G/c", "G/d")


# ------------------------------------------------------------------------------------------------ needs


NEEDS = [(), ("mismatched",), ("real_leaves",), ("fake_leaves",), ("real_output",), ("full_precision",)]


@pytest.mark.parametrize("needs", NEEDS)
def test_ds_half_calls_d_once_with_what_is_needed(needs, play, make_critic):
    critic, entry = make_critic(), term(needs=needs)
    play([entry], critic=critic)
    ((sets, twice, _),) = critic.network.calls
    real, fake = sets
    captions = [[0, 1], [1, 0]] if "mismatched" in needs else [[0, 1]]
    for images in (real, fake):
        assert [assignment.tolist() for assignment in images.captions] == captions
        assert [level.shape[-1] for level in images.pyramid.levels] == [8, 4] and len(images) == 2
    assert (real.view, fake.view) == ("real", "fake")
    for images, name in ((real, "real_leaves"), (fake, "fake_leaves")):
        assert all(level.requires_grad == (name in needs) and level.is_leaf for level in images.pyramid.levels)
    assert twice == bool({"real_leaves", "fake_leaves"} & set(needs))
    inputs = entry.term.inputs
    assert all(a is b for a, b in zip(inputs.real.levels, real.pyramid.levels, strict=True))
    assert all(a is b for a, b in zip(inputs.fake_pyramid.levels, fake.pyramid.levels, strict=True))
    assert inputs.real_output is not None and inputs.fake_output is not None
    missing = [inputs.real_mismatched is None, inputs.fake_mismatched is None, inputs.has_mismatch is None]
    assert missing == ["mismatched" not in needs] * 3


@pytest.mark.parametrize("needs", NEEDS)
def test_gs_half_calls_d_with_generated_images_and_only_where_needed_with_real_ones(needs, play, make_critic):
    critic, entry, generated = make_critic(), term(needs=needs), torch.randn(2, 3, 8, 8, requires_grad=True)
    play([entry], half="generator", critic=critic, generated=generated)
    ((sets, twice, _),) = critic.network.calls
    assert [images.view for images in sets] == (["fake", "real"] if "real_output" in needs else ["fake"])
    assert [assignment.tolist() for assignment in sets[0].captions] == ([[0, 1], [1, 0]] if "mismatched" in needs else [[0, 1]])
    assert all(level.requires_grad for level in sets[0].pyramid.levels) and not twice
    assert (entry.term.inputs.real_output is None) == ("real_output" not in needs)
    if "real_output" in needs:
        real = entry.term.inputs.batch.images
        assert [assignment.tolist() for assignment in sets[1].captions] == [[0, 1]]
        assert all(torch.equal(a, b) for a, b in zip(sets[1].pyramid.levels, build_pyramid(real, (8, 4)).levels, strict=True))
        assert torch.allclose(entry.term.inputs.real_output.logits[0][:, 0], real.sum((1, 2, 3)) * 1.25, atol=1e-3)
    assert entry.term.inputs.real is None and entry.term.inputs.real_mismatched is None


@pytest.mark.parametrize("needs", [(), ("full_precision",)])
def test_full_precision_is_d_without_autocast(needs, play, make_critic):
    critic = make_critic()
    with torch.autocast("cpu", torch.bfloat16):
        play([term(needs=needs)], critic=critic)
    assert critic.network.calls[0][2] == (not needs)


def test_what_a_term_that_is_not_due_needs_is_not_made(play, make_critic):
    critic = make_critic()
    terms = [term(1.0), term(2.0, needs=("mismatched", "real_leaves"), every=2)]
    for step in (0, 1):
        play(terms, TrainingTime(0, step), critic=critic)
        play(terms, TrainingTime(0, step), "generator", critic)
    assert [len(sets[0].captions) for sets, *_ in critic.network.calls] == [2, 2, 1, 1]
    assert [twice for _, twice, _ in critic.network.calls] == [True, False, False, False]


def test_the_penalty_sees_reals_only_and_only_when_due(play, make_critic):
    """Linear critic: every pixel's gradient is 1. The finest of an image has 192 values, the coarse 48, weighed by area."""
    penalty = ScheduledTerm("r1", R1Config(gamma=constant(2.0)).build(), constant(1.0), every=2)
    critic = make_critic()
    losses = play([term(0.0), penalty], TrainingTime(0, 0), critic=critic)
    assert losses.parts["D/r1"].item() == pytest.approx(192 + 48 / 4)
    assert losses.total.item() == pytest.approx(2 * (192 + 48 / 4))
    assert "D/r1" not in play([term(0.0), penalty], TrainingTime(0, 1), critic=critic).parts
    assert [sets[0].pyramid.finest.requires_grad for sets, *_ in critic.network.calls] == [True, False]
    assert not any(sets[1].pyramid.finest.requires_grad for sets, *_ in critic.network.calls)


class Shifted(Constant):
    """Adds a set of the real images, brighter, and one of the generated images."""

    def extra_sets(self, batch, real, fake, own):
        self.given = (batch, real, fake, own)
        return {"brighter": ImageSet(real.map(lambda level: level + self.value), (own,), "real"), "again": ImageSet(fake, (own,), "fake")}

    def discriminator(self, inputs):
        self.inputs = inputs
        return (inputs.extra["brighter"].logits[0] - inputs.real_output.logits[0]).mean()


def test_each_term_gets_the_verdicts_on_its_own_extra_sets(play, make_critic):
    """Two terms that name their sets alike do not mix; D is called once with all of them, in D's half alone."""
    terms = [ScheduledTerm(f"shifted.{i}", Shifted(value), constant(1.0)) for i, value in enumerate((1.0, 2.0))]
    terms.append(term(0.0))
    critic = make_critic()
    losses = play(terms, critic=critic)
    pixels = 192 + 48
    assert losses.parts["D/shifted.0"].item() == pytest.approx(pixels, rel=1e-4)
    assert losses.parts["D/shifted.1"].item() == pytest.approx(2 * pixels, rel=1e-4)
    ((sets, *_),) = critic.network.calls
    assert [images.view for images in sets] == ["real", "fake", "real", "fake", "real", "fake"]
    for entry in terms[:2]:
        batch, real, fake, own = entry.term.given
        assert own.tolist() == [0, 1] and real is entry.term.inputs.real and fake is entry.term.inputs.fake_pyramid
        assert batch is entry.term.inputs.batch and set(entry.term.inputs.extra) == {"brighter", "again"}
    assert dict(terms[2].term.inputs.extra) == {}
    play([terms[2]], half="generator", critic=critic)
    assert len(critic.network.calls[1][0]) == 1


# ------------------------------------------------------------------------------------------------ augmentation


class Observing(Augment):
    """No augmentation; keeps what it observes."""

    def __init__(self):
        super().__init__()
        self.observed = []

    def forward(self, pyramid, draws, now):
        return pyramid

    def observe(self, real):
        self.observed.append(real)


def test_the_augmentation_observes_ds_logits_on_real_images_in_ds_half_alone(play, make_critic):
    augment, entry = Observing(), term(needs=("mismatched", "real_output"))
    critic = make_critic(augment=augment)
    play([entry], critic=critic)
    (observed,) = augment.observed
    assert observed is entry.term.inputs.real_output
    play([entry], half="generator", critic=critic)
    assert len(augment.observed) == 1


def test_terms_get_images_before_their_augmentation(play, make_critic):
    critic, entry = make_critic(augment=DiffAugmentConfig().build()), term(needs=("real_leaves",))
    play([entry], critic=critic)
    inputs, ((real, fake), *_) = entry.term.inputs, critic.network.calls[0]
    assert torch.equal(inputs.real.finest, inputs.batch.images) and inputs.real.finest.is_leaf
    assert torch.equal(inputs.fake_pyramid.finest, inputs.fake.pyramid.finest)
    assert not torch.equal(real.pyramid.finest, inputs.real.finest) and not torch.equal(fake.pyramid.finest, inputs.fake_pyramid.finest)


# ------------------------------------------------------------------------------------------------ terms


def test_every_term_is_prepared_with_the_context():
    prepared = []

    class Prepared(Constant):
        def prepare(self, context):
            prepared.append((self, context))

    terms = [ScheduledTerm(name, Prepared(), constant(1.0)) for name in "ab"]
    context = PrepareContext(torch.device("cpu"), list, None)
    Objective(terms[:1], terms[1:]).prepare(context)
    assert prepared == [(entry.term, context) for entry in terms]


class RunningMean(Constant):
    """A term with state."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def generator(self, inputs):
        self.mean.lerp_(inputs.fake.pyramid.finest.mean(), 0.5)
        return self.mean.clone()


def test_buffers_of_terms_are_in_the_objectives_state(play):
    def objective():
        return Objective([term()], [term(2.0), ScheduledTerm("mean", RunningMean(), constant(1.0))])

    trained = objective()
    play([*trained.of_generator], half="generator", generated=torch.full((2, 3, 8, 8), 4.0))
    state = trained.state_dict()
    assert list(state) == ["terms.2.mean"] and state["terms.2.mean"].item() == 2
    resumed = objective()
    resumed.load_state_dict(state)
    assert resumed.of_generator[1].term.mean.item() == 2
    assert play([*resumed.of_generator], half="generator", generated=torch.full((2, 3, 8, 8), 4.0)).parts["G/mean"].item() == 3


@pytest.mark.parametrize(("half", "side"), [("discriminator", "D"), ("generator", "G")])
def test_a_term_without_a_loss_for_a_half_is_refused_there(half, side, play):
    with pytest.raises(TypeError, match=f"Term is no loss of {side}"):
        play([ScheduledTerm("term", Term(), constant(1.0))], half=half)
    with pytest.raises(TypeError, match="TermOptions builds no term"):
        TermOptions().build()
