"""A small image, styles and words to a larger image."""

from dataclasses import replace

import pytest
import torch

from t2igan.draws import Draws
from t2igan.layers.resample import resize_bicubic, upsample
from t2igan.synthesis.gigagan import GigaGANSynthesis, GigaGANSynthesisConfig
from t2igan.synthesis.gigagan_upsampler import GigaGANUpsampler, GigaGANUpsamplerConfig
from t2igan.types import CheckContext

CONFIG = GigaGANUpsamplerConfig(
    low_resolution=16,
    num_downsamples=2,
    channels=(16, 12, 12, 8),
    blocks=(2, 1, 2, 1),
    num_kernels=(1, 2, 3, 1),
    self_attention=(1, 1, 0, 0),
    cross_attention=(1, 0, 1, 0),
    head_dim=4,
    mlp_ratio=2,
)


def network(**options) -> GigaGANUpsampler:
    return replace(CONFIG, **options).build(32, style_dim=8, token_dim=12)


def inputs(descriptors, lengths=(6, 2), height=16, width=16):
    return torch.randn(len(lengths), 4, 8), [descriptors(lengths)] * 4, torch.randn(len(lengths), 3, height, width)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 24)])
def test_images_of_the_inputs_size_and_twice_that_in_single_precision(height, width, descriptors):
    levels = network()(*inputs(descriptors, height=height, width=width)).levels
    assert [tuple(level.shape) for level in levels] == [(2, 3, 2 * height, 2 * width), (2, 3, height, width)]
    with torch.autocast("cpu", torch.bfloat16):
        assert {level.dtype for level in network()(*inputs(descriptors)).levels} == {torch.float32}


def test_it_adds_to_the_small_image(descriptors, randomised):
    synthesis = randomised(network())
    with torch.no_grad():
        for side in ("16", "32"):
            synthesis.stages[side].to_rgb.weight.zero_()
            synthesis.stages[side].rgb_bias.zero_()
    styles, texts, condition = inputs(descriptors)
    large, same = synthesis(styles, texts, condition).levels
    assert torch.equal(same, condition) and torch.equal(large, upsample(condition))


def test_an_image_does_not_depend_on_the_others_in_its_batch(descriptors, randomised):
    synthesis = randomised(network())
    styles, (text, *_), condition = inputs(descriptors, (6, 2, 4))
    together = synthesis(styles, [text] * 4, condition).finest
    for i in range(3):
        alone = synthesis(styles[i : i + 1], [text[i : i + 1]] * 4, condition[i : i + 1]).finest
        assert (alone - together[i : i + 1]).abs().max() < 1e-4 * together.abs().max()


@pytest.mark.parametrize("what", ["style", "words", "condition"])
def test_each_input_changes_the_image(what, descriptors, randomised):
    synthesis = randomised(network())
    styles, texts, condition = inputs(descriptors)
    before = synthesis(styles, texts, condition).finest - upsample(condition)
    changed = {
        "style": lambda: synthesis(styles + 1, texts, condition).finest - upsample(condition),
        "words": lambda: synthesis(styles, [descriptors([6, 2])] * 4, condition).finest - upsample(condition),
        "condition": lambda: synthesis(styles, texts, -condition).finest - upsample(-condition),
    }[what]()
    assert (changed - before).abs().max() > 1e-2 * before.abs().max()


def test_maps_of_the_way_down_join_at_their_own_resolution(descriptors, randomised):
    """The finest detail of the small image reaches the output although the coarsest map is 4 px."""
    synthesis = randomised(network())
    x, skips = synthesis.way_down(torch.randn(2, 3, 16, 16), torch.randn(2, 8))
    assert x.shape == (2, 16, 4, 4) and [tuple(skip.shape) for skip in skips] == [(2, 12, 16, 16), (2, 12, 8, 8)]
    convs = [synthesis.stages[side].blocks[0].conv2.weight.shape[1] for side in ("4", "8", "16", "32")]
    assert convs == [16, 12 + 12, 12 + 12, 8]


