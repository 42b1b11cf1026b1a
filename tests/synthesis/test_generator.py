"""The three parts composed: a latent and a prompt to images."""

import pytest
import torch

from t2igan.draws import Draws
from t2igan.style.base import StyleNetwork
from t2igan.style.mapping import MappingConfig
from t2igan.synthesis.base import SynthesisNetwork
from t2igan.synthesis.generator import Generator
from t2igan.synthesis.gigagan import GigaGANSynthesisConfig
from t2igan.text.adapter import AdapterConfig
from t2igan.types import ImagePyramid, Stage, TextDescriptors, TextDims, Tokens


@pytest.fixture(params=["adapter", "no adapter"])
def generator(request, randomised) -> Generator:
    with_adapter = request.param == "adapter"
    adapter = AdapterConfig(depth=1, width=8, head_dim=4).build(TextDims(12, 10)) if with_adapter else None
    sizes = dict(channels=(12, 8), blocks=(1, 1), num_kernels=(1, 2), self_attention=(0, 1), cross_attention=(0, 1), head_dim=4)
    mapper = MappingConfig(z_dim=6, style_dim=8, depth=2, lr_multiplier=1.0).build(8 if with_adapter else 10)
    synthesis = GigaGANSynthesisConfig(**sizes).build(8, 8, 8 if with_adapter else 12)
    return randomised(Generator(adapter, mapper, synthesis)).eval()


def test_a_fake_holds_images_and_the_styles_they_were_made_from(generator, descriptors):
    z = torch.randn(3, 6)
    fake = generator(z, descriptors([6, 2, 3]))
    assert [tuple(level.shape) for level in fake.pyramid.levels] == [(3, 3, 8, 8), (3, 3, 4, 4)]
    assert fake.styles.shape == (3, 2, 8)
    text = generator.adapt(descriptors([6, 2, 3]))
    assert torch.equal(generator.synthesize(fake.styles, [text, text]).styles, fake.styles)
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(z, descriptors([6, 2, 3])).pyramid.finest.dtype == torch.float32


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_a_sample_does_not_depend_on_the_others_in_its_batch(truncation, generator, descriptors):
    z, text = torch.randn(3, 6), descriptors([6, 2, 3])
    together = generator(z, text, truncation=truncation).pyramid.finest
    for i in range(3):
        alone = generator(z[i : i + 1], text[i : i + 1], truncation=truncation).pyramid.finest
        assert (alone - together[i : i + 1]).abs().max() < 1e-4 * together.abs().max()


def test_padding_never_changes_an_image(generator, descriptors):
    z, text = torch.randn(2, 6), descriptors([3, 2])
    dirty = text.local.clone()
    dirty[0, 3:], dirty[1, 2:] = 99, -99
    shorter = TextDescriptors(text.local[:, :3], text.pooled, Tokens(text.source.ids[:, :3], text.source.mask[:, :3]))
    expected = generator(z, text).pyramid.finest
    for same in (TextDescriptors(dirty, text.pooled, text.source), shorter):
        assert (generator(z, same).pyramid.finest - expected).abs().max() < 1e-4 * expected.abs().max()


def test_truncation_zero_makes_the_prompts_image_without_the_latent(generator, descriptors):
    text = descriptors([6, 2])
    a, b = (generator(torch.randn(2, 6), text, truncation=0.0) for _ in range(2))
    assert torch.equal(a.pyramid.finest, b.pyramid.finest)
    assert not torch.allclose(a.pyramid.finest[0], a.pyramid.finest[1], rtol=1e-2)
    assert torch.equal(a.styles[:, 0], generator.mapper.conditional_mean(generator.adapt(text)))


def test_prompts_and_latents_both_change_the_image(generator, descriptors):
    z, text = torch.randn(2, 6), descriptors([6, 2])
    image = generator(z, text).pyramid.finest
    assert not torch.allclose(generator(z.flip(0), text).pyramid.finest, image, rtol=1e-2)
    assert not torch.allclose(generator(z, text[[1, 0]]).pyramid.finest, image, rtol=1e-2)


def test_every_parameter_gets_a_gradient(generator, descriptors):
    fake = generator(torch.randn(4, 6), descriptors([6, 2, 3, 4]))
    sum(level.square().mean() for level in fake.pyramid.levels).backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def test_global_truncation_zero_makes_one_image_per_prompt_from_the_mean_style(generator, descriptors):
    text = descriptors([6, 2])
    generator.mapper.measure_mean(generator.adapt(text))
    fake = generator(torch.randn(2, 6), text, global_truncation=0.0)
    assert torch.allclose(fake.styles, generator.mapper.mean_style.expand(2, 2, 8), atol=1e-6)


def test_synthesize_takes_a_style_and_a_text_per_stage(generator, descriptors):
    """What edits do: with one style and text for all stages it equals the generator; another one counts from its stage on."""
    z, text, other = torch.randn(2, 6), descriptors([6, 2]), descriptors([3, 4])
    fake, adapted, other_adapted = generator(z, text), generator.adapt(text), generator.adapt(other)
    again = generator.synthesize(fake.styles, [adapted, adapted])
    assert all(torch.equal(a, b) for a, b in zip(again.pyramid.levels, fake.pyramid.levels, strict=True))
    changed = generator.synthesize(fake.styles, [adapted, other_adapted])
    assert torch.equal(changed.pyramid.levels[1], fake.pyramid.levels[1]), "4 px comes before"
    assert not torch.allclose(changed.pyramid.finest, fake.pyramid.finest, rtol=1e-2)


class RecordingMapper(StyleNetwork):
    """Keeps the draws that it gets."""

    def map(self, z, text):
        return z

    def spread(self, w, num_styles, text, draws):
        self.draws = draws
        return super().spread(w, num_styles, text, draws)


class RecordingSynthesis(SynthesisNetwork):
    """Keeps what it gets; its images are the first style's mean, in half precision."""

    def forward(self, styles, texts, condition=None, draws=None, stage=None):
        self.styles, self.texts, self.condition_given, self.draws, self.stage = styles, texts, condition, draws, stage
        return ImagePyramid((styles[:, 0].mean(1)[:, None, None, None].expand(-1, 3, 8, 8).half(),))


def test_condition_and_draws_reach_the_parts_that_use_them(descriptors):
    mapper, synthesis = RecordingMapper(6, 6), RecordingSynthesis(3, 6)
    generator, text = Generator(None, mapper, synthesis), descriptors([6, 2])
    condition, draws = torch.randn(2, 3, 8, 8), Draws(0, torch.arange(2))
    fake = generator(torch.randn(2, 6), text, condition=condition, draws=draws)
    assert mapper.draws is draws and synthesis.draws is draws and synthesis.condition_given is condition
    assert len(synthesis.texts) == 3 and all(given is text for given in synthesis.texts)
    assert synthesis.styles is fake.styles, "penalties differentiate at the tensors that synthesis used"
    assert fake.pyramid.finest.dtype == torch.float32
    generator(torch.randn(2, 6), text)
    assert mapper.draws is None and synthesis.draws is None and synthesis.condition_given is None and synthesis.stage is None
    generator.stage = Stage(4, 0.5)
    generator(torch.randn(2, 6), text)
    assert synthesis.stage == Stage(4, 0.5), "how far training has grown it"


def test_parts_are_those_that_there_are(generator):
    expected = ["adapter", "mapper", "synthesis"] if generator.adapter is not None else ["mapper", "synthesis"]
    assert list(generator.parts()) == expected
    assert all(getattr(generator, name) is module for name, module in generator.parts().items())
