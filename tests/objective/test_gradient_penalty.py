"""R1 at a critic whose gradient is known, against finite differences, and through an augmentation."""

import pytest
import torch
from einops import rearrange

from t2igan.augment.diffaugment import DiffAugmentConfig
from t2igan.discriminator.critic import Critic
from t2igan.discriminator.gigagan import GigaGANDiscriminatorConfig
from t2igan.draws import Draws
from t2igan.layers.attention import L2SelfAttention
from t2igan.objective.gradient_penalty import FiniteDifferenceR1Config, R1Config, perturb, squared_gradient_norm
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.objective.term import Term
from t2igan.pyramid import build_pyramid, concatenate
from t2igan.schedule import constant, parse_schedule
from t2igan.types import ImagePyramid, ImageSet, TextDims, TrainingTime, Verdict


def leaves(images, sides, dtype=torch.float32) -> ImagePyramid:
    return ImagePyramid(tuple(torch.randn(images, 3, side, side, dtype=dtype).requires_grad_() for side in sides))


def r1(gamma: float) -> Term:
    return R1Config(gamma=constant(gamma)).build()


def score(D, pyramid, text, **options) -> Verdict:
    """D's verdict on images with their own captions."""
    ((verdict,),) = D([ImageSet(pyramid, (torch.arange(len(pyramid)),))], text, **options)
    return verdict


def linear(pyramid, weights, gains=(1.0,)) -> Verdict:
    """Each head is `gain` times the sum over levels of <weight, image>."""
    score = sum((level * weight).sum((1, 2, 3)) for level, weight in zip(pyramid.levels, weights, strict=True))[:, None]
    return Verdict(tuple(gain * score for gain in gains), tuple(1.0 + i for i in range(len(gains))))


def test_r1_of_a_linear_critic_is_its_squared_weight_norm(make_inputs):
    pyramid, weight = leaves(3, (8,)), torch.randn(3, 8, 8)
    penalty = r1(1.7).discriminator(make_inputs(3, real=pyramid, real_output=linear(pyramid, [weight])))
    assert penalty.item() == pytest.approx(1.7 / 2 * weight.square().sum().item(), rel=1e-5)


def test_levels_enter_by_their_area(make_inputs):
    """StyleGAN's rule of gamma ~ r^2, with every level a leaf of its own."""
    pyramid, weights = leaves(3, (16, 8, 4)), [torch.randn(3, side, side) for side in (16, 8, 4)]
    penalty = r1(2.0).discriminator(make_inputs(3, real=pyramid, real_output=linear(pyramid, weights)))
    expected = sum(share * weight.square().sum().item() for share, weight in zip((1, 1 / 4, 1 / 16), weights, strict=True))
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_heads_enter_with_the_weights_they_have_in_the_loss(make_inputs):
    pyramid, weight = leaves(3, (8,)), torch.randn(3, 8, 8)
    inputs = make_inputs(3, real=pyramid, real_output=linear(pyramid, [weight], gains=(5.0, -1.0)))  # heads weigh 1 and 2
    assert r1(2.0).discriminator(inputs).item() == pytest.approx(weight.square().sum().item(), rel=1e-5)


def test_it_is_a_mean_over_images(make_inputs):
    pyramid = leaves(2, (4,))
    score = (pyramid.finest * torch.tensor([1.0, 3.0])[:, None, None, None]).sum((1, 2, 3))[:, None]
    verdict = Verdict((score,), (1.0,))
    assert torch.allclose(squared_gradient_norm(verdict, pyramid), torch.tensor([48.0, 9 * 48.0]))
    assert r1(1.0).discriminator(make_inputs(2, real=pyramid, real_output=verdict)).item() == pytest.approx((48 + 9 * 48) / 4)


def test_heads_on_frozen_networks_are_not_penalised(make_inputs):
    pyramid, weight = leaves(3, (8,)), torch.randn(3, 8, 8)
    primary = linear(pyramid, [weight])
    both = primary.with_heads([100 * pyramid.finest.square().flatten(1)], weight=1.0)
    penalties = [r1(1.0).discriminator(make_inputs(3, real=pyramid, real_output=verdict)).item() for verdict in (primary, both)]
    assert penalties[0] == pytest.approx(penalties[1]) == pytest.approx(weight.square().sum().item() / 2, rel=1e-5)


