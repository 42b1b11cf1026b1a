"""R1 at a critic whose gradient is known, and against finite differences."""

import pytest
import torch
from einops import rearrange

from t2igan.discriminator.gigagan import GigaGANDiscriminator, GigaGANDiscriminatorConfig
from t2igan.layers.attention import L2SelfAttention, twice_differentiable
from t2igan.objective.gradient_penalty import R1, FiniteR1, FiniteR1Config, R1Config
from t2igan.objective.objective import nudge
from t2igan.types import ImagePyramid, Verdict


def leaves(pictures, sides, dtype=torch.float32) -> ImagePyramid:
    return ImagePyramid(tuple(torch.randn(pictures, 3, side, side, dtype=dtype).requires_grad_() for side in sides))


def linear(pyramid, weights, gains=(1.0,)) -> Verdict:
    """Each head is `gain` times the sum over levels of <weight, picture>."""
    score = sum((level * weight).sum((1, 2, 3)) for level, weight in zip(pyramid.levels, weights, strict=True))[:, None]
    return Verdict(tuple(gain * score for gain in gains), tuple(1.0 + i for i in range(len(gains))))


def test_r1_of_a_linear_critic_is_its_squared_weight_norm(make_round):
    pyramid, weight = leaves(3, (8,)), torch.randn(3, 8, 8)
    penalty = R1(R1Config(gamma=1.7)).discriminator(make_round(3, real=pyramid, real_verdict=linear(pyramid, [weight])))
    assert penalty.item() == pytest.approx(1.7 / 2 * weight.square().sum().item(), rel=1e-5)


def test_levels_enter_by_their_area(make_round):
    """StyleGAN's rule of gamma ~ r^2, with every level a leaf of its own."""
    pyramid, weights = leaves(3, (16, 8, 4)), [torch.randn(3, side, side) for side in (16, 8, 4)]
    penalty = R1(R1Config(gamma=2.0)).discriminator(make_round(3, real=pyramid, real_verdict=linear(pyramid, weights)))
    expected = sum(share * weight.square().sum().item() for share, weight in zip((1, 1 / 4, 1 / 16), weights, strict=True))
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_heads_enter_with_the_weights_they_have_in_the_loss(make_round):
    pyramid, weight = leaves(3, (8,)), torch.randn(3, 8, 8)
    round = make_round(3, real=pyramid, real_verdict=linear(pyramid, [weight], gains=(5.0, -1.0)))  # heads weigh 1 and 2
    assert R1(R1Config(gamma=2.0)).discriminator(round).item() == pytest.approx(weight.square().sum().item(), rel=1e-5)


def test_it_is_a_mean_over_pictures(make_round):
    pyramid = leaves(2, (4,))
    score = (pyramid.finest * torch.tensor([1.0, 3.0])[:, None, None, None]).sum((1, 2, 3))[:, None]
    round = make_round(2, real=pyramid, real_verdict=Verdict((score,), (1.0,)))
    assert torch.allclose(R1.squared_norm(round), torch.tensor([48.0, 9 * 48.0]))
    assert R1(R1Config(gamma=1.0)).discriminator(round).item() == pytest.approx((48 + 9 * 48) / 4)


def test_heads_on_frozen_networks_are_not_penalised(make_round):
    pyramid, weight = leaves(3, (8,)), torch.randn(3, 8, 8)
    own = linear(pyramid, [weight])
    both = own.joined([100 * pyramid.finest.square().flatten(1)], weight=1.0)
    penalties = [R1(R1Config()).discriminator(make_round(3, real=pyramid, real_verdict=verdict)).item() for verdict in (own, both)]
    assert penalties[0] == pytest.approx(penalties[1]) == pytest.approx(weight.square().sum().item() / 2, rel=1e-5)


@pytest.mark.parametrize("sides", [(8,), (16, 8, 4)])
def test_finite_difference_r1_has_r1_as_its_mean(sides, make_round):
    """Exact for a linear critic, but for chance: a draw's value is R1 times the square of a unit normal."""
    draws = 4000
    weights = [torch.randn(3, side, side, dtype=torch.float64) for side in sides]
    real = ImagePyramid(tuple(torch.randn(1, 3, side, side, dtype=torch.float64).expand(draws, -1, -1, -1) for side in sides))
    noise = ImagePyramid(tuple(torch.randn(draws, 3, side, side, dtype=torch.float64) for side in sides))
    exact = sum((side / sides[0]) ** 2 * weight.square().sum().item() for side, weight in zip(sides, weights, strict=True))
    term = FiniteR1(FiniteR1Config(gamma=2.0, step=0.01))

    def asked(pyramid):
        score = sum((level * weight).sum((1, 2, 3)) for level, weight in zip(pyramid.levels, weights, strict=True))[:, None]
        return Verdict(((score - score.mean()).float(),), (1.0,))  # what is the same in both is taken off before float32

    offset = asked(ImagePyramid(tuple(torch.cat([a, b]) for a, b in zip(real.levels, nudge(real, noise, 0.01).levels, strict=True))))
    here, there = (Verdict((half,), (1.0,)) for half in offset.logits[0].chunk(2))
    got = term.discriminator(make_round(draws, real_verdict=here, nudged_verdict=there, step=0.01)).item()
    assert got == pytest.approx(exact, rel=4 * (2 / draws) ** 0.5)


