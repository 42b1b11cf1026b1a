"""A picture to its latent and styles: the search comes closer at each stage, and edits take what it finds."""

import pytest
import torch

from t2igan.data.images import to_pil
from t2igan.errors import UserError
from t2igan.evaluation.networks import load_clip
from t2igan.inference import edit
from t2igan.inference.invert import Inversion, by_clip, by_lpips, descend, invert, pixels
from t2igan.inference.pipeline import Pipeline, StyleCodes

pytest_plugins = ["kit"]
PROMPT = "thing 1"


@pytest.fixture(scope="module")
def pipeline(folder):
    pipeline = Pipeline.load(folder, "cpu")
    pipeline.generator.mapper.mean_style.normal_(generator=torch.Generator().manual_seed(4))
    return pipeline


@pytest.fixture(scope="module")
def picture(pipeline):
    """What styles draw that no latent gives."""
    codes = pipeline.map_prompts([PROMPT], [1000])
    noise = torch.randn(codes.styles.shape, generator=torch.Generator().manual_seed(0))
    return pipeline.synthesize(StyleCodes(codes.styles + 0.5 * noise, codes.texts))[0]


@pytest.fixture(scope="module")
def found(pipeline, picture):
    return invert(pipeline, PROMPT, lambda images: pixels(images, picture), 30, 60)


def test_each_stage_comes_closer(found, picture):
    tried, latent, styles = found.distances.values()
    assert tried > latent > 2 * styles > 0
    assert float(pixels(found.by_styles[None], picture)) == pytest.approx(styles, rel=1e-4)
    assert float(pixels(found.by_latent[None], picture)) == pytest.approx(latent, rel=1e-4)


def test_the_best_of_the_latents_tried_is_the_start(pipeline, picture):
    none = invert(pipeline, PROMPT, lambda images: pixels(images, picture), 0, 0)
    all_tried = pipeline.sample_tensor([PROMPT], range(64))
    assert none.distances["best z tried"] == pytest.approx(float(pixels(all_tried, picture).min()), rel=1e-4)
    assert none.distances["styles"] == pytest.approx(none.distances["best z tried"], rel=1e-4)


def test_it_draws_the_picture_again_from_its_file(found, pipeline, tmp_path):
    found.inversion.save(tmp_path / "cat.safetensors")
    loaded = Inversion.load(tmp_path / "cat.safetensors")
    assert loaded.prompt == PROMPT and torch.equal(loaded.z, found.inversion.z)
    assert torch.allclose(pipeline.synthesize(loaded.codes(pipeline))[0], found.by_styles, atol=1e-5)


def test_edits_take_it_in_place_of_a_prompt(found, pipeline, tmp_path):
    found.inversion.save(tmp_path / "cat.safetensors")
    (row,) = edit.interpolate(pipeline, [f"@{tmp_path / 'cat.safetensors'}", "number 4"], [3], steps=2)
    assert row[0].tobytes() == to_pil(found.by_styles).tobytes()
    assert row[-1].tobytes() == to_pil(pipeline.sample_tensor(["number 4"], [3])[0]).tobytes()
    mixed = edit.prompt_mix(pipeline, f"@{tmp_path / 'cat.safetensors'}", ["number 4"], [3], layer=1)[0]
    assert mixed[0].tobytes() == row[0].tobytes() != mixed[1].tobytes()


def test_style_mixing_takes_coarse_stages_from_it_and_fine_ones_from_its_prompt(found, pipeline, tmp_path):
    found.inversion.save(tmp_path / "cat.safetensors")
    (_, source), (own, mixed) = edit.style_mix(pipeline, f"@{tmp_path / 'cat.safetensors'}", [0], [5], layer=1)
    assert own.tobytes() == to_pil(found.by_styles).tobytes()
    assert source.tobytes() == to_pil(pipeline.sample_tensor([PROMPT], [5])[0]).tobytes()
    expected = edit.mix(found.inversion.codes(pipeline), pipeline.map_prompts([PROMPT], [5]), 1)
    assert mixed.tobytes() == to_pil(pipeline.synthesize(expected)[0]).tobytes() != own.tobytes()


def test_truncation_pulls_it_to_the_means(found, pipeline):
    mapper = pipeline.generator.mapper
    whole, none = found.inversion.codes(pipeline), found.inversion.codes(pipeline, truncation=0.0)
    mean = mapper.conditional_mean(whole.texts[0])
    assert torch.allclose(none.styles, mean[:, None].expand_as(none.styles), atol=1e-5)
    half = found.inversion.codes(pipeline, truncation=0.5)
    assert torch.allclose(half.styles, (whole.styles + none.styles) / 2, atol=1e-5)
    of_all = found.inversion.codes(pipeline, global_truncation=0.0)
    assert torch.allclose(of_all.styles, mapper.mean_style.expand_as(of_all.styles), atol=1e-5)


def test_truncation_leaves_the_stages_that_it_leaves_for_a_prompt(found, pipeline, monkeypatch):
    monkeypatch.setattr(pipeline.generator.mapper, "truncated_styles", 1)
    whole, half = found.inversion.codes(pipeline), found.inversion.codes(pipeline, 0.5, 0.5)
    assert torch.equal(whole.styles[:, 1:], half.styles[:, 1:]) and not torch.allclose(whole.styles[:, 0], half.styles[:, 0])


def test_a_model_without_a_mean_style_is_refused(found, folder):
    with pytest.raises(UserError, match="no mean style to truncate to"):
        found.inversion.codes(Pipeline.load(folder, "cpu"), global_truncation=0.5)


def test_another_models_is_refused(found, pipeline):
    other = Inversion(PROMPT, found.inversion.z, found.inversion.styles[:1])
    with pytest.raises(UserError, match="invert it again"):
        other.codes(pipeline)


@pytest.mark.parametrize("content", [None, b"", b"not a file of tensors"])
def test_what_is_no_inversion_is_one_line(content, tmp_path):
    if content is not None:
        (tmp_path / "cat.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="holds no inverted picture"):
        Inversion.load(tmp_path / "cat.safetensors")


def test_descent_keeps_the_least_loss_that_it_met():
    """From the minimum, every step of this rate is worse."""
    at = descend(torch.zeros(1), lambda x: x.square(), 1.0, 5, "x")
    assert at.item() == 0
    assert descend(torch.ones(1), lambda x: x.square(), 0.2, 60, "x").abs().item() < 0.05


@pytest.mark.parametrize("kind", ["lpips", "clip"])
def test_the_features_distance_is_zero_for_the_picture_and_has_a_gradient(kind, kit, picture):
    if kind == "lpips":
        picture = torch.nn.functional.interpolate(picture[None], 32)[0]
        distance = by_lpips(picture, kit.vgg, kit.heads)
    else:
        distance = by_clip(picture, load_clip(f"local-dir:{kit.clip}", torch.device("cpu"), None))
    assert float(distance(picture[None])) == pytest.approx(0, abs=1e-5)
    other = (picture[None] + 0.3).requires_grad_(True)
    (gradient,) = torch.autograd.grad(distance(other).sum(), [other])
    assert distance(other).sum().item() > 0.01 and gradient.abs().sum() > 0
