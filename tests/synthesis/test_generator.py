"""The three parts composed: a latent and a prompt to pictures."""

import pytest
import torch

from t2igan.style.mapping import MappingConfig, MappingNetwork
from t2igan.synthesis.generator import Generator
from t2igan.synthesis.gigagan import GigaGANSynthesis, GigaGANSynthesisConfig
from t2igan.text.adapter import AdapterConfig, TextAdapter
from t2igan.types import TextDescriptors, Tokens


@pytest.fixture(params=["adapter", "no adapter"])
def generator(request, randomised) -> Generator:
    with_adapter = request.param == "adapter"
    adapter = TextAdapter(AdapterConfig(depth=1, width=8, head_dim=4), 12, 10) if with_adapter else None
    sizes = dict(channels=(12, 8), blocks=(1, 1), kernels=(1, 2), self_attention=(0, 1), cross_attention=(0, 1), head_dim=4)
    mapper = MappingNetwork(MappingConfig(z_dim=6, style_dim=8, depth=2, lr_multiplier=1.0), 8 if with_adapter else 10)
    return randomised(Generator(adapter, mapper, GigaGANSynthesis(GigaGANSynthesisConfig(**sizes), 8, 8 if with_adapter else 12))).eval()


def test_a_fake_holds_pictures_and_what_they_were_drawn_from(generator, descriptors):
    z = torch.randn(3, 6)
    fake = generator(z, descriptors([6, 2, 3]))
    assert [tuple(level.shape) for level in fake.pyramid.levels] == [(3, 3, 8, 8), (3, 3, 4, 4)]
    assert fake.styles.shape == (3, 2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(z, descriptors([6, 2, 3])).pyramid.finest.dtype == torch.float32


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_a_sample_does_not_depend_on_the_others_in_its_batch(truncation, generator, descriptors):
    z, text = torch.randn(3, 6), descriptors([6, 2, 3])
    together = generator(z, text, truncation=truncation).pyramid.finest
    for i in range(3):
        alone = generator(z[i : i + 1], text[i : i + 1], truncation=truncation).pyramid.finest
        assert (alone - together[i : i + 1]).abs().max() < 1e-4 * together.abs().max()


def test_padding_never_changes_a_picture(generator, descriptors):
    z, text = torch.randn(2, 6), descriptors([3, 2])
    dirty = text.local.clone()
    dirty[0, 3:], dirty[1, 2:] = 99, -99
    shorter = TextDescriptors(text.local[:, :3], text.pooled, Tokens(text.source.ids[:, :3], text.source.mask[:, :3]))
    expected = generator(z, text).pyramid.finest
    for same in (TextDescriptors(dirty, text.pooled, text.source), shorter):
        assert (generator(z, same).pyramid.finest - expected).abs().max() < 1e-4 * expected.abs().max()


def test_truncation_zero_draws_the_prompt_without_the_latent(generator, descriptors):
    text = descriptors([6, 2])
    a, b = (generator(torch.randn(2, 6), text, truncation=0.0) for _ in range(2))
    assert torch.equal(a.pyramid.finest, b.pyramid.finest)
    assert not torch.allclose(a.pyramid.finest[0], a.pyramid.finest[1], rtol=1e-2)
    heard = text if generator.adapter is None else generator.adapter(text)
    assert torch.equal(a.styles[:, 0], generator.mapper.conditional_mean(heard))


def test_prompts_and_latents_both_change_the_picture(generator, descriptors):
    z, text = torch.randn(2, 6), descriptors([6, 2])
    picture = generator(z, text).pyramid.finest
    assert not torch.allclose(generator(z.flip(0), text).pyramid.finest, picture, rtol=1e-2)
    assert not torch.allclose(generator(z, text[[1, 0]]).pyramid.finest, picture, rtol=1e-2)


def test_every_parameter_gets_a_gradient(generator, descriptors):
    fake = generator(torch.randn(4, 6), descriptors([6, 2, 3, 4]))
    sum(level.square().mean() for level in fake.pyramid.levels).backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any(), name
