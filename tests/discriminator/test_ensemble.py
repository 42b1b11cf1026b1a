"""Heads on a frozen CLIP beside any discriminator."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import write_clip

from t2igan.discriminator.ensemble import VisionAidedConfig
from t2igan.discriminator.gigagan import GigaGANDiscriminatorConfig
from t2igan.errors import UserError
from t2igan.pyramid import build_pyramid
from t2igan.types import CheckContext, ImageSet, PrepareContext, TextDims, Verdict

NETWORK = GigaGANDiscriminatorConfig(
    channels=(8, 8, 8),
    blocks=(0, 1, 1),
    self_attention=(0, 1, 0),
    inputs=(16, 8),
    outputs=(8, 1),
    input_weights=(1.0, 0.3),
    output_weights=(0.5, 1.0),
    head_depth=1,
    head_dim=4,
    minibatch_std=2,
)
DIMS = TextDims(token=12, pooled=10)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("vision") / "clip")


@pytest.fixture
def config(clip):
    return VisionAidedConfig(network=NETWORK, model=f"local-dir:{clip}", width=32, layers=(0, 1), channels=12, weight=0.7)


@pytest.fixture
def D(config):
    torch.manual_seed(1)
    D = config.build(16, None, DIMS)
    D.prepare(PrepareContext(torch.device("cpu"), list, None))
    return D


def pyramid(n: int):
    return build_pyramid(torch.rand(n, 3, 16, 16) * 2 - 1, (16, 8))


def score(D, images, text, *captions, **options) -> tuple[Verdict, ...]:
    """The verdicts on one set, for each of its caption assignments; by default each image has the caption of its row."""
    ((verdicts),) = D([ImageSet(images, captions or (torch.arange(len(images)),))], text, **options)
    return verdicts


def test_its_verdict_is_the_networks_and_then_the_heads_with_their_weight(D, descriptors):
    images, text = pyramid(4), descriptors([6, 2, 3, 4])
    (verdict,) = score(D, images, text)
    (primary,) = score(D.network, images, text)
    heads = len(primary.logits)
    assert verdict.num_primary == heads and len(verdict.logits) == heads + 2
    assert all(torch.equal(a, b) for a, b in zip(verdict.logits, primary.logits, strict=False))
    assert [tuple(x.shape) for x in verdict.logits[heads:]] == [(4, 4), (4, 4)], "2 x 2 patches of 8 px in 16"
    vision = sum(F.softplus(x).mean(1) for x in verdict.logits[heads:]) / 2
    assert torch.allclose(verdict.mean(F.softplus), primary.mean(F.softplus) + 0.7 * vision, atol=1e-6)
    assert torch.equal(verdict.primary().mean(F.softplus), primary.mean(F.softplus))


def test_several_captions_share_the_towers_maps(D, descriptors):
    images, text = pyramid(4), descriptors([6, 2, 3, 4])
    own, other = torch.tensor([0, 1, 2, 3]), torch.tensor([2, 0, 3, 1])
    first, second = score(D, images, text, own, other)
    (alone,) = score(D, images, text[other])
    assert torch.allclose(second.logits[-1], alone.logits[-1], atol=1e-6)
    assert not torch.allclose(first.logits[-1], second.logits[-1], rtol=1e-2), "the heads depend on the caption"


def test_sets_together_equal_each_set_alone(D, descriptors):
    """A set with one caption assignment beside one with two."""
    text, own, other = descriptors([6, 2, 3, 4]), torch.arange(4), torch.tensor([2, 0, 3, 1])
    sets = [ImageSet(pyramid(4), (own,)), ImageSet(pyramid(4), (own, other)), ImageSet(pyramid(4), (other,))]
    together = D(sets, text)
    assert [len(found) for found in together] == [1, 2, 1]
    for found, images in zip(together, sets, strict=True):
        for a, b in zip(found, D([images], text)[0], strict=True):
            assert a.weights == b.weights and a.num_primary == b.num_primary
            assert all((x - y).abs().max() < 1e-4 * y.abs().max() for x, y in zip(a.logits, b.logits, strict=True))


def test_the_networks_contract_is_passed_on(D, config):
    assert (D.levels, D.batch_multiple) == ((16, 8), 2)
    assert D.without_frozen() is D.network
    assert D.parts() == D.network.parts() | {"vision_aided": D.heads}
    assert config.levels(16) == (16, 8)


def test_a_penalty_of_the_primary_heads_goes_through_the_network_that_is_differentiated_twice(D, descriptors):
    images = pyramid(2).leaves()
    (verdict,) = score(D, images, descriptors([6, 2]), twice_differentiable=True)
    gradients = torch.autograd.grad(verdict.primary().mean(lambda logit: logit).sum(), images.levels, create_graph=True)
    sum(g.square().sum() for g in gradients).backward()
    assert D.network.stages["16"].down.conv2.weight.grad.any()
    assert all(p.grad is None or not p.grad.any() for p in D.heads.parameters())


def test_the_tower_is_frozen_and_in_no_checkpoint(D, descriptors):
    D.train().double().float()
    names = set(D.state_dict())
    assert not any("clip" in name or "tower" in name for name in names)
    assert {f"heads.{i}.projection" for i in (0, 1)} <= names, "the random projections are kept: weights are of no use without them"
    assert not any("projection" in name for name, _ in D.named_parameters())
    images = pyramid(2).leaves()
    score(D, images, descriptors([6, 2]))[0].mean(F.softplus).sum().backward()
    assert all(p.grad is not None and p.grad.any() for name, p in D.heads.named_parameters())
    assert not any(p.requires_grad for p in D.tower.network.parameters()) and not D.tower.network.training
    assert images.finest.grad.any(), "G learns through the frozen tower"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 64}, r"discriminator.network.width is 64, .* has 32; write that"),
        ({"layers": (0, 2)}, "has 2 layers, 0 to 1, not 2"),
        ({"model": "local-dir:nowhere"}, "nowhere"),
    ],
)
def test_a_tower_that_does_not_fit_is_refused(options, said, config):
    with pytest.raises(UserError, match=said):
        replace(config, **options).build(16, None, DIMS).prepare(PrepareContext(torch.device("cpu"), list, None))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": (1, 0)}, "layers is"),
        ({"layers": ()}, "layers is"),
        ({"network": replace(NETWORK, head_dim=3)}, "^network.channels has 8 in a stage with attention"),
    ],
)
def test_impossible_sizes_are_refused(options, said, config):
    context = CheckContext(16, (16, 8, 4))
    config.check(context)
    with pytest.raises(ValueError, match=said):
        replace(config, **options).check(context)
