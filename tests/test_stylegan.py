"""StyleGAN as a system: its published size, styles and noise, growth, the uniform way to text, labels and none."""

import pytest
import torch
import torch.nn.functional as F
from tiny import override, run_of, tiny_recipe

from t2igan.commands.show import describe
from t2igan.discriminator.stylegan import StyleGANDiscriminatorConfig
from t2igan.draws import Draws
from t2igan.layers.adain import AdaIN
from t2igan.layers.fir import binomial
from t2igan.recipe import differences, load_recipe
from t2igan.style.stylegan import StyleGANMappingConfig
from t2igan.synthesis.stylegan import StyleGANSynthesisConfig
from t2igan.types import ImagePyramid, ImageSet, Stage, TextDims

pytest_plugins = ["kit"]
WIDTHS = (6, 5, 4)


def test_parameter_counts(root):
    """The README of the release prints the generator's; the discriminator has ProGAN's layers."""
    parts = describe(load_recipe(root / "configs/stylegan_ffhq_1024.yaml"))["parts"]
    assert (parts["generator"]["params"], parts["discriminator"]["params"]) == (26_219_627, 23_087_249)


def test_the_recipe_follows_the_releases_tables(root):
    training = load_recipe(root / "configs/stylegan_ffhq_1024.yaml").training
    rates = [training.generator_optimizer.lr(images) for images in (0, 4_200_000, 5_400_000, 6_600_000, 25_000_000)]
    assert rates == [0.001, 0.0015, 0.002, 0.003, 0.003], "from the fade to 128, 256 and 512 px on"
    from t2igan.growth import Growth

    growth = Growth(training, 1024, 8)
    assert [growth.stage(images).side for images in (0, 4_300_000, 5_500_000, 6_700_000, 25_000_000)] == [8, 128, 256, 512, 1024]


# what each configuration of Table 1 has more than the one before, besides its name and header
CONFIGURATIONS = {
    "b": {"generator.synthesis.upsampling", "discriminator.network", "objective", "training.total_images", "training.growth"}
    | {"training.generator_optimizer.lr", "training.discriminator_optimizer.lr"},
    "c": {"generator.style", "generator.synthesis"},
    "d": {"generator.synthesis.input"},
    "e": {"generator.synthesis.noise"},
    "f": {"generator.style.mixing"},
}


def test_each_configuration_adds_what_the_paper_says(root):
    paths = [root / f"configs/ablations/stylegan_ffhq_1024_{letter}.yaml" for letter in "abcde"]
    recipes = [load_recipe(path) for path in (*paths, root / "configs/stylegan_ffhq_1024.yaml")]
    for (letter, expected), before, after in zip(CONFIGURATIONS.items(), recipes, recipes[1:], strict=False):
        found = {key for key, _, _ in differences(before, after)} - {"name"}
        assert found and all(any(key.startswith(part) for part in expected) for key in found), (letter, found)
        assert all(any(key.startswith(part) for key in found) for part in expected), (letter, found)


# ---------------------------------------------------------------------------------------------------- layers


def test_adain_sets_mean_and_deviation(randomised):
    layer, x, style = randomised(AdaIN(3, 5)), torch.randn(2, 3, 4, 4) * 3 + 1, torch.randn(2, 5)
    y = layer(x, style)
    scale, shift = layer.modulate(style).split(3, dim=1)
    assert torch.allclose(y.mean((2, 3)), shift, atol=1e-5)
    assert torch.allclose(y.std((2, 3), unbiased=False), (1 + scale).abs(), rtol=1e-4)


