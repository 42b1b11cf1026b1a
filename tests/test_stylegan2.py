"""StyleGAN2 as a system: published sizes and numbers, styles, noise and mixing, the uniform way to text, labels and none."""

import pytest
import torch
import torch.nn.functional as F

from t2igan.augment.ada import ADA
from t2igan.commands.show import describe
from t2igan.discriminator.stylegan2 import StyleGAN2DiscriminatorConfig
from t2igan.draws import Draws
from t2igan.layers.blur import DownsamplingConv2d, upsampling_conv
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.pyramid import build_pyramid
from t2igan.recipe import differences, load_recipe
from t2igan.style.stylegan2 import StyleGAN2MappingConfig
from t2igan.synthesis.stylegan2 import StyleGAN2SynthesisConfig
from t2igan.system import build_system
from t2igan.types import CheckContext, ImageSet, Stage, TextDims

PUBLISHED = [("stylegan2_ffhq_1024", 30_370_060, 29_012_513), ("stylegan2_256", 24_767_458, 24_001_089)]
WIDTHS = (6, 5, 4)


@pytest.mark.parametrize(("name", "generator", "discriminator"), PUBLISHED)
def test_parameter_counts_are_the_releases(name, generator, discriminator, root):
    parts = describe(load_recipe(root / "configs" / f"{name}.yaml"))["parts"]
    assert (parts["generator"]["params"], parts["discriminator"]["params"]) == (generator, discriminator)


# batch, minibatch std, gamma, rate, EMA in images, depth of the mapping network
PRESETS = {
    "stylegan2_ffhq_1024": (32, 4, 10, 0.002, 10_000, 8),
    "stylegan2_256": (64, 8, 1, 0.0025, 20_000, 8),
    "stylegan2_ada_cifar10": (64, 32, 0.01, 0.0025, 500_000, 2),
}


@pytest.mark.parametrize("name", PRESETS)
def test_recipes_have_the_published_presets(name, root):
    recipe = load_recipe(root / "configs" / f"{name}.yaml")
    training, network, r1 = recipe.training, recipe.discriminator.network, recipe.objective.discriminator[1]
    rates = {training.generator_optimizer.lr(0), training.discriminator_optimizer.lr(0)}
    half_life, depth = training.ema.half_life(0), recipe.generator.style.depth
    assert (training.batch, network.minibatch_std, r1.options.gamma(0), *rates, half_life, depth) == PRESETS[name]
    assert (r1.kind, r1.every, training.reuse_fakes, recipe.data.mirror) == ("r1", 16, False, True)
    penalties = [term for term in recipe.objective.generator if term.kind == "path_length"]
    assert [(term.weight(0), term.every) for term in penalties] == ([] if "cifar" in name else [(2.0, 4)])


# what each configuration of Table 1 has more than the one before
CONFIGURATIONS = {
    "b": {"generator.style", "generator.synthesis"},
    "c": {"objective.discriminator.r1.every"},
    "d": {"objective.generator.path_length"},
    "e": {"generator.synthesis.architecture", "discriminator.network", "objective.discriminator.r1.gamma"}
    | {"training.growth", "training.precision", "training.generator_optimizer.lr", "training.discriminator_optimizer.lr"},
    "f": {"generator.synthesis.channels", "discriminator.network.channels", "objective.discriminator.r1.gamma"},
}


def test_each_configuration_adds_what_the_paper_says(root):
    between = [f"ablations/stylegan2_ffhq_1024_{letter}" for letter in "bcde"]
    names = ["stylegan_ffhq_1024", *between, "stylegan2_ffhq_1024"]
    recipes = [load_recipe(root / f"configs/{name}.yaml") for name in names]
    for (letter, expected), before, after in zip(CONFIGURATIONS.items(), recipes, recipes[1:], strict=False):
        found = {key for key, _, _ in differences(before, after)} - {"name", "training.sample_every"}
        assert found and all(any(key.startswith(part) for part in expected) for key in found), (letter, found)
        assert all(any(key.startswith(part) for key in found) for part in expected), (letter, found)


# ---------------------------------------------------------------------------------------------------- layers


def test_convolutions_that_change_the_side_give_the_releases_numbers():
    kernel = torch.arange(1.0, 10).view(1, 1, 3, 3) / 10
    up = upsampling_conv(torch.arange(1.0, 10).view(1, 1, 3, 3), kernel)[0, 0]
    assert up[0].tolist() == pytest.approx([1.7875, 3.1, 4.31875, 5.48125, 6.05, 5.2125], abs=1e-5)
    assert up[5].tolist() == pytest.approx([15.2125, 22.675, 26.48125, 28.31875, 27.725, 21.7875], abs=1e-5)
    layer = DownsamplingConv2d(1, 1)
    layer.conv.weight.data = kernel / layer.conv.gain
    down = layer(torch.arange(1.0, 17).view(1, 1, 4, 4)).flatten()
    assert down.tolist() == pytest.approx([21.6875, 23.704689, 29.01875, 29.198439], abs=1e-4)


