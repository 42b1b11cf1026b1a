"""ProGAN as a system: published sizes, growth from one side to the next, its losses against hand values, labels and texts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import growing_recipe, override, run_of, take_steps, tiny_recipe

from t2igan.commands.show import describe
from t2igan.discriminator.progan import ProGANDiscriminatorConfig
from t2igan.errors import UserError
from t2igan.layers.fir import binomial
from t2igan.objective.wasserstein import ClassificationConfig, GradientPenaltyConfig, LeastSquaresConfig, WassersteinConfig
from t2igan.recipe import load_recipe
from t2igan.style.progan import ProGANLatentConfig
from t2igan.synthesis.progan import ProGANSynthesisConfig, normalised
from t2igan.system import build_system, check_recipe
from t2igan.types import ImagePyramid, ImageSet, Stage, TextDims, Verdict

pytest_plugins = ["kit"]
WIDTHS = (6, 5, 4)


def widths(resolution: int) -> list[int]:
    """The paper's rule, Table 2: 8192 / 2^stage, at most 512, from 4 px up."""
    return [min(8192 // 2**stage, 512) for stage in range(1, resolution.bit_length() - 1)]


@pytest.mark.parametrize(("name", "resolution"), [("progan_celebahq_1024", 1024), ("progan_256", 256), ("progan_64", 64)])
def test_parameter_counts_follow_from_the_papers_table(name, resolution, root):
    c = widths(resolution)
    generator = 512 * 16 * c[0] + c[0] + 9 * c[0] ** 2 + c[0]
    generator += sum(9 * a * b + b + 9 * b * b + b for a, b in zip(c, c[1:], strict=False)) + sum(3 * width + 3 for width in c)
    discriminator = sum(3 * width + width for width in c) + sum(9 * b * b + b + 9 * b * a + a for a, b in zip(c, c[1:], strict=False))
    discriminator += 9 * (c[0] + 1) * c[0] + c[0] + 16 * c[0] * c[0] + c[0] + c[0] + 1
    recipe = load_recipe(root / "configs" / f"{name}.yaml")
    assert list(recipe.generator.synthesis.channels) == c
    parts = describe(recipe)["parts"]
    assert (parts["generator"]["params"], parts["discriminator"]["params"]) == (generator, discriminator)
    if resolution == 1024:
        assert (generator, discriminator) == (23_079_115, 23_087_249)


def synthesis(randomised, **options):
    return randomised(ProGANSynthesisConfig(channels=WIDTHS, **options).build(16, 7, 0))


def test_the_latent_is_on_the_hypersphere_with_its_label(descriptors):
    style, text = ProGANLatentConfig(z_dim=5).build(10), descriptors([2, 3])
    z = torch.randn(2, 5)
    w = style.map(z, text)
    joined = torch.cat([z, text.pooled], 1)
    assert style.style_dim == 15 and not list(style.parameters())
    assert torch.allclose(w, joined * joined.square().mean(1, keepdim=True).rsqrt(), atol=1e-5)


# ---------------------------------------------------------------------------------------------------- growth


def test_fade_0_is_the_smaller_generator_and_fade_1_the_larger_one(randomised):
    network, styles = synthesis(randomised), torch.randn(2, 1, 7)
    small, large = (network(styles, [], stage=Stage(side)).finest for side in (8, 16))
    faded = {fade: network(styles, [], stage=Stage(16, fade)) for fade in (0.0, 0.25, 1.0)}
    enlarged = F.interpolate(small, scale_factor=2)
    assert small.shape[-1] == 8 and faded[0.0].finest.shape[-1] == 16
    assert torch.allclose(faded[0.0].finest, enlarged, atol=1e-6) and faded[1.0].finest.equal(large)
    assert torch.allclose(faded[0.25].finest, 0.75 * enlarged + 0.25 * large, atol=1e-5) and faded[0.25].fade == 0.25
    assert network(styles, []).finest.equal(large), "without a stage it is grown"
    assert network(styles, [], stage=Stage(4)).finest.shape == (2, 3, 4, 4)


def test_a_filter_makes_enlarged_maps_bilinear(randomised):
    side, x = synthesis(randomised, upsampling="bilinear").sides[0], torch.randn(2, 6, 4, 4)
    up = binomial(F.conv2d(F.interpolate(x, scale_factor=2), side.up.weight * side.up.gain, padding=1), 3, padding=1) + side.bias
    assert torch.allclose(side(x), normalised(side.conv(normalised(up))), atol=1e-5) and side.up.bias is None


def discriminator(randomised, text_dim=0, **options):
    return randomised(ProGANDiscriminatorConfig(channels=WIDTHS, minibatch_std=2, **options).build(16, None, TextDims(text_dim, text_dim)))


def test_fade_0_is_the_smaller_discriminator_and_fade_1_the_larger_one(randomised):
    D, images = discriminator(randomised), torch.randn(2, 3, 16, 16)
    small, large = D.features(ImagePyramid((F.avg_pool2d(images, 2),))), D.features(ImagePyramid((images,)))
    assert torch.allclose(D.features(ImagePyramid((images,), 0.0)), small, atol=1e-5)
    assert D.features(ImagePyramid((images,), 1.0)).equal(large) and not torch.allclose(small, large, atol=1e-3)
    assert torch.isfinite(D.features(ImagePyramid((F.avg_pool2d(images, 4),)))).all(), "4 px"


def test_sets_of_one_stage_are_scored_together(randomised, descriptors):
    D, text = discriminator(randomised, 10), descriptors([2, 2])
    a, b = (ImageSet(ImagePyramid((torch.randn(2, 3, 8, 8),), 0.5), (torch.arange(2),)) for _ in range(2))
    together, alone = D([a, b], text), D([b], text)
    assert torch.allclose(together[1][0].logits[0], alone[0][0].logits[0], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------- conditions


def test_a_text_enters_by_projection_and_a_label_by_a_classifier(randomised, descriptors):
    text, images = descriptors([2, 3]), ImageSet(ImagePyramid((torch.randn(2, 3, 16, 16),)), (torch.arange(2), torch.tensor([1, 0])))
    D = discriminator(randomised, 10)
    ((own, other),) = D([images], text)
    features, embedded = D.features(images.pyramid), D.embed(text.pooled)
    for verdict, rows in ((own, [0, 1]), (other, [1, 0])):
        expected = D.out(features) + (features * embedded[rows]).sum(1, keepdim=True) / 6**0.5
        assert torch.allclose(verdict.logits[0], expected, rtol=1e-4, atol=1e-4) and verdict.classes is None
    classifier = discriminator(randomised, 10, condition="classes")
    ((own, other),) = classifier([images], text)
    assert own.classes.shape == (2, 10) and own.logits[0].equal(other.logits[0]) and classifier.embed is None
    assert torch.allclose(torch.cat([own.logits[0], own.classes], 1), classifier.out(classifier.features(images.pyramid)), atol=1e-5)


# ---------------------------------------------------------------------------------------------------- losses


def verdict(logits, classes=None) -> Verdict:
    return Verdict((torch.tensor(logits)[:, None],), (1.0,), classes=classes)


def test_wasserstein_and_least_squares_by_hand(make_wgan_inputs):
    inputs = make_wgan_inputs(real_output=verdict([1.0, 3.0]), fake_output=verdict([0.5, -1.5]))
    term = WassersteinConfig(drift=0.1).build()
    assert term.discriminator(inputs).item() == pytest.approx(-0.5 - 2 + 0.1 * 5)
    assert term.generator(inputs).item() == pytest.approx(0.5)
    squares = LeastSquaresConfig().build()
    assert squares.discriminator(inputs).item() == pytest.approx(((0 + 4) / 2 + (0.25 + 2.25) / 2) / 2)
    assert squares.generator(inputs).item() == pytest.approx((0.25 + 6.25) / 2 / 2)


def test_the_gradient_penalty_of_a_linear_critic_is_its_slope(make_wgan_inputs):
    """D(x) = <a, x>: the gradient is a everywhere, whatever the place between the images."""
    term, a = GradientPenaltyConfig(target=2.0).build(), torch.randn(3, 4, 4)
    inputs = make_wgan_inputs()
    real, fake = (ImagePyramid((torch.randn(2, 3, 4, 4),)) for _ in range(2))
    (between,) = term.extra_sets(inputs.batch, real, fake, torch.arange(2)).values()
    images = between.pyramid.finest
    place = (images - real.finest) / (fake.finest - real.finest)
    assert torch.allclose(place, place[:, :1, :1, :1].expand_as(place), atol=1e-3) and images.is_leaf and images.requires_grad
    assert place.min() >= 0 and place.max() <= 1 and place[0, 0, 0, 0] != place[1, 0, 0, 0]
    score = Verdict(((images * a).sum((1, 2, 3))[:, None],), (1.0,))
    value = term.discriminator(replace(inputs, extra={"between": score}, extra_sets={"between": between}))
    assert value.item() == pytest.approx(((a.norm().item() - 2) / 2) ** 2, rel=1e-4)


def test_classes_are_learned_by_cross_entropy(make_wgan_inputs):
    logits, labels = torch.randn(2, 3), torch.tensor([2, 0])
    inputs = make_wgan_inputs(real_output=verdict([0.0, 0.0], logits), fake_output=verdict([0.0, 0.0], 2 * logits))
    inputs = replace(inputs, batch=replace(inputs.batch, text=replace(inputs.batch.text, pooled=F.one_hot(labels, 3).float())))
    real, fake = F.cross_entropy(logits, labels), F.cross_entropy(2 * logits, labels)
    assert ClassificationConfig().build().discriminator(inputs).item() == pytest.approx((real + fake).item(), rel=1e-5)
    assert ClassificationConfig().build().generator(inputs).item() == pytest.approx(fake.item(), rel=1e-5)


def test_a_discriminator_without_classes_is_one_clear_line(make_wgan_inputs):
    with pytest.raises(UserError, match=r"discriminator\.network predicts no class; set condition: classes"):
        ClassificationConfig().build().generator(make_wgan_inputs())


@pytest.fixture
def make_wgan_inputs(descriptors):
    from t2igan.draws import Draws
    from t2igan.objective.term import LossInputs, MicroBatch
    from t2igan.types import Fake, TrainingTime

    def make(real_output=None, fake_output=None):
        draws, text = Draws(0, torch.arange(2)), descriptors([2, 2])
        images, names = torch.zeros(2, 3, 4, 4), ["a", "b"]
        batch = MicroBatch(images, names, names, text, text, torch.arange(2), torch.zeros(2, 4), None, draws, draws)
        blank = verdict([0.0, 0.0])
        fake = Fake(ImagePyramid((images,)), torch.zeros(2, 1, 4))
        return LossInputs(TrainingTime(0), batch, fake, fake_output or blank, real_output=real_output or blank)

    return make


# ---------------------------------------------------------------------------------------------------- training


def test_both_networks_grow_and_adam_begins_anew(kit, tmp_path):
    run = run_of(growing_recipe(kit, training__reuse_fakes=False), tmp_path)
    trainer, sides, counts = run.trainer, [], []
    made = []
    trainer.generator.register_forward_hook(lambda module, inputs, output: made.append(output.pyramid))
    for position in run.growth.steps_from(0):
        assert position == trainer.images
        trainer.step(run.dataset[position])
        sides.append((made[-1].finest.shape[-1], round(made[-1].fade, 2)))
        counts.append(int(next(iter(trainer.g_optimizer.adam.state.values()))["step"]))
    assert sides[:6] == [(4, 1.0), (4, 1.0), (8, 0.0), (8, 0.5), (8, 1.0), (8, 1.0)]
    assert sides[6:10] == [(16, 0.0), (16, 0.25), (16, 0.5), (16, 0.75)] and set(sides[10:]) == {(16, 1.0)}
    assert counts[:8] == [1, 2, 1, 2, 1, 2, 1, 2] and counts[10:12] == [1, 2]
    assert trainer.images == run.growth.end == 96


@pytest.mark.parametrize("at", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(6, marks=pytest.mark.slow), 8])
def test_a_run_resumed_in_the_middle_of_growth_ends_in_the_same_bits(at, kit, tmp_path):
    """Before, in and after a transition; the checkpoint holds no more than the images seen."""

    def stepped(run, count):
        for position in list(run.growth.steps_from(run.trainer.images))[:count]:
            run.trainer.step(run.dataset[position])
        return run

    whole = stepped(run_of(growing_recipe(kit), tmp_path / "a"), 12)
    first = stepped(run_of(growing_recipe(kit), tmp_path / "b"), at)
    first.save()
    second = run_of(growing_recipe(kit), tmp_path / "b")
    second.restore(second.checkpoints.latest())
    stepped(second, 12 - at)
    for a, b in zip(whole.trainer.tensors().values(), second.trainer.tensors().values(), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_sample_in_the_middle_of_growth_has_the_side_that_is_grown(kit, tmp_path):
    run = run_of(growing_recipe(kit), tmp_path)
    take_steps(run, 3)
    assert run.trainer.images == 24
    rows, _ = run.runner().preview(["thing 1"], torch.zeros(0, 3, 16, 16), [])
    assert rows[0][0].size == (8, 8)


def test_a_system_that_does_not_grow_is_refused(kit):
    from t2igan.config import Recipe
    from t2igan.recipe import parse

    recipe = override(tiny_recipe(kit, guided=False), training__growth={"start": 4})
    with pytest.raises(UserError, match=r"training\.growth is given, and generator\.synthesis does not grow"):
        build_system(parse(Recipe, recipe, ""))
    with pytest.raises(UserError, match="total_images is 40, growth to 16 px takes 64"):
        build_system(parse(Recipe, growing_recipe(kit, training__total_images=40), ""))


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("progan_cifar10", "text={kind: none}", "discriminator.network.condition is classes, needs class labels, text: {kind: label}"),
        ("progan_cifar10", "augment={kind: ada, target: 0.6}", "augment.target reads the sign of D's logits, which no term of"),
        ("emoji_r3gan_32", "augment={kind: ada, target: 0.6}", "augment.target reads the sign of D's logits, which no term of"),
        ("progan_cifar10", "training.growth.batches=[4,4]", "growth.batches has 2 entries, needs one for each of 4, 8, 16, 32 px, or none"),
        ("progan_cifar10", "training.total_images=1000", "total_images is 1000, growth to 32 px takes 3600000"),
        ("progan_cifar10", "training.growth.start=64", "growth.start is 64, needs a side below 32 px: 4, 8, 16"),
        ("emoji_stylegan_32", "discriminator.network.condition=label", "condition is label, needs class labels"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(name, override, message, root):
    recipe = load_recipe(root / f"configs/{name}.yaml", [override])
    with pytest.raises(UserError) as caught:
        check_recipe(recipe, recipe.text.build())
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_release_of_ada_is_allowed(root):
    recipe = load_recipe(root / "configs/stylegan2_ada_cifar10.yaml")
    assert recipe.augment.reads_sign and check_recipe(recipe, recipe.text.build()) is None
