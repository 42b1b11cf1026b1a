"""A small picture, styles and words to a larger picture."""

from dataclasses import replace

import pytest
import torch

from t2igan.layers.resample import upsample
from t2igan.synthesis.gigagan import GigaGANSynthesis, GigaGANSynthesisConfig
from t2igan.synthesis.gigagan_upsampler import GigaGANUpsampler, GigaGANUpsamplerConfig

CONFIG = GigaGANUpsamplerConfig(
    low=16, downs=2, channels=(16, 12, 12, 8), blocks=(2, 1, 2, 1), kernels=(1, 2, 3, 1), self_attention=(1, 1, 0, 0),
    cross_attention=(1, 0, 1, 0), head_dim=4, mlp_ratio=2,
)  # fmt: skip


def network(**options) -> GigaGANUpsampler:
    return GigaGANUpsampler(replace(CONFIG, **options), style_dim=8, token_dim=12)


def inputs(descriptors, lengths=(6, 2), height=16, width=16):
    return torch.randn(len(lengths), 4, 8), [descriptors(lengths)] * 4, None, torch.randn(len(lengths), 3, height, width)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 24)])
def test_pictures_of_the_inputs_size_and_twice_that_in_single_precision(height, width, descriptors):
    levels = network()(*inputs(descriptors, height=height, width=width)).levels
    assert [tuple(level.shape) for level in levels] == [(2, 3, 2 * height, 2 * width), (2, 3, height, width)]
    with torch.autocast("cpu", torch.bfloat16):
        assert {level.dtype for level in network()(*inputs(descriptors)).levels} == {torch.float32}


def test_it_adds_to_the_small_picture(descriptors, randomised):
    synthesis = randomised(network())
    with torch.no_grad():
        for side in ("16", "32"):
            synthesis.stages[side].to_rgb.weight.zero_()
            synthesis.stages[side].rgb_bias.zero_()
    *others, low = inputs(descriptors)
    large, same = synthesis(*others, low).levels
    assert torch.equal(same, low) and torch.equal(large, upsample(low))


def test_a_picture_does_not_depend_on_the_others_in_its_batch(descriptors, randomised):
    synthesis = randomised(network())
    styles, (text, *_), _, low = inputs(descriptors, (6, 2, 4))
    together = synthesis(styles, [text] * 4, None, low).finest
    for i in range(3):
        alone = synthesis(styles[i : i + 1], [text[i : i + 1]] * 4, None, low[i : i + 1]).finest
        assert (alone - together[i : i + 1]).abs().max() < 1e-4 * together.abs().max()


@pytest.mark.parametrize("what", ["style", "words", "picture"])
def test_everything_it_is_given_has_a_say(what, descriptors, randomised):
    synthesis = randomised(network())
    styles, texts, _, low = inputs(descriptors)
    before = synthesis(styles, texts, None, low).finest - upsample(low)
    changed = {
        "style": lambda: synthesis(styles + 1, texts, None, low).finest - upsample(low),
        "words": lambda: synthesis(styles, [descriptors([6, 2])] * 4, None, low).finest - upsample(low),
        "picture": lambda: synthesis(styles, texts, None, -low).finest - upsample(-low),
    }[what]()
    assert (changed - before).abs().max() > 1e-2 * before.abs().max()


def test_maps_of_the_way_down_join_at_their_own_resolution(descriptors, randomised):
    """Finest detail of the small picture reaches the output although the coarsest map is 4 px."""
    synthesis = randomised(network())
    x, skips = synthesis.way_down(torch.randn(2, 3, 16, 16), torch.randn(2, 8))
    assert x.shape == (2, 16, 4, 4) and [tuple(skip.shape) for skip in skips] == [(2, 12, 16, 16), (2, 12, 8, 8)]
    convs = [synthesis.stages[side].blocks[0].conv2.weight.shape[1] for side in ("4", "8", "16", "32")]
    assert convs == [16, 12 + 12, 12 + 12, 8]


@pytest.mark.parametrize("shape", [None, (15, 16), (16, 18)])
def test_a_small_picture_that_cannot_be_halved_is_refused(shape, descriptors):
    styles, texts, *_ = inputs(descriptors)
    low = None if shape is None else torch.randn(2, 3, *shape)
    with pytest.raises(ValueError, match=r"multiples of 4 px, got (none|16 x 15|18 x 16)"):
        network()(styles, texts, None, low)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"low": 24}, "low is 24, needs a power of two"),
        ({"low": 32}, "low is 32, needs a power of two from 8 px to below the resolution 32"),
        ({"downs": 0}, "downs is 0, needs at least 1"),
        ({"downs": 4}, "downs is 4, needs at least 1 and stages of 2 px"),
        ({"kernels": (1, 1, 1)}, r"kernels has 3 entries, resolution 32 has 4 stages \(4, 8, 16, 32 px\)"),
        ({"blocks": (1, 0, 1, 1)}, r"blocks is \[1, 0, 1, 1\], needs at least 1"),
        ({"strategy": "dense"}, "strategy is 'dense'"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"head_dim": 5}, "channels has 16 in a stage with attention"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(options, said):
    CONFIG.check(32)
    with pytest.raises(ValueError, match=said):
        replace(CONFIG, **options).check(32)


# ------------------------------------------------------------------------------------------------ memory


def base(activation_checkpointing: bool) -> GigaGANSynthesis:
    sizes = dict(channels=(16, 12, 12), blocks=(2, 1, 2), kernels=(1, 2, 3), self_attention=(0, 1, 1), cross_attention=(0, 2, 1))
    return GigaGANSynthesis(GigaGANSynthesisConfig(**sizes, head_dim=4, mlp_ratio=2, activation_checkpointing=activation_checkpointing), style_dim=8, token_dim=12)


@pytest.mark.parametrize("kind", ["base", "upsampler"])
def test_recomputed_stages_give_the_same_gradients_and_keep_less(kind, descriptors, randomised):
    stages, low = (3, None) if kind == "base" else (4, torch.randn(2, 3, 16, 16))
    styles, texts, found, kept = torch.randn(2, stages, 8), [descriptors([6, 2])] * stages, [], []
    for activation_checkpointing in (False, True):
        torch.manual_seed(5)
        synthesis = randomised(base(activation_checkpointing) if kind == "base" else network(activation_checkpointing=activation_checkpointing))
        bytes_kept = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda x, to=bytes_kept: to.append(x.nbytes) or x, lambda x: x)
        with hooks:
            loss = sum(level.square().mean() for level in synthesis(styles, texts, None, low).levels)
        kept.append(sum(bytes_kept))
        loss.backward()
        found.append({name: p.grad for name, p in synthesis.named_parameters()})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).abs().max() <= 1e-5 * gradient.abs().max(), name
    assert kept[1] < 0.3 * kept[0]
