"""StyleGAN3 as a system: published tables and sizes, equivariance, running magnitudes, the uniform way to text, labels and none."""

import math

import pytest
import torch
from tiny import override, run_of, stylegan2_recipe

from t2igan.augment.blur import BlurConfig
from t2igan.commands.show import describe
from t2igan.draws import Draws
from t2igan.errors import UserError
from t2igan.layers.alias_free import TAPS
from t2igan.metrics.equivariance import decibels, limited, rotation, shifted, turned
from t2igan.recipe import load_recipe
from t2igan.synthesis.stylegan3 import StyleGAN3SynthesisConfig, WholeAdaptiveConv2d, layer_table
from t2igan.system import check_recipe

pytest_plugins = ["kit"]
PUBLISHED = [("stylegan3_t_ffhq_1024", 22_313_167), ("stylegan3_t_256", 23_320_443), ("stylegan3_r_ffhq_1024", 15_093_151)]


@pytest.mark.parametrize(("name", "generator"), PUBLISHED)
def test_parameter_counts_are_the_releases(name, generator, root):
    assert describe(load_recipe(root / f"configs/{name}.yaml"))["parts"]["generator"]["params"] == generator


T_256 = [512] * 9 + [362, 256, 181, 128, 128, 3]
R_256 = [1024] * 9 + [724, 512, 362, 256, 256, 3]
T_1024 = [512] * 7 + [323, 203, 128, 81, 51, 32, 32, 3]


def test_the_table_of_layers_is_the_releases():
    rows = layer_table(StyleGAN3SynthesisConfig(channel_base=32768), 256)
    assert [row.rate for row in rows] == [16] * 3 + [32] * 2 + [64] * 2 + [128] * 3 + [256] * 5
    assert [row.side for row in rows] == [36] * 3 + [52] * 2 + [84] * 2 + [148] * 3 + [276] * 3 + [256] * 2
    for base, most, expected in ((32768, 512, T_256), (65536, 1024, R_256)):
        rows = layer_table(StyleGAN3SynthesisConfig(channel_base=base, channel_max=most), 256)
        assert [row.channels for row in rows] == expected
    rows = layer_table(StyleGAN3SynthesisConfig(), 1024)
    assert [row.channels for row in rows] == T_1024
    assert [row.side - row.rate for row in rows] == [20] * 13 + [0] * 2
    for side, by_four in ((256, [3, 5, 7, 10]), (1024, [2, 4, 5, 7, 9, 10])):
        network = StyleGAN3SynthesisConfig(channel_base=4 * side, channel_max=8).build(side, 5, 0)
        assert [i for i, layer in enumerate(network.layers[:-1]) if layer.nonlinearity.up == 4] == by_four
        assert network.num_styles == 16


def test_margins_are_cut_as_the_release_pads():
    """The specification: what is added before and after a map with zeros between its values; layers up by 2, by 4, the last but one."""
    published = {"translation": [(9, 8), (-6, -9), (-11, -12)], "rotation": [(11, 10), (-2, -5), (-9, -10)]}
    for equivariance, pads in published.items():
        config = StyleGAN3SynthesisConfig(channel_base=512, channel_max=8, equivariance=equivariance)
        parts = [layer.nonlinearity for layer in config.build(256, 5, 0).layers[:-1]]
        found = [(TAPS * part.up - 1 - part.crop, TAPS * part.up - part.up - part.crop) for part in parts]
        assert found == [{2: pads[0], 4: pads[1]}[part.up] for part in parts[:-1]] + [pads[2]]