def test_a_modulated_convolution_gives_the_releases_numbers():
    layer = AdaptiveConv2d(3, 2, 3, bias=False).double()
    layer.weight.data = torch.sin(0.31 * torch.arange(54, dtype=torch.float64)).view(2, 3, 3, 3) / layer.gain
    layer.modulate.weight.data, layer.modulate.bias.data = torch.eye(3).double() / layer.modulate.gain, torch.zeros(3).double()
    x = torch.cos(0.17 * torch.arange(96, dtype=torch.float64)).view(2, 3, 4, 4)
    y = layer(x, torch.tensor([[1, 0.5, -2], [0.3, 1, 1]], dtype=torch.float64))
    assert y[:, :, 1, 1].flatten().tolist() == pytest.approx([-0.288463, -0.636989, -3.086394, 1.367708], abs=1e-6)


# ---------------------------------------------------------------------------------------------------- styles


def mapping(randomised, text_dim=0, **options):
    return randomised(StyleGAN2MappingConfig(z_dim=5, style_dim=7, depth=2, **options).build(text_dim))


def test_the_condition_joins_the_latent_each_with_mean_square_one(randomised, descriptors):
    network, text, z = mapping(randomised, text_dim=10), descriptors([3, 2]), torch.randn(2, 5)
    seen = []
    network.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    w = network.map(z, text)
    (joined,) = seen
    assert w.shape == (2, 7) and joined.shape == (2, 12)
    assert torch.allclose(joined[:, :5].square().mean(1), torch.ones(2), atol=1e-3)
    assert torch.allclose(joined[:, 5:].square().mean(1), torch.ones(2), atol=1e-3)
    assert not torch.allclose(network.map(z, descriptors([3, 2])), w), "another condition"


def test_finer_stages_take_another_latents_style_in_training_alone(randomised, descriptors):
    network, images, stages = mapping(randomised), 2000, 6
    text = descriptors([2] * images)
    w, draws = network.map(torch.randn(images, 5), text), Draws(0, torch.arange(images))
    assert network.spread(w, stages, text, None).equal(w[:, None].expand(-1, stages, -1))
    own = (network.spread(w, stages, text, draws) == w[:, None]).all(2)
    assert own[:, 0].all() and own.int().diff(dim=1).max() <= 0, "the latent's own style first, the other's from a stage on"
    mixed = ~own.all(1)
    assert mixed.float().mean() == pytest.approx(0.9, abs=0.03)
    cut = own[mixed].sum(1).bincount(minlength=stages)[1:].float()
    assert cut.shape == (stages - 1,) and cut.min() > 0.8 * cut.mean(), "each place as often"
    half = network.spread(w[:3], stages, text[:3], draws[torch.arange(3)])
    assert torch.allclose(half, network.spread(w, stages, text, draws)[:3], atol=1e-5), "an image's styles do not depend on its company"


def test_without_text_truncation_pulls_to_the_measured_mean(randomised, descriptors):
    network, text, z = mapping(randomised), descriptors([2, 2]), torch.randn(2, 5)
    network.mean_style.copy_(torch.arange(7.0))
    pulled = network(z, text, 3, truncation=0.5)
    assert torch.allclose(pulled[:, 0], (network.map(z, text) + torch.arange(7.0)) / 2, atol=1e-5)
    network.measure_mean(text)
    assert not torch.allclose(network.mean_style, torch.arange(7.0)), "measured anew, whatever it was"


# ---------------------------------------------------------------------------------------------------- synthesis


def synthesis(randomised, **options):
    return randomised(StyleGAN2SynthesisConfig(channels=WIDTHS, **options).build(16, 7, 0))


def test_an_image_takes_the_style_of_the_next_stages_first_convolution(randomised):
    network, seen = synthesis(randomised), []
    for stage in network.stages:
        layers = [stage.up, stage.conv] if stage.up is not None else [stage.conv]
        for layer in (*[layer.conv for layer in layers], stage.to_rgb):
            layer.register_forward_pre_hook(lambda module, inputs: seen.append(int(inputs[1][0, 0])))
    styles = torch.arange(6.0)[None, :, None].expand(2, 6, 7)
    network(styles, [])
    assert network.num_styles == 6 and seen == [0, 1, 1, 2, 3, 3, 4, 5]


@pytest.mark.parametrize("architecture", ["skip", "residual", "original"])
def test_every_architecture_makes_an_image_and_trains_every_parameter(architecture, randomised):
    network = synthesis(randomised, architecture=architecture)
    (image,) = network(torch.randn(2, 6, 7), []).levels
    assert image.shape == (2, 3, 16, 16) and image.dtype == torch.float32
    image.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    images = sum(stage.to_rgb is not None for stage in network.stages)
    assert images == (3 if architecture == "skip" else 1)