@pytest.mark.parametrize("sides", [(8,), (16, 8, 4)])
def test_finite_difference_r1_has_r1_as_its_mean(sides, make_inputs):
    """Exact for a linear critic, but for chance: a draw's value is R1 times the square of a unit normal."""
    draws = 4000
    weights = [torch.randn(3, side, side, dtype=torch.float64) for side in sides]
    real = ImagePyramid(tuple(torch.randn(1, 3, side, side, dtype=torch.float64).expand(draws, -1, -1, -1) for side in sides))
    noise = ImagePyramid(tuple(torch.randn(draws, 3, side, side, dtype=torch.float64) for side in sides))
    exact = sum((side / sides[0]) ** 2 * weight.square().sum().item() for side, weight in zip(sides, weights, strict=True))
    term = FiniteDifferenceR1Config(gamma=constant(2.0), sigma=0.01).build()

    def critic(pyramid):
        score = sum((level * weight).sum((1, 2, 3)) for level, weight in zip(pyramid.levels, weights, strict=True))[:, None]
        return Verdict(((score - score.mean()).float(),), (1.0,))  # what is the same in both is taken off before float32

    both = critic(concatenate(real, perturb(real, noise, 0.01)))
    here, there = (Verdict((half,), (1.0,)) for half in both.logits[0].chunk(2))
    got = term.discriminator(make_inputs(draws, real_output=here, extra={"perturbed": there})).item()
    assert got == pytest.approx(exact, rel=4 * (2 / draws) ** 0.5)


def test_finite_differences_of_a_curved_critic_near_r1(D, descriptors):
    """On GigaGAN's D with a small sigma: the mean over draws within its error of the exact penalty."""
    pyramid, text = leaves(1, (8, 4), torch.float64), descriptors([2], dtype=torch.float64)
    exact = squared_gradient_norm(score(D, pyramid, text, twice_differentiable=True), pyramid).item()
    draws, sigma = 2000, 1e-3
    real = ImagePyramid(tuple(level.detach().expand(draws, -1, -1, -1) for level in pyramid.levels))
    noise = ImagePyramid(tuple(torch.randn(draws, 3, side, side, dtype=torch.float64) for side in (8, 4)))
    with torch.no_grad():
        scores = [score_in_double(D, images, text.repeat(draws)) for images in (real, perturb(real, noise, sigma))]
    squares = ((scores[1] - scores[0]) / sigma).square()
    assert abs(squares.mean().item() - exact) < 4 * squares.std().item() / draws**0.5


def small_discriminator(**options):
    config = GigaGANDiscriminatorConfig(
        channels=(8, 8),
        blocks=(1, 1),
        self_attention=(0, 1),
        inputs=(8, 4),
        outputs=(4, 1),
        input_weights=(0.6, 0.4),
        output_weights=(0.3, 1.0),
        head_depth=1,
        head_dim=4,
        **options,
    )
    torch.manual_seed(2)
    return config.build(8, None, TextDims(token=12, pooled=10))


@pytest.fixture
def D(randomised):
    return randomised(small_discriminator()).double()