@pytest.mark.parametrize("name", [name for name, _ in PUBLISHED])
def test_recipes_have_the_published_presets(name, root):
    recipe = load_recipe(root / f"configs/{name}.yaml")
    training, r1 = recipe.training, recipe.objective.discriminator[1]
    large = "1024" in name
    assert (training.generator_optimizer.lr(0), recipe.generator.style.depth, recipe.generator.style.mixing, r1.every) == (0.0025, 2, 0, 16)
    assert (training.batch, training.ema.half_life(0)) == ((32, 10_000) if large else (64, 20_000))
    assert (training.discriminator_optimizer.lr(0), r1.options.gamma(0)) == ((0.002, 32.8) if large else (0.0025, 1))
    assert [term.kind for term in recipe.objective.generator] == ["nonsaturating"]
    blur = recipe.augment
    assert isinstance(blur, BlurConfig) is name.startswith("stylegan3_r")
    assert not name.startswith("stylegan3_r") or [blur.sigma(images) for images in (0, 100_000, 200_000, 10**7)] == [10, 5, 0, 0]


def test_a_modulated_convolution_gives_the_releases_numbers():
    """The release scales kernels to mean square one and the styles of a batch too, which demodulation undoes; its input gain is 0.5."""
    layer = WholeAdaptiveConv2d(3, 2, 3, bias=False).double()
    layer.weight.data = torch.sin(0.31 * torch.arange(54, dtype=torch.float64)).view(2, 3, 3, 3) / layer.gain
    layer.modulate.weight.data, layer.modulate.bias.data = torch.eye(3).double() / layer.modulate.gain, torch.zeros(3).double()
    x = torch.cos(0.17 * torch.arange(96, dtype=torch.float64)).view(2, 3, 4, 4)
    y = 0.5 * layer(x, torch.tensor([[1, 0.5, -2], [0.3, 1, 1]], dtype=torch.float64))
    assert y[:, :, 1, 1].flatten().tolist() == pytest.approx([-0.11814, -0.171385, -0.255698, 0.368275], abs=1e-6)


# ---------------------------------------------------------------------------------------------------- equivariance


def small(resolution=32, **options):
    return StyleGAN3SynthesisConfig(**{"layers": 8, "channel_base": 512, "channel_max": 16} | options).build(resolution, 8, 0)


@pytest.mark.parametrize("equivariance", ["translation", "rotation"])
def test_a_translated_transform_translates_the_image(equivariance):
    network, styles = small(equivariance=equivariance), torch.randn(2, 1, 8).expand(-1, 10, -1)
    still = network(styles, []).finest
    network.fourier_input.transform[:2, 2] = torch.tensor([-3 / 32, 2 / 32])
    moved = network(styles, []).finest
    error = float((moved[:, :, :-2, 3:] - still[:, :, 2:, :-3]).detach().square().mean())
    assert 10 * math.log10(4 / error) > 55 and float(still.detach().std()) > 10 * math.sqrt(error)
    assert not torch.allclose(moved, still, atol=float(still.detach().std()) / 10)


def test_an_untrained_network_moves_and_turns_as_published():
    """EQ-T above 55 dB, EQ-R above 30 dB, configuration R in fp32, by the metrics' own filters, at the contrast of a trained network."""
    network = small(64, layers=10, channel_base=2048, channel_max=32, equivariance="rotation")
    styles, angle, across, down = torch.randn(4, 12, 8), 0.4, 5.0, -3.0

    def moved(transform):
        network.fourier_input.transform.copy_(transform)
        with torch.no_grad():
            return network(styles, []).finest * contrast

    def ratio(found, expected) -> float:
        known = found[1] * expected[1]
        difference = (found[0] - expected[0]).square() * known
        return decibels(float(difference.sum()), float(known.sum()) * 3 * len(styles))

    contrast = 1.0
    contrast = 0.5 / float(moved(torch.eye(3)).std())
    still, everywhere = moved(torch.eye(3)), torch.ones(64, 64)
    shift, turn = torch.eye(3), torch.eye(3)
    shift[:2, 2], turn[:2, :2] = torch.tensor([-across / 64, -down / 64]), rotation(-angle).float()
    assert ratio((moved(shift), everywhere), shifted(still, across, down)) > 55
    assert ratio(limited(moved(turn), angle), turned(still, angle)) > 30
    assert ratio(limited(still, angle), turned(still, angle)) < 30, "an image that does not turn is far off"