@pytest.mark.parametrize("shape", [None, (15, 16), (16, 18)])
def test_a_small_image_that_cannot_be_halved_is_refused(shape, descriptors):
    styles, texts, *_ = inputs(descriptors)
    condition = None if shape is None else torch.randn(2, 3, *shape)
    with pytest.raises(ValueError, match=r"multiples of 4 px, got (none|16 x 15|18 x 16)"):
        network()(styles, texts, condition)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"low_resolution": 24}, "low_resolution is 24, needs a power of two"),
        ({"low_resolution": 32}, "low_resolution is 32, needs a power of two from 8 px to below the resolution 32"),
        ({"num_downsamples": 4}, "num_downsamples is 4, needs stages of 2 px or more"),
        ({"num_kernels": (1, 1, 1)}, r"num_kernels has 3 entries, resolution 32 has 4 stages \(4, 8, 16, 32 px\)"),
        ({"strategy": "dense"}, "strategy is 'dense'"),
        ({"head_dim": 5}, "channels has 16 in a stage with attention"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(options, said):
    context = CheckContext(32, CONFIG.levels(32))
    CONFIG.check(context)
    with pytest.raises(ValueError, match=said):
        replace(CONFIG, **options).check(context)


def test_levels_and_input_follow_from_the_small_images_side():
    assert CONFIG.levels(128) == (128, 64, 32, 16) and CONFIG.input_resolution(128) == 16 and CONFIG.starts_from_image
    synthesis = network()
    assert (synthesis.num_styles, synthesis.low_resolution, synthesis.multiple) == (4, 16, 4)


# ------------------------------------------------------------------------------------------------ what training starts from


def noise_of(synthesis, images, draws):
    return synthesis.condition(images, draws) - resize_bicubic(images, 16)


def test_the_condition_is_the_reduced_image_with_noise_of_a_random_strength():
    """Uniform from 0 to the recipe's standard deviation, for each image anew. Kang et al. 2023, section 3.4."""
    n, noise = 400, 0.2
    images = torch.rand(n, 3, 32, 32) * 2 - 1
    added = noise_of(network(noise=noise), images, Draws(0, torch.arange(n)))
    assert added.shape == (n, 3, 16, 16)
    strengths = added.flatten(1).std(1)
    assert strengths.max() < 1.1 * noise and strengths.min() < 0.02 * noise
    assert abs(strengths.mean().item() - noise / 2) < 5 * noise / (12 * n) ** 0.5
    assert abs(strengths.var().item() - noise**2 / 12) < 0.2 * noise**2 / 12
    unit = added.flatten(1)[strengths > 0.1 * noise] / strengths[strengths > 0.1 * noise, None]
    assert abs(unit.mean().item()) < 5 / unit.numel() ** 0.5 and abs(unit.pow(4).mean().item() - 3) < 0.1, "normal"
    assert torch.equal(network(noise=0.0).condition(images, Draws(0, torch.arange(n))), resize_bicubic(images, 16))


def test_the_condition_is_a_function_of_image_and_draws_for_each_sample():
    synthesis, images, draws = network(), torch.rand(5, 3, 32, 32), Draws(3, torch.arange(5) + 2**41)
    whole = synthesis.condition(images, draws)
    torch.manual_seed(99)
    assert torch.equal(synthesis.condition(images, draws), whole)
    for rows in (slice(0, 2), slice(2, 5), torch.tensor([4, 1])):
        assert torch.allclose(synthesis.condition(images[rows], draws[rows]), whole[rows], atol=1e-6)
    assert not torch.allclose(synthesis.condition(images, draws.scoped("G")), whole, atol=1e-3)
    same = noise_of(synthesis, images.flip(0), draws)
    assert torch.allclose(same, noise_of(synthesis, images, draws), atol=1e-6), "the noise is that of the place, not of the image"


# ------------------------------------------------------------------------------------------------ memory


def base(activation_checkpointing: bool) -> GigaGANSynthesis:
    sizes = dict(channels=(16, 12, 12), blocks=(2, 1, 2), num_kernels=(1, 2, 3), self_attention=(0, 1, 1), cross_attention=(0, 2, 1))
    config = GigaGANSynthesisConfig(**sizes, head_dim=4, mlp_ratio=2, activation_checkpointing=activation_checkpointing)
    return config.build(16, style_dim=8, token_dim=12)


@pytest.mark.parametrize("kind", ["base", "upsampler"])
def test_checkpointed_stages_give_the_same_gradients_and_keep_less(kind, descriptors, randomised):
    stages, condition = (3, None) if kind == "base" else (4, torch.randn(2, 3, 16, 16))
    styles, texts, found, kept = torch.randn(2, stages, 8), [descriptors([6, 2])] * stages, [], []
    for activation_checkpointing in (False, True):
        torch.manual_seed(5)
        options = {"activation_checkpointing": activation_checkpointing}
        synthesis = randomised(base(**options) if kind == "base" else network(**options))
        bytes_kept = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda x, to=bytes_kept: to.append(x.nbytes) or x, lambda x: x)
        with hooks:
            loss = sum(level.square().mean() for level in synthesis(styles, texts, condition).levels)
        kept.append(sum(bytes_kept))
        loss.backward()
        found.append({name: p.grad for name, p in synthesis.named_parameters()})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).abs().max() <= 1e-5 * gradient.abs().max(), name
    assert kept[1] < 0.3 * kept[0]