def score_in_double(D, pyramid, text):
    """The verdict's mean without its last step to single precision, which finite differences would feel."""
    maps = D.features(pyramid)
    streams = {side: len(x) // len(pyramid) for side, x in maps.items()}
    logits = [y for side, x in maps.items() for y in D.heads[str(side)](x, text.pooled.repeat(streams[side], 1)).chunk(streams[side])]
    return sum(weight * logit.mean(1) for weight, logit in zip(D.weights, logits, strict=True)) / sum(D.weights)


def test_r1_equals_finite_differences_of_the_images(D, descriptors):
    pyramid, text = leaves(1, (8, 4), torch.float64), descriptors([2], dtype=torch.float64)
    got = squared_gradient_norm(score(D, pyramid, text), pyramid)
    expected = 0.0
    for number, share in ((0, 1.0), (1, 0.25)):
        level = pyramid.levels[number].detach()
        steps = 1e-6 * torch.eye(level.numel(), dtype=torch.float64).view(-1, *level.shape[1:])
        scores = []
        for sign in (1, -1):
            moved = [other.detach().expand(len(steps), -1, -1, -1) for other in pyramid.levels]
            moved[number] = level + sign * steps
            scores.append(score_in_double(D, ImagePyramid(tuple(moved)), text.repeat(len(steps))))
        expected += share * ((scores[0] - scores[1]) / 2e-6).square().sum().item()
    assert expected > 1e-3
    assert got.item() == pytest.approx(expected, rel=1e-4)


def test_the_penaltys_own_gradient_equals_finite_differences_of_the_weights(D, make_inputs, descriptors):
    """The second derivative, through attention, modulation and demodulation."""
    pyramid, text = leaves(2, (8, 4), torch.float64), descriptors([2, 2], dtype=torch.float64)

    def penalty():
        gradients = torch.autograd.grad(score_in_double(D, pyramid, text).sum(), pyramid.levels, create_graph=True)
        return sum(g.square().sum((1, 2, 3)) * (g.shape[-1] / 8) ** 2 for g in gradients).mean() / 2

    r1(1.0).discriminator(make_inputs(2, real=pyramid, real_output=score(D, pyramid, text))).backward()
    parameters = [p for p in D.parameters() if p.grad is not None]
    directions = [torch.randn_like(p) for p in parameters]
    slope = sum((p.grad * d).sum() for p, d in zip(parameters, directions, strict=True)).item()
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=sign * 1e-6)
        values.append(penalty().item())
    assert abs(slope) > 1e-2
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-3)


@pytest.mark.parametrize("backend", ["math", "auto", "sdpa"])
def test_second_derivatives_through_attention_equal_explicit_distances(backend):
    """R1's gradient with respect to D's attention weights, in float64, against the same network with distances written out."""
    layer = L2SelfAttention(8, 4, backend=backend).double()
    torch.nn.init.normal_(layer.to_out.weight)
    start = torch.randn(2, 6, 8, dtype=torch.float64)

    def by_distances(x):
        k, v = (rearrange(f(x), "b t (h d) -> b h t d", d=4) for f in (layer.to_qk, layer.to_v))
        weights = (-layer.tau * (k[:, :, :, None] - k[:, :, None]).square().sum(-1)).softmax(-1)
        return layer.to_out(rearrange(weights @ v, "b h t d -> b t (h d)"))

    found = []
    for network in (layer, by_distances):
        x = start.clone().requires_grad_()
        y = network(x, twice_differentiable=True) if network is layer else network(x)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum() / 2, list(layer.parameters())))
    for ours, explicit in zip(*found, strict=True):
        assert (ours - explicit).abs().max() < 1e-8 * explicit.abs().max() and explicit.abs().max() > 1e-3


def test_gamma_follows_its_schedule(make_inputs):
    pyramid, weight = leaves(3, (8,)), torch.randn(3, 8, 8)
    term = R1Config(gamma=parse_schedule({"linear": [0, 2, 100]})).build()
    values = []
    for images in (0, 50, 500):
        inputs = make_inputs(3, real=pyramid, real_output=linear(pyramid, [weight]), now=TrainingTime(images))
        values.append(term.discriminator(inputs).item())
    assert values == pytest.approx([0, weight.square().sum().item() / 2, weight.square().sum().item()], rel=1e-5)


# ------------------------------------------------------------------------------------------------ through an augmentation


AUGMENT = DiffAugmentConfig(probability=constant(0.8))
SIDES, NOW = (8, 4), TrainingTime(0)


def penalised(term, critic, batch, fake):
    """The value that Objective reports of one term, and the total."""
    losses = Objective([ScheduledTerm("penalty", term, constant(1.0))], []).discriminator(critic, batch, fake, NOW)
    return losses.parts["D/penalty"].item(), losses.total