# ---------------------------------------------------------------------------------------------------- magnitudes


def test_inputs_are_scaled_by_the_running_mean_of_their_squares():
    network, styles = small(magnitude_half_life=8), torch.randn(4, 1, 8).expand(-1, 10, -1)
    first, before = network.layers[0].magnitude, network(styles, []).finest
    assert float(first.mean_square) == 1 and not first.seen.any(), "outside training nothing is noted"
    x = network.input(styles[:, 0])
    network(styles, [], draws=Draws(0, torch.arange(4)))
    network.update(8, lambda x: x)
    assert float(first.mean_square) == pytest.approx(0.5 * x.square().mean().item() + 0.5, rel=1e-5), "half of the way in a half-life"
    assert not first.seen.any() and not torch.equal(network(styles, []).finest, before)
    settled = first.mean_square.clone()
    network.update(8, lambda x: x)
    assert torch.equal(first.mean_square, settled), "a step without a pass moves nothing"


def test_magnitudes_do_not_follow_a_step_that_is_skipped():
    network = small(magnitude_half_life=8)
    network(torch.randn(4, 1, 8).expand(-1, 10, -1), [], draws=Draws(0, torch.arange(4)))
    before = [layer.magnitude.mean_square.clone() for layer in network.layers]
    network.layers[3].magnitude.seen[0] = torch.nan
    network.update(8, lambda x: x)
    moved = [not torch.equal(layer.magnitude.mean_square, old) for layer, old in zip(network.layers, before, strict=True)]
    assert moved == [number != 3 for number in range(len(network.layers))] and not network.layers[3].magnitude.seen.any()


def test_magnitudes_depend_on_neither_parts_nor_processes():
    styles = torch.randn(6, 1, 8).expand(-1, 10, -1)
    whole, parts = (small() for _ in range(2))
    parts.load_state_dict(whole.state_dict())
    whole(styles, [], draws=Draws(0, torch.arange(6)))
    whole.update(6, lambda x: x)
    parts(styles[:2], [], draws=Draws(0, torch.arange(2)))
    parts(styles[2:], [], draws=Draws(0, torch.arange(2, 6)))
    parts.update(6, lambda x: x)
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert torch.allclose(one.magnitude.mean_square, other.magnitude.mean_square, rtol=1e-5)


SYNTHESIS = {"kind": "stylegan3", "layers": 4, "channel_base": 256, "channel_max": 8}


def test_a_run_trains_every_parameter_and_keeps_its_magnitudes(kit, tmp_path):
    recipe = override(stylegan2_recipe(kit), generator__synthesis=SYNTHESIS, training__total_images=16)
    run = run_of(recipe, tmp_path)
    run.train()
    generator, average = run.trainer.generator, run.trainer.ema.model
    for layer, copy in zip(generator.synthesis.layers, average.synthesis.layers, strict=True):
        assert float(layer.magnitude.mean_square) != 1 and torch.equal(layer.magnitude.mean_square, copy.magnitude.mean_square)
    longer = run_of(override(recipe, training__total_images=24), tmp_path)
    longer.train(resume=True)
    assert longer.trainer.steps == run.trainer.steps + 1


def test_impossible_sizes_are_refused_in_one_line(root):
    recipe = load_recipe(root / "configs/stylegan3_t_256.yaml", ["resolution=8"])
    with pytest.raises(UserError, match="makes images of 16 px or more, and resolution is 8"):
        check_recipe(recipe, recipe.text.build())
    recipe = load_recipe(root / "configs/stylegan3_t_256.yaml", ["generator.synthesis.layers=2"])
    with pytest.raises(UserError, match="layers is 2, needs 3 or more"):
        check_recipe(recipe, recipe.text.build())
    recipe = load_recipe(root / "configs/stylegan3_t_256.yaml", ["generator.synthesis.channel_base=100"])
    with pytest.raises(UserError, match="channel_base is 100, and resolution is 256: the last layers would have no channel"):
        check_recipe(recipe, recipe.text.build())
