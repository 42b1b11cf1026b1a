"""The learned text layers: which states count, and that padding never does."""

import pytest
import torch

from t2igan.text.adapter import AdapterConfig, TextAdapter
from t2igan.types import TextDescriptors, Tokens

CONFIGS = [AdapterConfig(depth=2, head_dim=4, summary=s, width=w) for s in ("end", "pooled") for w in (None, 8)]


def adapter(config, randomised):
    return randomised(TextAdapter(config, token_dim=12, text_dim=10)).double()


@pytest.mark.parametrize("config", CONFIGS)
def test_shapes_and_width(config, descriptors, randomised):
    text = descriptors([6, 2], dtype=torch.float64)
    learned = adapter(config, randomised)(text)
    width = config.width or 12
    assert (learned.local.shape, learned.pooled.shape) == ((2, 6, width), (2, width))
    assert learned.source is text.source


@pytest.mark.parametrize("config", CONFIGS)
def test_what_stands_after_the_true_end_changes_nothing(config, descriptors, randomised):
    layers, text = adapter(config, randomised), descriptors([6, 2, 4], dtype=torch.float64)
    before = layers(text)
    dirty = text.local.clone()
    dirty[~text.source.mask] = 50 * torch.randn_like(dirty[~text.source.mask])
    after = layers(TextDescriptors(dirty, text.pooled, text.source))
    assert (after.pooled - before.pooled).abs().max() < 1e-12
    assert (after.local - before.local)[text.source.mask].abs().max() < 1e-12
    touched = text.local.clone()
    touched[1, 1] += 1  # the last true token of the second text
    changed = layers(TextDescriptors(touched, text.pooled, text.source))
    assert (changed.pooled - before.pooled)[1].abs().max() > 1e-3
    assert (changed.pooled - before.pooled)[[0, 2]].abs().max() < 1e-12


@pytest.mark.parametrize("config", CONFIGS)
def test_the_amount_of_padding_changes_nothing(config, descriptors, randomised):
    layers, text = adapter(config, randomised), descriptors([2, 3], dtype=torch.float64)
    short = TextDescriptors(text.local[:, :3], text.pooled, Tokens(text.source.ids[:, :3], text.source.mask[:, :3]))
    assert (layers(text).pooled - layers(short).pooled).abs().max() < 1e-12


def test_the_global_descriptor_is_the_state_at_the_true_end(descriptors, randomised):
    text = descriptors([6, 2, 4], dtype=torch.float64)
    learned = adapter(AdapterConfig(depth=2, head_dim=4), randomised)(text)
    assert torch.equal(learned.pooled, learned.local[[0, 1, 2], [5, 1, 3]])


def test_only_the_pooled_summary_hears_the_towers_pooled_vector(descriptors, randomised):
    text = descriptors([6, 2], dtype=torch.float64)
    other = TextDescriptors(text.local, text.pooled + torch.randn_like(text.pooled), text.source)
    for summary, hears in (("end", False), ("pooled", True)):
        layers = adapter(AdapterConfig(depth=1, head_dim=4, summary=summary), randomised)
        assert torch.equal(layers(text).pooled, layers(other).pooled) != hears


def test_at_initialisation_the_layers_hand_on_the_towers_states(descriptors):
    """Residual branches start at zero, so T starts as a normalisation of what the frozen tower says."""
    text = descriptors([6, 2])
    learned = TextAdapter(AdapterConfig(depth=3, head_dim=4), 12, 10)(text)
    expected = text.local / text.local.square().mean(-1, keepdim=True).sqrt()
    assert torch.allclose(learned.local, expected, atol=1e-5)


def test_one_prompt_does_not_reach_another(descriptors, randomised):
    layers, text = adapter(CONFIGS[0], randomised), descriptors([6, 2, 4], dtype=torch.float64)
    assert (layers(text).pooled[1:2] - layers(text[1:2]).pooled).abs().max() < 1e-12
