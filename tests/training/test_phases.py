"""StyleGAN-T's three phases on shrunken copies of the three emoji recipes, each begun by the run before."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from shrink import shrink
from tiny import ROOT, run_of

from t2igan.config import StartConfig
from t2igan.inference.open import open_model
from t2igan.recipe import load_recipe

pytest_plugins = ["kit"]
PHASES = "emoji_stylegan_t_32", "emoji_stylegan_t_32_phase2", "emoji_stylegan_t_64"
TOWER = "adapter.encoder."


@pytest.fixture(scope="module")
def runs(kit, tmp_path_factory):
    """(folder of the run, the run) of every phase."""
    folder, found = tmp_path_factory.mktemp("phases"), []
    for name in PHASES:
        recipe = load_recipe(ROOT / "configs" / f"{name}.yaml")
        assert (recipe.start is None) is (not found)
        start = StartConfig(run=str(found[-1][0]), parts=recipe.start.parts) if found else None
        small = shrink(recipe, kit)
        rate = replace(small.training.generator_optimizer, warmup=0)
        run = run_of(replace(small, start=start, training=replace(small.training, generator_optimizer=rate)), folder / name)
        run.train()
        found.append((folder / name, run))
    return found


def saved(folder, part) -> dict[str, torch.Tensor]:
    (file,) = folder.glob(f"checkpoints/*/{part}.safetensors")
    return load_file(file)


def test_the_second_phase_changes_the_text_tower_alone(runs):
    (first, _), (second, _) = runs[:2]
    average = saved(first, "ema")
    for part in ("generator", "ema"):
        after = saved(second, part)
        assert {name for name in after if name not in average} == {name for name in after if name.startswith(TOWER)} != set()
        assert all(torch.equal(after[name], value) for name, value in average.items()), "G and its average are the first phase's average"


def test_the_tower_begins_with_the_frozen_weights_and_moves(runs, kit):
    second = runs[1][0]
    frozen = load_file(kit.bert / "model.safetensors")
    moved = {}
    for name, value in saved(second, "generator").items():
        if name.startswith(f"{TOWER}tower."):
            before = frozen[name.removeprefix(f"{TOWER}tower.")]
            moved[name] = not torch.equal(value, before)
            assert torch.allclose(value, before, atol=1e-3), "by a few steps of a small rate"
    trained = {name for name, p in runs[1][1].trainer.generator.named_parameters() if p.requires_grad}
    assert {name for name, change in moved.items() if change} == trained != set()


def test_the_third_phase_goes_on_with_both_and_grows(runs):
    (second, _), (third, _) = runs[1:]
    before, after = saved(second, "ema"), saved(third, "generator")
    assert all(torch.equal(after[name], value) for name, value in before.items() if name.startswith(TOWER)), "the tower stays"
    fixed = {name for name, value in before.items() if value.is_floating_point() and not name.startswith(TOWER)}
    changed = {name for name in fixed if not torch.equal(after[name], before[name])}
    assert len(changed) > len(fixed) / 2
    grown = {name for name in after if name not in before}
    assert grown and all(name.startswith("synthesis.stages.3.") for name in grown)


def test_models_of_every_phase_draw_and_read_their_own_tower(runs):
    pictures = [open_model(folder)(["thing 1"], seeds=[0])[0][0] for folder, _ in runs]
    assert [picture.size for picture in pictures] == [(32, 32), (32, 32), (64, 64)]
    pipeline = open_model(runs[1][0])
    frozen = pipeline.encode_text(["thing 1"])
    own = pipeline.generator.adapt(frozen)
    assert own.pooled.shape == frozen.pooled.shape and not torch.equal(own.pooled, frozen.pooled)
    assert torch.allclose(own.pooled, frozen.pooled, atol=0.05)