def test_the_filter_is_1_2_1():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 16
    assert binomial(x, 3, padding=1)[0, 0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert binomial(torch.ones(1, 1, 4, 4), 3, padding=1)[0, 0, 0].tolist() == pytest.approx([9 / 16, 12 / 16, 12 / 16, 9 / 16]), (
        "zeros around"
    )


# ---------------------------------------------------------------------------------------------------- styles


def mapping(randomised, text_dim=0, **options):
    return randomised(StyleGANMappingConfig(z_dim=5, style_dim=7, depth=2, **options).build(text_dim))


def test_the_condition_is_a_matrix_beside_z_and_both_have_mean_square_one(randomised, descriptors):
    network, text, z = mapping(randomised, 10), descriptors([3, 2]), torch.randn(2, 5)
    joined = torch.cat([z, text.pooled @ network.embed], 1)
    x = joined * joined.square().mean(1, keepdim=True).rsqrt()
    for layer in network.layers:
        x = F.leaky_relu(x @ layer.weight.T * (0.01 * 2**0.5 / layer.weight.shape[1] ** 0.5) + layer.bias * 0.01, 0.2)
    assert torch.allclose(network.map(z, text), x, atol=1e-5)


def test_truncation_pulls_the_coarse_styles_alone(randomised, descriptors):
    network, text, z = mapping(randomised, truncated_styles=4), descriptors([2, 2]), torch.randn(2, 5)
    network.mean_style.copy_(torch.arange(7.0))
    whole, half = network(z, text, 6), network(z, text, 6, truncation=0.5)
    assert torch.allclose(half[:, :4], (whole[:, :4] + torch.arange(7.0)) / 2, atol=1e-5) and half[:, 4:].equal(whole[:, 4:])
    assert network(z, text, 6, global_truncation=0.5)[:, 4:].equal(whole[:, 4:])


# ---------------------------------------------------------------------------------------------------- synthesis


def synthesis(randomised, **options):
    return randomised(StyleGANSynthesisConfig(channels=WIDTHS, **options).build(16, 7, 0))


def test_every_convolution_has_a_style_and_growth_needs_those_of_its_sides(randomised):
    network, seen = synthesis(randomised), []
    for side in network.sides:
        for end in (side.end_of_up, side.end):
            end.register_forward_pre_hook(lambda module, inputs: seen.append(int(inputs[1][0, 0])))
    styles = torch.arange(6.0)[None, :, None].expand(2, 6, 7)
    network(styles, [])
    assert seen == [0, 1, 2, 3, 4, 5] and network.num_styles == 6
    assert [network.num_styles_at(stage) for stage in (None, Stage(4), Stage(8), Stage(16, 0.5))] == [6, 2, 4, 6]


def test_fade_0_is_the_smaller_generator_and_fade_1_the_larger_one(randomised):
    network, styles = synthesis(randomised), torch.randn(2, 6, 7)
    small, large = (network(styles, [], stage=Stage(side)).finest for side in (8, 16))
    enlarged = F.interpolate(small, scale_factor=2)
    for fade in (0.0, 0.25, 1.0):
        image = network(styles, [], stage=Stage(16, fade)).finest
        assert torch.allclose(image, (1 - fade) * enlarged + fade * large, atol=1e-5)
    assert network(styles, []).finest.equal(large)


def test_noise_is_new_for_every_image_of_training_and_fixed_outside(randomised):
    network, styles = synthesis(randomised), torch.randn(2, 6, 7)
    assert network(styles, []).finest.equal(network(styles, []).finest)
    one, other = (network(styles, [], draws=Draws(0, torch.arange(first, first + 2))).finest for first in (0, 5))
    assert not torch.allclose(one, other, atol=1e-3)
    fresh = StyleGANSynthesisConfig(channels=WIDTHS).build(16, 7, 0)
    assert torch.allclose(fresh(styles, [], draws=Draws(0, torch.arange(2))).finest, fresh(styles, []).finest), "its weight begins at zero"
    assert fresh.sides[0].first.constant.eq(1).all(), "and the constant at one"


def test_without_noise_training_draws_nothing(randomised):
    network, styles = synthesis(randomised, noise=False), torch.randn(2, 6, 7)
    assert network(styles, [], draws=Draws(0, torch.arange(2))).finest.equal(network(styles, []).finest)
    assert not [name for name, _ in (*network.named_parameters(), *network.named_buffers()) if "noise" in name]


def test_the_first_map_can_be_made_of_the_style(randomised):
    network = synthesis(randomised, input="style")
    first, style = network.sides[0].first, torch.randn(2, 7)
    assert torch.allclose(first(style).flatten(1), style @ first.linear.weight.T * 2**0.5 / 4 / 7**0.5, atol=1e-5)
    one, other = torch.randn(2, 2, 6, 7)
    other[:, 1:] = one[:, 1:]
    assert not torch.allclose(network(one, []).finest, network(other, []).finest, atol=1e-3)


# ---------------------------------------------------------------------------------------------------- discriminator


def discriminator(randomised, text_dim=0, **options):
    config = StyleGANDiscriminatorConfig(channels=WIDTHS, minibatch_std=2, **options)
    return randomised(config.build(16, None, TextDims(text_dim, text_dim)))


def test_a_reduction_filters_first(randomised):
    side, x = discriminator(randomised).sides[0], torch.randn(2, 5, 8, 8)
    y = F.leaky_relu(side.conv(x), 0.2)
    assert torch.allclose(side(x), F.leaky_relu(F.avg_pool2d(side.down(binomial(y, 3, padding=1)), 2), 0.2), atol=1e-6)


def test_a_label_chooses_its_logit_and_a_text_projects(randomised, descriptors):
    text = descriptors([2, 3])
    images = ImageSet(ImagePyramid((torch.randn(2, 3, 16, 16),)), (torch.arange(2), torch.tensor([1, 0])))
    D = discriminator(randomised, 10, condition="label")
    onehot = F.one_hot(torch.tensor([4, 7]), 10).float()
    labelled = type(text)(text.local, onehot, text.source)
    ((own, other),) = D([images], labelled)
    logits = D.out(D.features(images.pyramid))
    assert torch.allclose(own.logits[0][:, 0], logits[[0, 1], [4, 7]], atol=1e-5)
    assert torch.allclose(other.logits[0][:, 0], logits[[0, 1], [7, 4]], atol=1e-5) and D.embed is None
    assert discriminator(randomised, 10).embed is not None and discriminator(randomised).out.weight.shape[0] == 1


# ---------------------------------------------------------------------------------------------------- training


def test_a_growing_run_goes_through_every_side(kit, tmp_path):
    recipe = tiny_recipe(kit, guided=False)
    style = {"kind": "stylegan", "z_dim": 8, "style_dim": 16, "depth": 2}
    recipe["generator"] |= {"style": style, "synthesis": {"kind": "stylegan", "channels": [8, 8, 8]}}
    recipe["discriminator"]["network"] = {"kind": "stylegan", "channels": [8, 8, 8], "minibatch_std": 2}
    recipe["augment"] = {"kind": "none"}
    recipe["objective"] = {
        "discriminator": [{"kind": "nonsaturating"}, {"kind": "r1", "gamma": 1.0}],
        "generator": [{"kind": "nonsaturating"}],
    }
    growth = {"start": 8, "hold": 16, "fade": 16}
    run = run_of(override(recipe, training__growth=growth, training__total_images=64, training__cluster_features=None), tmp_path)
    sides = []
    run.trainer.generator.register_forward_hook(lambda module, inputs, output: sides.append(output.pyramid.finest.shape[-1]))
    run.train()
    assert set(sides[:2]) == {8} and sides[-1] == 16 and run.trainer.images == 64
    assert (tmp_path / "model/model.safetensors").is_file()
