"""The learned text layers: which states count, and that padding never does."""

from dataclasses import replace

import pytest
import torch

from t2igan.text.adapter import AdapterConfig, TextAdapter
from t2igan.text.projection import ProjectionConfig
from t2igan.types import CheckContext, TextDescriptors, TextDims, Tokens

CONFIGS = [AdapterConfig(depth=2, head_dim=4, pooling=p, width=w) for p in ("eos", "pooled") for w in (None, 8)]


DIMS = TextDims(token=12, pooled=10)


def adapter(config, randomised, num_clusters=0) -> TextAdapter:
    return randomised(config.build(DIMS, num_clusters)).double()


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


def test_only_pooling_pooled_reads_the_towers_pooled_vector(descriptors, randomised):
    text = descriptors([6, 2], dtype=torch.float64)
    other = TextDescriptors(text.local, text.pooled + torch.randn_like(text.pooled), text.source)
    for pooling, reads in (("eos", False), ("pooled", True)):
        layers = adapter(AdapterConfig(depth=1, head_dim=4, pooling=pooling), randomised)
        assert torch.equal(layers(text).pooled, layers(other).pooled) != reads


def test_at_initialisation_the_layers_pass_on_the_towers_states(descriptors):
    """Residual branches start at zero, so T starts as a normalisation of the frozen tower's states."""
    text = descriptors([6, 2])
    learned = AdapterConfig(depth=3, head_dim=4).build(DIMS)(text)
    expected = text.local / text.local.square().mean(-1, keepdim=True).sqrt()
    assert torch.allclose(learned.local, expected, atol=1e-5)


def test_one_prompt_does_not_reach_another(descriptors, randomised):
    layers, text = adapter(CONFIGS[0], randomised), descriptors([6, 2, 4], dtype=torch.float64)
    assert (layers(text).pooled[1:2] - layers(text[1:2]).pooled).abs().max() < 1e-12


@pytest.mark.parametrize("config", CONFIGS)
def test_a_cluster_labels_vector_is_added_to_the_global_descriptor(config, descriptors, randomised):
    layers, text = adapter(config, randomised, num_clusters=2), descriptors([6, 2, 4], dtype=torch.float64)
    labels = torch.tensor([2, 0, 1])
    learned = layers(replace(text, cluster=labels))
    plain = adapter(config, randomised)
    plain.load_state_dict({name: value for name, value in layers.state_dict().items() if not name.startswith("cluster")})
    expected = plain(text)
    assert layers.cluster.weight.shape == (3, layers.width), "one vector per label and one for images without"
    assert torch.equal(learned.pooled, expected.pooled + layers.cluster.weight[labels])
    assert torch.equal(learned.local, expected.local)
    assert torch.equal(learned.cluster, labels)


def test_without_clusters_a_label_changes_nothing(descriptors, randomised):
    layers, text = adapter(CONFIGS[0], randomised), descriptors([6, 2], dtype=torch.float64)
    labelled = replace(text, cluster=torch.tensor([1, 2]))
    assert torch.equal(layers(labelled).pooled, layers(text).pooled)


@pytest.mark.parametrize(
    ("options", "token_dim", "said"),
    [
        ({"width": 24, "head_dim": 16}, 32, "width is 24, needs a multiple of head_dim 16"),
        ({"head_dim": 24}, 32, "head_dim is 24, needs a divisor of token_dim 32"),
        ({}, 0, "depth: the system has no text"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(options, token_dim, said):
    AdapterConfig(head_dim=16).check(CheckContext(16, (16,), 32))
    with pytest.raises(ValueError, match=said):
        AdapterConfig(**options).check(CheckContext(16, (16,), token_dim))


def test_a_projections_embedding_takes_the_pooled_vectors_place(descriptors, randomised):
    """It is of the true tokens' mean; the vector that the tower pools is not read."""
    config = AdapterConfig(depth=1, head_dim=4, pooling="pooled", projection=ProjectionConfig("local-dir:guide", (7, 5)))
    layers, text = adapter(config, randomised), descriptors([6, 2], dtype=torch.float64)
    assert layers.from_pooled.weight.shape[1] == 5
    other = TextDescriptors(text.local, text.pooled + 1, text.source)
    assert torch.equal(layers(text).pooled, layers(other).pooled)
    dirty = text.local.clone()
    dirty[~text.source.mask] += 1
    assert torch.equal(layers.projection(TextDescriptors(dirty, text.pooled, text.source)), layers.projection(text))
    shorter = layers.projection(text[1:2])
    assert torch.allclose(shorter, layers.projection.proj(text.local[1:2, :2].mean(1)))


def test_without_a_reader_of_tokens_there_is_no_layer_for_them(descriptors, randomised):
    """D's adapter at depth 0: the global descriptor is that of an adapter whose tokens are read."""
    config, text = AdapterConfig(depth=0, width=8, pooling="pooled"), descriptors([6, 2], dtype=torch.float64)
    both = randomised(config.build(DIMS)).double()
    alone = config.build(DIMS, local=False).double()
    missing = alone.load_state_dict(both.state_dict(), strict=False)
    assert not missing.missing_keys and all(name.startswith("in_proj.") for name in missing.unexpected_keys) and missing.unexpected_keys
    assert torch.equal(alone(text).pooled, both(text).pooled)
    assert AdapterConfig(depth=0, width=8, pooling="eos").build(DIMS, local=False).in_proj is not None
    assert AdapterConfig(depth=1, width=8, head_dim=4, pooling="pooled").build(DIMS, local=False).in_proj is not None


@pytest.mark.parametrize(("changes", "reason"), [({"pooling": "eos"}, "set pooling to pooled"), ({"widths": ()}, "needs one or two")])
def test_a_projection_that_nothing_could_read_is_refused(changes, reason):
    projection = ProjectionConfig("local-dir:guide", changes.pop("widths", (7, 5)))
    config = AdapterConfig(head_dim=4, **{"pooling": "pooled"} | changes, projection=projection)
    with pytest.raises(ValueError, match=reason):
        config.check(CheckContext(64, (64,), token_dim=12))