def test_r1_at_the_unaugmented_image_equals_its_gradient_pixel_by_pixel(make_critic, make_batch, make_fake):
    """Each transform is affine, so one pixel's derivative is what the score gains when that pixel gains 1."""
    weights = [torch.randn(3, side, side) for side in SIDES]

    def weighted(pyramid, _):
        return sum((x * w).sum((1, 2, 3)) for x, w in zip(pyramid.levels, weights, strict=True))

    batch = make_batch(4, images=torch.rand(4, 3, 8, 8), seed=5)
    got, _ = penalised(r1(2.0), make_critic(weighted, SIDES, AUGMENT.build()), batch, make_fake(torch.zeros(4, 3, 8, 8), SIDES))
    expected, augment, real = 0.0, AUGMENT.build(), build_pyramid(batch.images, SIDES)
    for i in range(4):
        for number, share in ((0, 1.0), (1, 0.25)):
            pixels = real.levels[number][0].numel()
            levels = [level[i : i + 1].expand(pixels + 1, -1, -1, -1).clone() for level in real.levels]
            levels[number][1:].view(pixels, pixels).diagonal().add_(1)
            numbers = Draws(5, torch.full((pixels + 1,), i), "D/").scoped("view of real")
            scores = weighted(augment(ImagePyramid(tuple(levels)), numbers, NOW), None)
            expected += share * (scores[1:] - scores[0]).square().sum().item() / 4
    unaugmented = sum(share * w.square().sum().item() for share, w in zip((1.0, 0.25), weights, strict=True))
    assert got == pytest.approx(expected, rel=1e-3)
    assert abs(expected / unaugmented - 1) > 0.1, "the augmentation must matter"


@pytest.mark.parametrize("backend", ["auto", "sdpa"])
def test_r1_of_gigagans_discriminator_and_its_gradient_equal_an_explicit_computation(
    backend, make_batch, make_fake, descriptors, randomised
):
    """Beside generated images, with minibatch statistics and attention: the penalty is that of the real images alone."""
    text, images = descriptors([2, 3, 4, 6]), torch.rand(4, 3, 8, 8) * 2 - 1
    D = randomised(small_discriminator(minibatch_std=2, backend=backend))
    batch = make_batch(4, images=images, text=text, seed=5)
    got, total = penalised(r1(1.0), Critic(D, AUGMENT.build(), SIDES), batch, make_fake(torch.rand(4, 3, 8, 8), SIDES))
    gradients = torch.autograd.grad(total, list(D.parameters()), allow_unused=True)

    real = build_pyramid(images, SIDES).leaves()
    augmented = AUGMENT.build()(real, batch.draws.scoped("view of real"), NOW)
    explicit = randomised(small_discriminator(minibatch_std=2, backend="math"))
    explicit.load_state_dict(D.state_dict())
    penalty = squared_gradient_norm(score(explicit, augmented, text, twice_differentiable=True), real).mean() / 2
    assert got == pytest.approx(penalty.item(), rel=1e-4)
    expected = torch.autograd.grad(penalty, list(explicit.parameters()), allow_unused=True)
    assert sum(g is not None and bool(g.any()) for g in expected) > 20
    for ours, wanted in zip(gradients, expected, strict=True):
        assert (ours is None) == (wanted is None)
        assert ours is None or (ours - wanted).abs().max() <= 1e-3 * wanted.abs().max()


def test_a_finite_difference_compares_two_images_under_one_transform(make_critic, make_batch, make_fake):
    """The noise is a function of the draws, a sample's at each level; what D gets differs by it alone."""

    def curved(pyramid, _):
        return sum((x.sin() * 3).sum((1, 2, 3)) for x in pyramid.levels)

    images, sigma = torch.rand(3, 3, 8, 8), 0.1
    term, critic = FiniteDifferenceR1Config(gamma=constant(2.0), sigma=sigma).build(), make_critic(curved, SIDES, AUGMENT.build())
    batch, fake = make_batch(3, images=images, seed=5), make_fake(torch.zeros(3, 3, 8, 8), SIDES)
    got, _ = penalised(term, critic, batch, fake)
    real, augment, view = build_pyramid(images, SIDES), AUGMENT.build(), batch.draws.scoped("view of real")
    noise = [batch.draws.normal(f"perturbation {side}", 3, side, side) for side in SIDES]
    moved = ImagePyramid(tuple(x + sigma * x.shape[-1] / 8 * n for x, n in zip(real.levels, noise, strict=True)))
    scores = [curved(augment(pyramid, view, NOW), None) for pyramid in (moved, real)]
    assert got == pytest.approx(((scores[0] - scores[1]) / sigma).square().mean().item(), rel=1e-4)
    assert penalised(term, critic, batch, fake)[0] == got, "a function of the draws"
    assert penalised(term, critic, make_batch(3, images=images, seed=6), fake)[0] != got
    (calls, *_) = critic.network.calls
    assert len(calls[0]) == 3 and calls[1] is False, "reals, fakes, perturbed ones; nothing is differentiated twice"
