"""A CLIP's projection of text in G and in D: loaded by every system, stored with the run, needed from its folder no more."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from shrink import PROJECTION, projection_folder, shrink
from tiny import MAX_TOKENS, ROOT, TOKEN_DIM, override, run_of, tiny_recipe

from t2igan.inference.open import open_model
from t2igan.recipe import load_recipe
from t2igan.text.adapter import AdapterConfig
from t2igan.text.projection import ProjectionConfig
from t2igan.text.transformers import TransformersTextConfig
from t2igan.types import PrepareContext, TextDims

pytest_plugins = ["kit"]
NAME = "adapter.projection.proj.0.weight"


@pytest.fixture
def folder(kit, tmp_path):
    """A copy, to be changed and removed."""
    return shutil.copytree(projection_folder(kit), tmp_path / "guide")


def weight_in(folder):
    return load_file(folder / "open_clip_model.safetensors")["text.proj.0.weight"]


def test_a_run_keeps_its_projection_and_draws_without_the_clip(kit, folder, tmp_path):
    section = {"clip": f"local-dir:{folder}", "widths": list(PROJECTION)}
    changes = {"generator__adapter__projection": section, "discriminator__adapter__projection": section}
    plain = {"training__cluster_features": None, "training__total_images": 16, "training__prompts": []}
    recipe = override(tiny_recipe(kit, guided=False), **plain, **changes)
    run_of(recipe, tmp_path / "run").train()
    first = weight_in(folder)
    assert torch.equal(load_file(tmp_path / "run/model/model.safetensors")[NAME], first)

    shutil.rmtree(folder)
    shutil.copytree(projection_folder(kit, seed=1), folder)  # another CLIP of the same widths
    assert not torch.equal(weight_in(folder), first)
    longer = run_of(override(recipe, training__total_images=32), tmp_path / "run")
    longer.train(resume=True)
    for module in (longer.trainer.generator, longer.trainer.ema.model, longer.trainer.discriminator):
        assert torch.equal(module.state_dict()[NAME], first)

    shutil.rmtree(folder)
    assert len(open_model(tmp_path / "run")(["thing 1"], seeds=[0])[0]) == 1


def test_caption_effect_takes_the_projection_of_the_checkpoint(kit, folder, tmp_path, monkeypatch):
    """Whatever the CLIP's folder holds by now."""
    import runpy
    import sys

    section = {"clip": f"local-dir:{folder}", "widths": list(PROJECTION)}
    plain = {"training__cluster_features": None, "training__total_images": 16, "training__prompts": []}
    recipe = override(tiny_recipe(kit, guided=False), **plain, discriminator__adapter__projection=section)
    run_of(recipe, tmp_path / "run").train()
    words = ("--model", tmp_path / "run", "--data", kit.shards, "--scorer", kit.clip, "--prompts", 2, "--pictures", 8)
    scores = []
    for number, seed in enumerate((0, 1)):
        shutil.rmtree(folder)
        shutil.copytree(projection_folder(kit, seed=seed), folder)
        out = tmp_path / f"{number}.json"
        monkeypatch.setattr(sys, "argv", ["caption_effect.py", *map(str, words), "--out", str(out)])
        monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
        runpy.run_path(str(ROOT / "eval/caption_effect.py"), run_name="__main__")
        scores.append(out.read_text())
    assert scores[0] == scores[1]


@pytest.mark.parametrize("name", ["gigagan_64", "stylegan_t_lite_64", "emoji_stylegan_xl_16", "stylegan2_256", "r3gan_ffhq_64"])
def test_every_discriminator_loads_it(name, kit):
    recipe = shrink(load_recipe(ROOT / f"configs/{name}.yaml"), kit)
    folder = projection_folder(kit)
    text = TextDims(TOKEN_DIM, TOKEN_DIM, TransformersTextConfig(str(kit.bert), TOKEN_DIM, MAX_TOKENS))
    config = AdapterConfig(depth=0, width=8, pooling="pooled", projection=ProjectionConfig(f"local-dir:{folder}", PROJECTION))
    D = recipe.discriminator.network.build(recipe.resolution, config.build(text, local=False), text)
    D.prepare(PrepareContext("cpu", lambda: ["thing 1", "thing 2"], None))
    (own,) = (value for key, value in D.state_dict().items() if key.endswith(NAME))
    assert torch.equal(own, weight_in(folder))
