"""StyleGAN-T as a system: published sizes, what it is at initialisation, styles of second order."""

import math

import pytest
import torch
import torch.nn.functional as F

from t2igan.draws import Draws
from t2igan.style.stylegan_t import StyleGANTMappingConfig
from t2igan.synthesis.stylegan_t import ResidualLayer, SecondOrderStyle, StyleGANTSynthesisConfig
from t2igan.types import CheckContext

FULL = StyleGANTSynthesisConfig(channel_base=65536, channel_max=2048, blocks=3)
LITE = StyleGANTSynthesisConfig(channel_base=32768, channel_max=512, blocks=2)
PUBLISHED = [
    (FULL, {64: 975_547_691, 256: 1_016_428_351, 512: 1_020_489_289}),
    (LITE, {64: 74_548_515, 256: 85_694_899, 512: 87_036_539}),
]
W = 64 + 768


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("config", "sizes"), PUBLISHED, ids=["full", "lite"])
def test_synthesis_has_the_releases_parameters(config, sizes):
    with torch.device("meta"):
        assert {resolution: count(config.build(resolution, W, 768)) for resolution in sizes} == sizes


def test_the_mapping_network_has_the_releases_parameters_and_text_goes_around_it(descriptors):
    network, text = StyleGANTMappingConfig().build(768), descriptors([2, 2], text_dim=768)
    assert count(network) == 8_320 and network.style_dim == W
    z = torch.randn(2, 64)
    w = network.map(z, text)
    assert w[:, 64:].equal(text.pooled)
    assert torch.allclose(network.map(3 * z, text), w, atol=1e-5), "the length of z does not matter"
    x = z / z.square().mean(1, keepdim=True).add(1e-8).sqrt()
    first, second = network.layers
    x = F.leaky_relu(x @ first.weight.T * 0.01 / 8 + first.bias * 0.01, 0.2) * 2**0.5
    assert torch.allclose(w[:, :64], x @ second.weight.T * 0.01 / 8 + second.bias * 0.01, atol=1e-5), "the last layer is linear"
    assert StyleGANTMappingConfig(text_scale=3.0).build(768).map(z, text)[:, 64:].equal(3 * text.pooled)


def test_truncation_leaves_the_text(descriptors):
    network, text, z = StyleGANTMappingConfig().build(10), descriptors([2, 2]), torch.randn(2, 64)
    pulled = network(z, text, 1, truncation=0.0)[:, 0]
    assert torch.allclose(pulled[:, 64:], text.pooled, atol=1e-6)
    assert torch.allclose(pulled[0, :64], pulled[1, :64], atol=1e-6), "one mean for all prompts"


# ---------------------------------------------------------------------------------------------------- synthesis


def small(resolution=32, **options):
    return StyleGANTSynthesisConfig(**{"channel_base": 128, "channel_max": 16, "blocks": 2, "groups": 4} | options).build(resolution, 6, 0)


def test_a_style_of_second_order_is_two_at_initialisation():
    style = SecondOrderStyle(6, 4)
    with torch.no_grad():
        style.linear.weight.zero_()
    assert style(torch.randn(3, 6)).eq(2).all()
    with torch.no_grad():
        style.linear.weight.normal_()
    x = torch.randn(3, 6)
    first, second, third = (x @ style.linear.weight.T / 6**0.5 + 1).chunk(3, dim=1)
    assert torch.allclose(style(x), first * second + third, atol=1e-5)


def test_a_residual_layer_is_its_normalised_input_at_initialisation():
    layer, x = ResidualLayer(8, 6, 16, StyleGANTSynthesisConfig(groups=4)), 3 * torch.randn(2, 8, 16, 16) + 1
    y = layer(x, torch.randn(2, 6), None, math.sqrt(0.5))
    assert torch.allclose(y, math.sqrt(2) * F.group_norm(x, 4), atol=1e-4)


def test_every_convolution_has_a_style_and_images_share_the_next_stages():
    network, seen = small(), []

    def note(module, inputs):
        seen.append(int(inputs[1][0, 0]))

    for stage in network.stages:
        convs = [layer.conv if hasattr(layer, "conv") else layer.layer.conv for layer in stage.layers]
        for conv in ([] if stage.up is None else [stage.up.conv]) + convs + [stage.to_rgb]:
            conv.register_forward_pre_hook(note)
    network.stages[0].input.register_forward_pre_hook(lambda module, inputs: seen.append(int(inputs[0][0, 0])))
    styles = torch.arange(16.0)[None, :, None].expand(2, 16, 6)
    network(styles, [])
    assert network.num_styles == 3 * 5 + 1
    assert seen == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15]


def test_every_parameter_trains_and_recomputing_changes_nothing(randomised):
    network, styles, draws = randomised(small()), torch.randn(2, 16, 6), Draws(0, torch.arange(2))
    network(styles, [], draws=draws).finest.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    again = small(activation_checkpointing=True)
    again.load_state_dict(network.state_dict())
    again(styles, [], draws=draws).finest.square().sum().backward()
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-4 * float(one.grad.abs().max()))


def test_noise_is_new_for_every_image_of_training_and_fixed_outside(randomised):
    network, styles = randomised(small()), torch.randn(2, 16, 6)
    assert network(styles, []).finest.equal(network(styles, []).finest)
    one, other = (network(styles, [], draws=Draws(0, torch.arange(first, first + 2))).finest for first in (0, 5))
    assert not torch.allclose(one, other, atol=1e-3)


def test_channels_that_make_no_groups_are_refused():
    with pytest.raises(ValueError, match="groups is 32, and the stage of 16 px has 48 channels; choose a divisor"):
        StyleGANTSynthesisConfig(channel_base=768, channel_max=64).check(CheckContext(32, (32,)))
    assert StyleGANTSynthesisConfig().check(CheckContext(512, (512,))) is None
