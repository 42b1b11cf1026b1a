"""What is counted besides time: FLOPs, parameters and memory of a model and of a diffusers pipeline beside it."""

import json
import time

import diffusers
import pytest
import torch
import transformers
from tiny import generator_of, tiny_recipe, write_recipe

from t2igan.commands.show import describe
from t2igan.errors import UserError
from t2igan.evaluation.diffusion import diffusion_model
from t2igan.evaluation.speed import TimedModel, measure_speed, memory_of_call, recipe_models, run_models
from t2igan.inference.model_folder import save_model
from t2igan.recipe import load_recipe

pytest_plugins = ["kit"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory):
    """The configuration files of a small Stable Diffusion pipeline, without weights and without tokenizer."""
    folder = tmp_path_factory.mktemp("diffusion")
    blocks = {"block_out_channels": (32, 64), "layers_per_block": 1}
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    sizes = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "cross_attention_dim": 32}
    diffusers.UNet2DConditionModel(down_block_types=down, up_block_types=up, **sizes, **blocks).save_config(folder / "unet")
    vae = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2, "latent_channels": 4}
    diffusers.AutoencoderKL(**vae, **blocks).save_config(folder / "vae")
    diffusers.EulerDiscreteScheduler(steps_offset=1).save_config(folder / "scheduler")
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "vocab_size": 1000}
    transformers.CLIPTextConfig(hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=2, **ids).save_pretrained(
        folder / "text_encoder"
    )
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def recipe(kit, tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("speed") / "tiny.yaml", tiny_recipe(kit, guided=False))


@pytest.fixture(scope="module")
def rows(recipe):
    """Rows by (name, batch) of the tiny recipe."""
    return measured(recipe_models(str(recipe), CPU), 1, 3)


def measured(models: list[TimedModel], *batches: int) -> dict:
    result = measure_speed(models, batches, 1, CPU)
    return {(row["system"], row["batch"]): row for row in result["rows"]}


def test_models_of_one_name_are_timed_apart():
    def model(seconds):
        return TimedModel("same", 8, 0, 0.0, lambda batch: time.sleep(seconds))

    slow, fast = measure_speed([model(0.2), model(0.0)], [1], 1, CPU)["rows"]
    assert slow["seconds"] >= 0.2 > fast["seconds"]


def test_the_text_encoder_adds_its_work_and_its_weights(rows):
    for batch in (1, 3):
        alone, whole = rows["tiny, text given", batch], rows["tiny with text tower", batch]
        assert whole["parameters"] > alone["parameters"] and whole["gflops"] > 1.05 * alone["gflops"]
        assert alone["seconds"] > 0 and alone["memory_gib"] >= 0 and alone["resolution"] == 16
    assert rows["tiny, text given", 3]["gflops"] == pytest.approx(rows["tiny, text given", 1]["gflops"], rel=0.05)  # per image


def test_flops_are_those_of_the_profile(rows, recipe):
    """In a batch; for a single image, kernels are mixed where a batch mixes maps, which takes less."""
    expected = describe(load_recipe(recipe))["parts"]["generator"]
    single, batch = rows["tiny, text given", 1], rows["tiny, text given", 3]
    assert single["parameters"] == batch["parameters"] == expected["params"]
    assert batch["gflops"] == pytest.approx(expected["gflops_per_image"], rel=0.01)
    assert 0.9 * batch["gflops"] < single["gflops"] < batch["gflops"]


def test_a_run_is_timed_as_its_recipe(rows, recipe, tmp_path):
    config = load_recipe(recipe)
    save_model(tmp_path / "model", generator_of(config), config, {})
    for row in measured(run_models(tmp_path, CPU), 1).values():
        expected = rows[row["system"], 1]
        assert all(row[key] == expected[key] for key in ("resolution", "parameters", "gflops"))


def test_a_pipeline_beside_it_works_as_often_as_it_has_steps(diffusion):
    def row(steps: int, guidance: float = 0.0) -> dict:
        (found,) = measured([diffusion_model(diffusion, steps, guidance, CPU)], 1).values()
        assert found["system"] == f"StableDiffusionPipeline, {steps} step{'s' * (steps > 1)}"
        return found

    one, two, three = row(1), row(2), row(3)
    assert one["resolution"] == 16 and one["parameters"] > 1e6
    assert three["gflops"] - two["gflops"] == pytest.approx(two["gflops"] - one["gflops"], rel=1e-6)
    assert row(1, 7.5)["gflops"] - one["gflops"] > two["gflops"] - one["gflops"]  # a second pass of the network, and of the text encoder


def test_memory_held_by_a_call_is_seen():
    """64 MiB that a call allocates and frees."""
    model = TimedModel("s", 1, 0, 0.0, lambda batch: torch.ones(batch << 24).sum())
    assert memory_of_call(model, 1, CPU) == pytest.approx(1 / 16, rel=0.2)


def test_folders_that_are_no_pipeline_with_one_text_encoder(tmp_path, diffusion):
    with pytest.raises(UserError, match=r"no model_index.json"):
        diffusion_model(tmp_path, 1, 0.0, CPU)
    index = json.loads((diffusion / "model_index.json").read_text())
    for part in ("unet", "scheduler"):
        (tmp_path / part).symlink_to(diffusion / part)
    index = {"_class_name": "DDPMPipeline", "unet": index["unet"], "scheduler": index["scheduler"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="only pipelines with one CLIP text tower"):
        diffusion_model(tmp_path, 1, 0.0, CPU)


def test_the_script(script, recipe, diffusion, tmp_path, capsys):
    words = ["--recipe", recipe, "--beside", diffusion, "--steps", 2, "--rounds", 1, "--bf16", "--out", tmp_path / "new/speed.json"]
    assert script("speed", *words, "--batches", 1, 2) == 0
    result = json.loads((tmp_path / "new/speed.json").read_text())
    assert [(row["system"], row["batch"]) for row in result["rows"]] == [
        (name, batch) for batch in (1, 2) for name in ("tiny, text given", "tiny with text tower", "StableDiffusionPipeline, 2 steps")
    ]
    assert result["precision"] == "bf16" and "tiny with text tower" in capsys.readouterr().out
    assert script("speed", *words, "--batches", 0) == 2
    assert capsys.readouterr().err == "error: --batches, --rounds and --steps need whole numbers above 0\n"