def test_a_growing_network_fades_the_image_of_its_next_side_in(randomised):
    network, styles = synthesis(randomised, architecture="growing"), torch.randn(2, 6, 7)
    small, large = (network(styles, [], stage=Stage(side)).finest for side in (8, 16))
    for fade in (0.0, 0.25, 1.0):
        image = network(styles, [], stage=Stage(16, fade)).finest
        assert torch.allclose(image, (1 - fade) * F.interpolate(small, scale_factor=2) + fade * large, atol=1e-5)
    assert network(styles, []).finest.equal(large), "without a stage it is grown"
    assert [network.num_styles_at(stage) for stage in (None, Stage(4), Stage(8), Stage(16, 0.5))] == [6, 2, 4, 6]
    first, x = network.stages[0], network.constant.expand(2, -1, -1, -1)
    (image,) = network(styles[:, :2], [], stage=Stage(4)).levels
    x, rgb = first(x, None, styles[:, :2].unbind(1), None)
    assert image.equal(rgb), "an image of its own, to which none is added"
    assert StyleGAN2SynthesisConfig(architecture="growing").grows and not StyleGAN2SynthesisConfig().grows


def test_noise_is_new_for_every_image_of_training_and_fixed_outside(randomised):
    network, styles = synthesis(randomised), torch.randn(2, 6, 7)
    assert network(styles, []).finest.equal(network(styles, []).finest)
    draws = Draws(0, torch.arange(2))
    one, again, other = (network(styles, [], draws=d).finest for d in (draws, draws, Draws(0, torch.arange(5, 7))))
    assert one.equal(again) and not torch.allclose(one, other, atol=1e-3)
    for stage in network.stages:
        for layer in filter(None, (stage.up, stage.conv)):
            layer.noise_strength.data.zero_()
    assert torch.allclose(network(styles, [], draws=draws).finest, network(styles, []).finest), "a strength of zero adds none"


def test_activations_are_clamped(randomised):
    network, styles = synthesis(randomised, clamp=0.01), torch.randn(2, 6, 7)
    assert network(styles, []).finest.abs().max() <= 0.03 + 1e-6, "three images of at most 0.01 each"
    assert synthesis(randomised, clamp=None)(styles, []).finest.abs().max() > 0.03


# ---------------------------------------------------------------------------------------------------- discriminator


def discriminator(randomised, text_dim=0, **options):
    config = StyleGAN2DiscriminatorConfig(channels=WIDTHS, minibatch_std=2, mapping_depth=2, **options)
    return randomised(config.build(16, None, TextDims(text_dim, text_dim)))


def image_set(n=2, captions=None):
    return ImageSet(build_pyramid(torch.randn(n, 3, 16, 16), (16,)), captions or (torch.arange(n),))


def test_the_condition_enters_by_projection(randomised, descriptors):
    D, text = discriminator(randomised, 10), descriptors([6, 2])
    own, other = torch.arange(2), torch.tensor([1, 0])
    images = image_set(captions=(own, other))
    ((first, second),) = D([images], text)
    features, mapped = D.features(images.pyramid.finest), D.mapping(text.pooled)
    for verdict, rows in ((first, own), (second, other)):
        assert torch.allclose(verdict.logits[0], (features * mapped[rows]).sum(1, keepdim=True) / 6**0.5, rtol=1e-4, atol=1e-4)
    assert discriminator(randomised).mapping is None and discriminator(randomised).out.weight.shape == (1, 6)


def test_minibatch_statistics_stay_inside_a_set(randomised, descriptors):
    D, text = discriminator(randomised), descriptors([2, 2])
    a, b = image_set(), image_set()
    together, alone = D([a, b], text), D([b], text)
    assert torch.allclose(together[1][0].logits[0], alone[0][0].logits[0], rtol=1e-4, atol=1e-5)
    assert D.batch_multiple == 2


@pytest.mark.parametrize("architecture", ["skip", "residual", "original"])
def test_every_architecture_scores_and_trains_every_parameter(architecture, randomised, descriptors):
    D = discriminator(randomised, 10, architecture=architecture)
    ((verdict,),) = D([image_set()], descriptors([2, 3]))
    verdict.logits[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in D.parameters())
    assert sum("from_rgb" in name for name, _ in D.named_parameters()) == (6 if architecture == "skip" else 2)


# ---------------------------------------------------------------------------------------------------- recipes


def test_the_emoji_recipe_has_text_and_can_do_without(root):
    path = root / "configs" / "emoji_stylegan2_32.yaml"
    with torch.device("meta"):
        system = build_system(load_recipe(path))
        assert system.discriminator.mapping is not None and isinstance(system.augment, ADA)
        overrides = ["text={kind: none}", "generator.adapter=null", "discriminator.adapter=null", "training.prompts=[]"]
        terms = [
            "objective.generator=[{kind: nonsaturating}]",
            "objective.discriminator=[{kind: nonsaturating}, {kind: r1, gamma: 0.2, every: 16}]",
        ]
        unconditional = build_system(load_recipe(path, [*overrides, *terms]))
    assert unconditional.discriminator.mapping is None and unconditional.generator.mapper.embed is None


def test_impossible_sizes_are_refused():
    for config in (StyleGAN2SynthesisConfig, StyleGAN2DiscriminatorConfig):
        with pytest.raises(ValueError, match="channels has 2 entries, resolution 64 has 5 stages"):
            config(channels=(8, 8)).check(CheckContext(64, (64,)))
