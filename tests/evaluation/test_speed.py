"""What is counted beside the clock: FLOPs, parameters and memory of a model and of a pipeline beside it."""

import json
import sys

import pytest
import torch
from tiny import ROOT, tiny_recipe, write_recipe

from t2igan.errors import UserError

pytest_plugins = ["kit"]
sys.path.insert(0, str(ROOT))  # eval is a folder of scripts, not an installed package

from eval import speed as script  # noqa: E402


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory):
    """The configuration files of a small Stable Diffusion pipeline, without weights and without tokenizer."""
    import diffusers
    import transformers

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


@pytest.fixture
def measured(kit, tmp_path, monkeypatch):
    """measured(...) -> rows by (system, batch)."""
    recipe = write_recipe(tmp_path / "tiny.yaml", tiny_recipe(kit, guided=False))

    def run(*more) -> dict:
        monkeypatch.setattr(
            sys, "argv", ["speed.py", "--recipe", str(recipe), "--rounds", "1", "--out", str(tmp_path / "s.json"), *map(str, more)]
        )
        script.main()
        result = json.loads((tmp_path / "s.json").read_text())
        return {(row["system"], row["batch"]): row for row in result["rows"]}

    return run


def test_the_text_tower_adds_its_work_and_its_weights(measured, kit):
    rows = measured("--batches", 1, 3)
    for batch in (1, 3):
        alone, whole = rows["tiny, text given", batch], rows["tiny with text tower", batch]
        assert whole["parameters"] > alone["parameters"] and whole["gflops"] > 1.05 * alone["gflops"]
        assert alone["seconds"] > 0 and alone["memory_gib"] >= 0 and alone["resolution"] == 16
    assert rows["tiny, text given", 3]["gflops"] == pytest.approx(rows["tiny, text given", 1]["gflops"], rel=0.05)  # per picture


def test_flops_are_those_that_show_counts(measured, kit, tmp_path):
    """In a batch; a single picture mixes kernels where a batch mixes maps, and takes less."""
    from t2igan.config import load_recipe
    from t2igan.evaluation.profile import describe

    rows = measured("--batches", 1, 3)
    shown = describe(load_recipe(tmp_path / "tiny.yaml"))["parts"]["generator"]
    single, batch = rows["tiny, text given", 1], rows["tiny, text given", 3]
    assert single["parameters"] == batch["parameters"] == shown["params"]
    assert batch["gflops"] == pytest.approx(shown["gflops_per_image"], rel=0.01)
    assert 0.9 * batch["gflops"] < single["gflops"] < batch["gflops"]


def test_a_pipeline_beside_it_works_as_often_as_it_has_steps(measured, diffusion):
    one = measured("--beside", diffusion)["StableDiffusionPipeline, 1 step", 1]
    two = measured("--beside", diffusion, "--steps", 2)["StableDiffusionPipeline, 2 steps", 1]
    three = measured("--beside", diffusion, "--steps", 3)["StableDiffusionPipeline, 3 steps", 1]
    assert one["resolution"] == 16 and one["parameters"] > 1e6
    assert three["gflops"] - two["gflops"] == pytest.approx(two["gflops"] - one["gflops"], rel=1e-6)
    guided = measured("--beside", diffusion, "--guidance", 7.5)["StableDiffusionPipeline, 1 step", 1]
    assert guided["gflops"] - one["gflops"] > two["gflops"] - one["gflops"]  # a second pass of the network, and of the text tower


def test_memory_held_by_a_call_is_seen():
    """64 MiB that a call holds and lets go."""
    system = script.System("s", 1, 0, 0.0, lambda batch: torch.ones(batch << 24))
    assert script.held(system, 1, torch.device("cpu")) == pytest.approx(1 / 16, rel=0.2)


def test_bad_input(measured, tmp_path, diffusion):
    with pytest.raises(UserError, match=r"no model_index.json"):
        measured("--beside", tmp_path)
    with pytest.raises(UserError, match="need whole numbers above 0"):
        measured("--batches", 0)
    index = json.loads((diffusion / "model_index.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for part in ("unet", "scheduler"):
        (other / part).symlink_to(diffusion / part)
    index = {"_class_name": "DDPMPipeline", "unet": index["unet"], "scheduler": index["scheduler"]}
    (other / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="only pipelines with one CLIP text tower"):
        measured("--beside", other)
