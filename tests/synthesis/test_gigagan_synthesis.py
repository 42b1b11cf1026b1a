"""Styles and words to an RGB pyramid."""

import pytest
import torch

from t2igan.draws import Draws
from t2igan.layers.resample import upsample
from t2igan.layers.stages import resolutions
from t2igan.synthesis.gigagan import GigaGANSynthesis, GigaGANSynthesisConfig

SMALL = dict(
    channels=(16, 12, 12),
    blocks=(2, 1, 2),
    num_kernels=(1, 2, 3),
    self_attention=(0, 1, 1),
    cross_attention=(0, 2, 1),
    head_dim=4,
    mlp_ratio=2,
)


def network(**options) -> GigaGANSynthesis:
    return GigaGANSynthesisConfig(**SMALL | options).build(16, style_dim=8, token_dim=12)


@pytest.mark.parametrize("input", ["constant", "style"])
def test_images_at_every_stage_finest_first_in_single_precision(input, descriptors):
    pyramid = network(input=input)(torch.randn(2, 3, 8), [descriptors([6, 2])] * 3)
    assert [tuple(level.shape) for level in pyramid.levels] == [(2, 3, 16, 16), (2, 3, 8, 8), (2, 3, 4, 4)]
    with torch.autocast("cpu", torch.bfloat16):
        pyramid = network(input=input)(torch.randn(2, 3, 8), [descriptors([6, 2])] * 3)
    assert {level.dtype for level in pyramid.levels} == {torch.float32}
    assert resolutions(16) == [4, 8, 16] and GigaGANSynthesisConfig(**SMALL).levels(16) == (16, 8, 4)
    assert network().num_styles == 3 and network().condition(torch.zeros(1, 3, 16, 16), Draws(0, torch.zeros(1).long())) is None


@pytest.mark.parametrize("input", ["constant", "style"])
def test_an_image_does_not_depend_on_the_others_in_its_batch(input, descriptors, randomised):
    synthesis = randomised(network(input=input))
    styles, text = torch.randn(3, 3, 8), descriptors([6, 2, 4])
    together = synthesis(styles, [text] * 3).finest
    for i in range(3):
        alone = synthesis(styles[i : i + 1], [text[i : i + 1]] * 3).finest
        assert (alone - together[i : i + 1]).abs().max() < 1e-4 * together.abs().max()
    assert (together[0] - together[1]).abs().max() > 1e-2 * together.abs().max()


def test_ways_of_mixing_kernels_give_one_image(descriptors, randomised):
    styles, text, images = torch.randn(2, 3, 8), descriptors([6, 2]), []
    for strategy in ("output_mix", "input_mix", "grouped", None):
        torch.manual_seed(7)
        synthesis = randomised(network(strategy=strategy, num_kernels=(2, 2, 3)))
        images.append(synthesis(styles, [text] * 3).finest)
    for image in images[1:]:
        assert (image - images[0]).abs().max() < 1e-4 * images[0].abs().max()


def test_an_image_is_the_coarser_one_enlarged_plus_its_stages_contribution(descriptors, randomised):
    synthesis = randomised(network())
    styles, text = torch.randn(2, 3, 8), descriptors([6, 2])
    before = synthesis(styles, [text] * 3)
    with torch.no_grad():
        synthesis.stages["16"].to_rgb.weight.zero_()
        synthesis.stages["16"].rgb_bias.fill_(0.5)
    after = synthesis(styles, [text] * 3)
    assert torch.equal(after.levels[1], before.levels[1])
    assert torch.allclose(after.finest, upsample(after.levels[1]) + 0.5)


def test_each_stage_has_its_own_style(descriptors, randomised):
    synthesis, styles, text = randomised(network(input="constant")), torch.randn(1, 3, 8), descriptors([6])
    before = synthesis(styles, [text] * 3)
    for stage, unchanged in ((2, 2), (1, 1), (0, 0)):  # levels below a stage's side stay as they were
        other = styles.clone()
        other[:, stage] += 1
        after = synthesis(other, [text] * 3)
        same = [torch.equal(a, b) for a, b in zip(before.levels[::-1], after.levels[::-1], strict=True)]
        assert same == [True] * unchanged + [False] * (3 - unchanged)


def test_words_have_no_effect_at_initialisation_and_one_when_trained(descriptors, randomised):
    synthesis, styles, text = network(), torch.randn(2, 3, 8), descriptors([6, 2])
    shuffled = type(text)(text.local.flip(0), text.pooled, text.source)
    assert torch.equal(synthesis(styles, [text] * 3).finest, synthesis(styles, [shuffled] * 3).finest)
    randomised(synthesis)
    assert not torch.allclose(synthesis(styles, [text] * 3).finest, synthesis(styles, [shuffled] * 3).finest, rtol=1e-2)


def test_words_after_the_true_end_have_no_effect(descriptors, randomised):
    synthesis, styles, text = randomised(network()), torch.randn(2, 3, 8), descriptors([6, 2])
    dirty = text.local.clone()
    dirty[1, 2:] = 99
    assert torch.equal(synthesis(styles, [type(text)(dirty, text.pooled, text.source)] * 3).finest, synthesis(styles, [text] * 3).finest)


def test_activations_keep_their_size_through_the_network(descriptors):
    """Equalised, demodulated layers with sqrt 2: maps neither die nor explode at initialisation."""
    synthesis = network(channels=(64, 64, 64))
    sizes = []
    for stage in synthesis.stages.values():
        stage.register_forward_hook(lambda m, i, output: sizes.append(output[0].square().mean().sqrt().item()))
    synthesis(torch.randn(4, 3, 8), [descriptors([6, 2, 3, 4])] * 3)
    assert all(0.3 < size < 3 for size in sizes), sizes


def test_every_parameter_gets_a_gradient(descriptors, randomised):
    synthesis = randomised(network())
    sum(level.square().mean() for level in synthesis(torch.randn(2, 3, 8), [descriptors([6, 2])] * 3).levels).backward()
    for name, parameter in synthesis.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any(), name
