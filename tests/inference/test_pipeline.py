"""Prompts and seeds to pictures: what a picture depends on, and a model's way to disk and back."""

import json

import numpy as np
import pytest
import torch
from tiny import tiny_recipe

from t2igan.config import Recipe, parse
from t2igan.errors import UserError
from t2igan.inference.pipeline import Pipeline, save_model
from t2igan.system import build_system

pytest_plugins = ["kit"]
PROMPTS = ["thing 1", "number 4", "a longer prompt, 2"]
SEEDS = [0, 1, 5, 7]
ROUNDING = 1e-5  # of pictures in [-1, 1]: sums in another order, nothing that a byte would show


@pytest.fixture(scope="module")
def recipe(kit):
    return parse(Recipe, tiny_recipe(kit, guided=False), "")


@pytest.fixture(scope="module")
def generator(recipe):
    torch.manual_seed(4)
    generator = build_system(recipe).generator
    with torch.no_grad():
        for parameter in generator.parameters():  # away from the zeros of initialisation, so that everything has a say
            parameter.add_(0.3 * torch.randn_like(parameter))
    return generator


@pytest.fixture(scope="module")
def folder(generator, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_model(folder / "model", generator, recipe, {"images_seen": 12})
    return folder


@pytest.fixture(scope="module")
def pipeline(folder):
    return Pipeline.load(folder)


@pytest.fixture(scope="module")
def images(pipeline):
    return pipeline.images(PROMPTS, SEEDS).unflatten(0, (len(PROMPTS), len(SEEDS)))


@pytest.mark.slow
def test_a_compiled_pipeline_draws_the_same_pictures(folder, images):
    """Half a minute of compiling."""
    compiled = Pipeline.load(folder)
    compiled.compile()
    for _ in range(2):
        assert (compiled.images(PROMPTS, SEEDS).view_as(images) - images).abs().max() < 1e-4


# ------------------------------------------------------------------------------------------------ what a picture depends on


def test_pictures_differ_by_prompt_and_by_seed(images):
    assert images.shape == (3, 4, 3, 16, 16) and images.isfinite().all()
    flat = images.flatten(0, 1).flatten(1)
    distances = torch.cdist(flat, flat)
    assert distances[~torch.eye(len(flat), dtype=torch.bool)].min() > 1e-2


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_a_picture_does_not_depend_on_the_batch_size(batch, pipeline, images):
    again = pipeline.images(PROMPTS, SEEDS, batch=batch).view_as(images)
    assert (again - images).abs().max() < ROUNDING


def test_a_picture_does_not_depend_on_its_company(pipeline, images):
    for p, prompt in enumerate(PROMPTS):
        for s, seed in enumerate(SEEDS):
            assert (pipeline.images([prompt], [seed])[0] - images[p, s]).abs().max() < ROUNDING


def test_a_picture_does_not_depend_on_the_order(pipeline, images):
    turned = pipeline.images(PROMPTS[::-1], SEEDS[::-1], batch=5).view_as(images).flip(0, 1)
    assert (turned - images).abs().max() < ROUNDING


def test_a_picture_does_not_depend_on_the_global_random_state(pipeline, images):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(pipeline.images(PROMPTS, SEEDS).view_as(images), images)
    assert torch.equal(torch.get_rng_state(), before), "nor does drawing it move that state"


def test_pil_pictures_are_the_rounded_images_prompt_by_prompt(pipeline, images):
    rows = pipeline(PROMPTS, SEEDS)
    assert [len(row) for row in rows] == [4, 4, 4]
    expected = ((images[2, 1].clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(rows[2][1], np.float32) - expected).max() == 0


# ------------------------------------------------------------------------------------------------ truncation


def test_truncation_zero_makes_all_seeds_equal_but_not_all_prompts(pipeline):
    mean = pipeline.images(PROMPTS, SEEDS, truncation=0.0).unflatten(0, (3, 4))
    assert (mean - mean[:, :1]).abs().max() < ROUNDING
    assert (mean[0, 0] - mean[1, 0]).abs().max() > 1e-2


def test_truncation_moves_styles_along_the_line_to_the_prompts_mean(pipeline):
    text = pipeline.describe(PROMPTS)
    text = pipeline.generator.adapter(text)
    z = torch.stack([pipeline.latent(seed) for seed in SEEDS[:3]])
    whole, half, mean = (pipeline.generator.mapper(z, text, truncation) for truncation in (1.0, 0.5, 0.0))
    assert torch.allclose(half, (whole + mean) / 2, atol=1e-6) and not torch.allclose(half, whole, atol=1e-3)


def test_truncated_pictures_do_not_depend_on_their_company_either(pipeline):
    whole = pipeline.images(PROMPTS, SEEDS, truncation=0.6)
    assert (pipeline.images([PROMPTS[1]], [SEEDS[2]], truncation=0.6)[0] - whole[6]).abs().max() < ROUNDING


# ------------------------------------------------------------------------------------------------ to disk and back


def test_a_loaded_model_draws_the_same_pictures(generator, pipeline, images):
    original = Pipeline(generator.eval(), pipeline.describe, 16)
    assert (original.images(PROMPTS, SEEDS).view_as(images) - images).abs().max() < ROUNDING


def test_run_folder_and_model_folder_load_alike(folder, images):
    inside = Pipeline.load(folder / "model")
    assert torch.equal(inside.images(PROMPTS, SEEDS).view_as(images), images) and inside.resolution == 16


def test_the_folder_holds_config_weights_and_card_and_no_pickle(folder):
    assert sorted(path.name for path in (folder / "model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["name"] == "tiny" and config["resolution"] == 16 and config["text"]["kind"] == "transformers"
    card = (folder / "model" / "README.md").read_text()
    assert "images_seen: 12" in card and "t2igan sample" in card


def test_a_loaded_model_does_not_train(pipeline):
    assert not pipeline.generator.training and not any(p.requires_grad for p in pipeline.generator.parameters())


def test_saving_again_replaces_the_model(generator, recipe, tmp_path):
    for seen in (1, 2):
        save_model(tmp_path / "model", generator, recipe, {"images_seen": seen})
    assert "images_seen: 2" in (tmp_path / "model" / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("prompts", [[""], ["thing 1", "  "], ["\n"]])
def test_an_empty_prompt_is_refused_by_its_number(prompts, pipeline):
    with pytest.raises(UserError, match=f"prompt {len(prompts)} of {len(prompts)} is empty; say what to draw"):
        pipeline(prompts)


def test_no_prompt_and_no_seed_are_refused(pipeline):
    with pytest.raises(UserError, match="no prompt given"):
        pipeline([])
    with pytest.raises(UserError, match="no seed given"):
        pipeline(["thing 1"], seeds=[])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"is not a run folder; `t2igan train RECIPE\.yaml --out RUN` makes one"):
            Pipeline.load(folder)


def test_a_run_that_is_not_finished_says_so(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    with pytest.raises(UserError, match="no model yet; let its training finish"):
        Pipeline.load(tmp_path)


def copy_of(folder, tmp_path):
    (tmp_path / "model").mkdir()
    for file in (folder / "model").iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    return tmp_path / "model"


@pytest.mark.parametrize("weights", ["cut", "empty", "missing", "of another model"])
def test_damaged_weights_are_one_clear_error(weights, folder, tmp_path):
    from safetensors.torch import save_file

    model = copy_of(folder, tmp_path)
    file = model / "model.safetensors"
    if weights == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif weights == "empty":
        file.write_bytes(b"")
    elif weights == "missing":
        file.unlink()
    else:
        save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match=r"do not load.*train again or get the folder again") as error:
        Pipeline.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_damaged_config_is_one_clear_error(folder, tmp_path):
    model = copy_of(folder, tmp_path)
    (model / "config.json").write_text('{"name": "tiny"')
    with pytest.raises(UserError, match=r"config\.json is not JSON"):
        Pipeline.load(tmp_path)


def test_a_missing_text_encoder_is_named(folder, tmp_path):
    model = copy_of(folder, tmp_path)
    config = json.loads((model / "config.json").read_text())
    config["text"]["model"] = str(tmp_path / "gone")
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"no text encoder at .*gone") as error:
        Pipeline.load(tmp_path)
    assert "\n" not in str(error.value)
