"""Heads on a frozen CLIP beside the system's own discriminator."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import write_clip

from t2igan.discriminator.ensemble import VisionAidedConfig, VisionAidedDiscriminator
from t2igan.discriminator.gigagan import GigaGANDiscriminator, GigaGANDiscriminatorConfig
from t2igan.errors import UserError
from t2igan.pyramid import build_pyramid

OWN = GigaGANDiscriminatorConfig(
    channels=(8, 8, 8), blocks=(0, 1, 1), self_attention=(0, 1, 0), inputs=(16, 8), outputs=(8, 1), input_weights=(1.0, 0.3),
    output_weights=(0.5, 1.0), head_depth=1, head_dim=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("vision") / "clip")


@pytest.fixture
def config(clip):
    return VisionAidedConfig(model=f"local-dir:{clip}", width=32, layers=(0, 1), channels=12, weight=0.7)


@pytest.fixture
def D(config):
    torch.manual_seed(1)
    D = VisionAidedDiscriminator(GigaGANDiscriminator(OWN, None, 10), config, 10)
    D.prepare("cpu")
    return D


def pyramid(n: int):
    return build_pyramid(torch.rand(n, 3, 16, 16) * 2 - 1, (16, 8))


def test_its_verdict_is_the_own_one_and_then_the_heads_with_their_weight(D, descriptors):
    pictures, text = pyramid(3), descriptors([6, 2, 3])
    (verdict,) = D(pictures, text)
    (own,) = D.network(pictures, text)
    heads = len(own.logits)
    assert verdict.own == heads and len(verdict.logits) == heads + 2
    assert all(torch.equal(a, b) for a, b in zip(verdict.logits, own.logits, strict=False))
    assert [tuple(x.shape) for x in verdict.logits[heads:]] == [(3, 4), (3, 4)], "2 x 2 patches of 8 px in 16"
    vision = sum(F.softplus(x).mean(1) for x in verdict.logits[heads:]) / 2
    assert torch.allclose(verdict.mean(F.softplus), own.mean(F.softplus) + 0.7 * vision, atol=1e-6)
    assert torch.equal(verdict.own_heads().mean(F.softplus), own.mean(F.softplus))


def test_several_captions_share_the_towers_maps(D, descriptors):
    pictures, text = pyramid(3), descriptors([6, 2, 3])
    own, other = torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])
    first, second = D(pictures, text, own, other)
    (alone,) = D(pictures, text[other])
    assert torch.allclose(second.logits[-1], alone.logits[-1], atol=1e-6)
    assert not torch.allclose(first.logits[-1], second.logits[-1], rtol=1e-2), "the heads hear the caption"


def test_the_tower_is_frozen_and_in_no_checkpoint(D, descriptors):
    names = set(D.state_dict())
    assert not any("clip" in name or "tower" in name for name in names)
    assert {f"heads.{i}.projection" for i in (0, 1)} <= names, "the random projections are kept: weights are of no use without them"
    assert not any("projection" in name for name, _ in D.named_parameters())
    pictures = pyramid(2).map(lambda level: level.requires_grad_(True))
    D(pictures, descriptors([6, 2]))[0].mean(F.softplus).sum().backward()
    assert all(p.grad is not None and p.grad.any() for name, p in D.heads.named_parameters())
    assert not any(p.requires_grad for p in D.tower[0].parameters())
    assert pictures.finest.grad.any(), "G learns through the frozen tower"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 64}, r"vision_aided.width is 64, .* has 32; write that"),
        ({"layers": (0, 2)}, "has 2 layers, 0 to 1, not 2"),
        ({"model": "local-dir:nowhere"}, "nowhere"),
    ],
)
def test_a_tower_that_does_not_fit_is_refused(options, said, config):
    with pytest.raises(UserError, match=said):
        VisionAidedDiscriminator(GigaGANDiscriminator(OWN, None, 10), replace(config, **options), 10).prepare("cpu")


@pytest.mark.parametrize(
    ("options", "said"), [({"layers": (1, 0)}, "layers is"), ({"layers": ()}, "layers is"), ({"channels": 0}, "channels is 0")]
)
def test_impossible_sizes_are_refused(options, said, config):
    with pytest.raises(ValueError, match=said):
        replace(config, **options).check(16)