def test_finite_differences_of_a_curved_critic_near_r1(critic, make_round, descriptors):
    """On GigaGAN's D with a small step: the mean over draws within its error of the exact penalty."""
    pyramid, text = leaves(1, (8, 4), torch.float64), descriptors([2], dtype=torch.float64)
    exact = R1.squared_norm(make_round(1, real=pyramid, real_verdict=critic(pyramid, text)[0])).item()
    draws, step = 2000, 1e-3
    real = ImagePyramid(tuple(level.detach().expand(draws, -1, -1, -1) for level in pyramid.levels))
    noise = ImagePyramid(tuple(torch.randn(draws, 3, side, side, dtype=torch.float64) for side in (8, 4)))
    with torch.no_grad():
        scores = [score_in_double(critic, shown, text.repeat(draws)) for shown in (real, nudge(real, noise, step))]
    squares = ((scores[1] - scores[0]) / step).square()
    assert abs(squares.mean().item() - exact) < 4 * squares.std().item() / draws**0.5


@pytest.fixture
def critic(randomised):
    config = GigaGANDiscriminatorConfig(
        channels=(8, 8), blocks=(1, 1), self_attention=(0, 1), inputs=(8, 4), outputs=(4, 1), input_weights=(0.6, 0.4),
        output_weights=(0.3, 1.0), head_depth=1, head_dim=4,
    )  # fmt: skip
    torch.manual_seed(2)
    return randomised(GigaGANDiscriminator(config, None, 10)).double()


def score_in_double(D, pyramid, text):
    """The verdict's mean without its last step to single precision, which finite differences would feel."""
    maps = D.features(pyramid)
    logits = [logit for side, x in maps.items() for logit in D._read(side, x, text.pooled)]
    return sum(weight * logit.mean(1) for weight, logit in zip(D.weights, logits, strict=True)) / sum(D.weights)


def test_r1_equals_finite_differences_of_the_pictures(critic, make_round, descriptors):
    pyramid, text = leaves(1, (8, 4), torch.float64), descriptors([2], dtype=torch.float64)
    got = R1.squared_norm(make_round(1, real=pyramid, real_verdict=critic(pyramid, text)[0]))
    expected = 0.0
    for number, share in ((0, 1.0), (1, 0.25)):
        level = pyramid.levels[number].detach()
        steps = 1e-6 * torch.eye(level.numel(), dtype=torch.float64).view(-1, *level.shape[1:])
        scores = []
        for sign in (1, -1):
            moved = [other.detach().expand(len(steps), -1, -1, -1) for other in pyramid.levels]
            moved[number] = level + sign * steps
            scores.append(score_in_double(critic, ImagePyramid(tuple(moved)), text.repeat(len(steps))))
        expected += share * ((scores[0] - scores[1]) / 2e-6).square().sum().item()
    assert expected > 1e-3
    assert got.item() == pytest.approx(expected, rel=1e-4)


def test_the_penaltys_own_gradient_equals_finite_differences_of_the_weights(critic, make_round, descriptors):
    """The second derivative, through attention, modulation and demodulation."""
    pyramid, text = leaves(2, (8, 4), torch.float64), descriptors([2, 2], dtype=torch.float64)

    def penalty():
        gradients = torch.autograd.grad(score_in_double(critic, pyramid, text).sum(), pyramid.levels, create_graph=True)
        return sum(g.square().sum((1, 2, 3)) * (g.shape[-1] / 8) ** 2 for g in gradients).mean() / 2

    round = make_round(2, real=pyramid, real_verdict=critic(pyramid, text)[0])
    R1(R1Config(gamma=1.0)).discriminator(round).backward()
    parameters = [p for p in critic.parameters() if p.grad is not None]
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
        with twice_differentiable():
            y = network(x)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum() / 2, list(layer.parameters())))
    for ours, explicit in zip(*found, strict=True):
        assert (ours - explicit).abs().max() < 1e-8 * explicit.abs().max() and explicit.abs().max() > 1e-3
