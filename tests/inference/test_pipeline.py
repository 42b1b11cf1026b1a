"""Prompts and seeds to images: what an image depends on."""

import numpy as np
import pytest
import torch
from tiny import generator_of, tiny_recipe, without_text

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline
from t2igan.recipe import parse

pytest_plugins = ["kit"]
PROMPTS = ["thing 1", "number 4", "a longer prompt, 2"]
SEEDS = [0, 1, 5, 7]
ROUNDING = 1e-5  # of images in [-1, 1]: sums in another order, nothing that a byte would show


@pytest.fixture(scope="module")
def pipeline(folder):
    return Pipeline.load(folder, "cpu")


@pytest.fixture(scope="module")
def images(pipeline):
    return pipeline.sample_tensor(PROMPTS, SEEDS).unflatten(0, (len(PROMPTS), len(SEEDS)))


@pytest.mark.slow
def test_a_compiled_pipeline_makes_the_same_images(folder, images):
    """Half a minute of compiling."""
    compiled = Pipeline.load(folder, "cpu")
    compiled.compile()
    for _ in range(2):
        assert (compiled.sample_tensor(PROMPTS, SEEDS).view_as(images) - images).abs().max() < 1e-4


# ------------------------------------------------------------------------------------------------ what a image depends on


def test_images_differ_by_prompt_and_by_seed(images):
    assert images.shape == (3, 4, 3, 16, 16) and images.isfinite().all()
    flat = images.flatten(0, 1).flatten(1)
    distances = torch.cdist(flat, flat)
    assert distances[~torch.eye(len(flat), dtype=torch.bool)].min() > 1e-2


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_an_image_does_not_depend_on_the_batch_size(batch, pipeline, images):
    again = pipeline.sample_tensor(PROMPTS, SEEDS, batch=batch).view_as(images)
    assert (again - images).abs().max() < ROUNDING


def test_an_image_does_not_depend_on_its_company(pipeline, images):
    for p, prompt in enumerate(PROMPTS):
        for s, seed in enumerate(SEEDS):
            assert (pipeline.sample_tensor([prompt], [seed])[0] - images[p, s]).abs().max() < ROUNDING


def test_an_image_does_not_depend_on_the_order(pipeline, images):
    turned = pipeline.sample_tensor(PROMPTS[::-1], SEEDS[::-1], batch=5).view_as(images).flip(0, 1)
    assert (turned - images).abs().max() < ROUNDING


def test_an_image_does_not_depend_on_the_global_random_state(pipeline, images):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(pipeline.sample_tensor(PROMPTS, SEEDS).view_as(images), images)
    assert torch.equal(torch.get_rng_state(), before), "nor does sampling change that state"


def test_pil_images_are_the_rounded_images_prompt_by_prompt(pipeline, images):
    rows = pipeline(PROMPTS, SEEDS)
    assert [len(row) for row in rows] == [4, 4, 4]
    expected = ((images[2, 1].clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(rows[2][1], np.float32) - expected).max() == 0


# ------------------------------------------------------------------------------------------------ truncation


def test_truncation_zero_makes_all_seeds_equal_but_not_all_prompts(pipeline):
    mean = pipeline.sample_tensor(PROMPTS, SEEDS, truncation=0.0).unflatten(0, (3, 4))
    assert (mean - mean[:, :1]).abs().max() < ROUNDING
    assert (mean[0, 0] - mean[1, 0]).abs().max() > 1e-2


def test_truncation_moves_styles_along_the_line_to_the_prompts_mean(pipeline):
    text = pipeline.encode_text(PROMPTS)
    text = pipeline.generator.adapter(text)
    z = torch.stack([pipeline.latent(seed) for seed in SEEDS[:3]])
    whole, half, mean = (pipeline.generator.mapper(z, text, 3, truncation) for truncation in (1.0, 0.5, 0.0))
    assert torch.allclose(half, (whole + mean) / 2, atol=1e-6) and not torch.allclose(half, whole, atol=1e-3)


def test_truncated_images_do_not_depend_on_their_company_either(pipeline):
    whole = pipeline.sample_tensor(PROMPTS, SEEDS, truncation=0.6)
    assert (pipeline.sample_tensor([PROMPTS[1]], [SEEDS[2]], truncation=0.6)[0] - whole[6]).abs().max() < ROUNDING


# ------------------------------------------------------------------------------------------------ without text


@pytest.fixture(scope="module")
def unconditional(kit, randomised, tmp_path_factory):
    recipe = parse(Recipe, without_text(tiny_recipe(kit, guided=False)), "")
    folder = tmp_path_factory.mktemp("unconditional")
    save_model(folder / "model", randomised(generator_of(recipe)), recipe, {})
    assert (
        "t2igan sample" in (folder / "model" / "README.md").read_text() and '"a prompt"' not in (folder / "model" / "README.md").read_text()
    )
    return Pipeline.load(folder, "cpu")


def test_an_unconditional_model_takes_seeds_alone(unconditional, pipeline):
    assert pipeline.conditional and not unconditional.conditional
    images = unconditional.sample_tensor(seeds=SEEDS)
    assert images.shape == (4, 3, 16, 16) and (images[0] - images[1]).abs().max() > 1e-2
    assert torch.equal(unconditional.sample_pairs([""] * 4, SEEDS), images)
    (row,) = unconditional(seeds=SEEDS)
    assert [image.size for image in row] == [(16, 16)] * 4


def test_an_unconditional_model_refuses_a_prompt(unconditional):
    for call in (unconditional, unconditional.sample_tensor, lambda prompts: unconditional.map_prompts(prompts, [0])):
        with pytest.raises(UserError, match="trained without text and takes no prompt, got 'thing 1'"):
            call(["thing 1"])


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("prompts", [[""], ["thing 1", "  "], ["\n"]])
def test_an_empty_prompt_is_refused_by_its_number(prompts, pipeline):
    with pytest.raises(UserError, match=f"prompt {len(prompts)} of {len(prompts)} is empty; describe an image"):
        pipeline(prompts)


def test_no_prompt_and_no_seed_are_refused(pipeline):
    with pytest.raises(UserError, match="no prompt given"):
        pipeline([])
    with pytest.raises(UserError, match="no seed given"):
        pipeline(["thing 1"], seeds=[])


def test_a_preview_is_of_the_prompts_or_else_of_captions(pipeline):
    images, captions = torch.zeros(3, 3, 16, 16), ["a cat", "a dog", "a cat"]
    rows, shown = pipeline.preview(["a bus"], images, captions)
    assert shown == ["a bus"] and len(rows) == 1
    rows, shown = pipeline.preview([], images, captions)
    assert shown == ["a cat", "a dog"] and len(rows) == 2
    drawn = pipeline(["a cat"], range(len(rows[0])))[0]
    assert all(np.array_equal(a, b) for a, b in zip(rows[0], drawn, strict=True))


def test_a_bare_string_is_one_prompt(pipeline, images):
    assert (pipeline.sample_tensor(PROMPTS[0], SEEDS) - images[0]).abs().max() < ROUNDING
    assert [len(row) for row in pipeline(PROMPTS[0], SEEDS)] == [len(SEEDS)]


@pytest.mark.parametrize("prompt, reason", [("\u200b", "prompt 1 of 1 is empty"), ("a \ud83d", "prompt 1 of 1 holds half a character")])
def test_a_prompt_that_shows_nothing_or_is_no_text_is_refused(prompt, reason, pipeline):
    with pytest.raises(UserError, match=reason):
        pipeline(prompt)
