"""Every recipe in configs/ on a shrunken copy: what it switches on can be built, trained, resumed and sampled."""

from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from PIL import Image
from shrink import ATTENTION_SIDE, conditioned, lowered, shrink
from tiny import ROOT, record_gradients, run_of

from t2igan.inference.open import open_model
from t2igan.recipe import load_recipe
from t2igan.schedule import Schedule

pytest_plugins = ["kit"]
RECIPES = sorted((ROOT / "configs").rglob("*.yaml"))
REPLACED = ("data.shards", "text.", "start", "training.cluster_features", "training.precision", "training.prompts")
FROZEN = (
    "model",
    "pretrained",
    "weights",
    "layers",
    "widths",
    "clip",
    "reassemble",
    "class_embeddings",
    "classes",
    "vgg",
    "heads",
    "side",
)  # fields of sections that name frozen networks
LARGE = (
    "gigagan_upsampler_64_512",
    "gigagan_upsampler_128_1024",
    "r3gan_ffhq_256",
    "stylegan2_ffhq_1024",
    "stylegan2_256",
    "progan_celebahq_1024",
    "progan_256",
    "stylegan_ffhq_1024",
    "stylegan3_t_ffhq_1024",
    "stylegan3_t_256",
    "stylegan3_r_ffhq_1024",
    "stylegan_xl_imagenet_128",
    "stylegan_xl_imagenet_256",
    "stylegan_t_full_256",
    "stylegan_t_full_512",
    "stylegan_t_lite_256",
    "stylegan_t_lite_256_freeze64",
    "stylegan_t_lite_512",
)  # up to a minute for four steps, whatever the width
OTHERS = (  # that switch on what another recipe here does, or what test_phases.py and test_stylegan_xl.py train
    *("stylegan_t_full_64", "stylegan_t_full_64_phase2", "stylegan_t_lite_64", "stylegan_xl_imagenet_32", "stylegan_xl_imagenet_64"),
    *("emoji_stylegan_t_32", "emoji_stylegan_t_32_phase2", "emoji_stylegan_t_64"),
    *("emoji_stylegan_xl_16", "emoji_stylegan_xl_32", "emoji_stylegan_xl_64"),
    *(
        "emoji_64",
        "gigagan_64_ablation",
        "gigagan_64_small",
        "own_pictures_32",
        "drawings_64_gpu",
        "stylegan_t_lite_64_phase2",
        "r3gan_imagenet_32",
        "r3gan_imagenet_64",
    ),
)


def test_the_slow_recipes_are_there():
    assert {*LARGE, *OTHERS} <= {path.stem for path in RECIPES}


def is_slow(path) -> bool:
    return path.stem in (*LARGE, *OTHERS) or path.parent.name == "ablations"


def never_shown(recipe, names) -> set[str]:
    """Layers between images and features at sides below the one where growth starts, which the papers' networks have nevertheless."""
    sides = range((recipe.training.growth.start // 4).bit_length() - 1) if recipe.training.growth else ()
    layers = [layer for side in sides for layer in (f"synthesis.to_rgb.{side}.", f"synthesis.stages.{side}.to_rgb.", f"from_rgb.{side}.")]
    return {name for name in names if name.startswith(tuple(layers))}


def cancels(recipe, name) -> bool:
    """Whether it moves logits of real and generated images alike, which changes nothing where pairs are compared or no hinge is reached."""
    return name.endswith("out.bias") and recipe.objective.discriminator[0].kind in ("hinge", "relativistic")


@pytest.mark.parametrize("path", [pytest.param(path, marks=[pytest.mark.slow] if is_slow(path) else [], id=path.stem) for path in RECIPES])
def test_shrunken_recipe_trains_every_parameter_resumes_and_samples(path, kit, tmp_path):
    recipe = shrink(load_recipe(path), kit)
    run = run_of(recipe, tmp_path)
    trainer = run.trainer
    gradients = record_gradients(trainer)
    run.train()
    assert trainer.g_optimizer.skipped == trainer.d_optimizer.skipped == 0
    for half, module in (("G", trainer.generator), ("D", trainer.discriminator)):
        steps = gradients[half]
        assert len(steps) == trainer.steps >= 2
        assert all(set(step) == {name for name, p in module.named_parameters() if p.requires_grad} != set() for step in steps)
        for name in steps[0]:
            found = [step[name] for step in steps if step[name] is not None]
            if name in never_shown(recipe, [name]):
                assert not found
                continue
            assert found, f"no loss reaches {name} of {half}"
            assert all(g.isfinite().all() for g in found), f"{name} of {half} got a gradient that is not finite"
            assert any(g.any() for g in found) or cancels(recipe, name), f"{name} of {half} got only zeros"

    total = recipe.training.total_images
    longer = replace(recipe, training=replace(recipe.training, total_images=total + 2 * recipe.training.batch))
    resumed = run_of(longer, tmp_path)
    resumed.train(resume=True)
    more = longer.training.total_images
    assert resumed.trainer.steps == trainer.steps + 2 and [path.name for path in resumed.checkpoints.all()] == [
        f"{total:012}",
        f"{more:012}",
    ]
    before, after = (dict(one.generator.named_parameters()) for one in (trainer, resumed.trainer))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {name for step in gradients["G"][-2:] for name, gradient in step.items() if gradient is not None}
    assert moved == trained, "two more steps moved every parameter that is trained, and no other"

    model, side = open_model(tmp_path), recipe.generator.synthesis.input_resolution(recipe.resolution)
    if side is None:
        ((image,),) = model(["thing 2"] if model.conditional else [], seeds=[1])
    else:
        (image,) = model([Image.new("RGB", (side, side), "red")], ["thing 2"] if model.conditional else None)
    assert image.size == (recipe.resolution, recipe.resolution)


PHASES = "_phase2", "_freeze64"  # of a system that another recipe begins
SYSTEMS = "stylegan", "progan", "r3gan"  # whose papers have no text, or that work without
CONDITIONED = [path for path in RECIPES if any(name in path.stem for name in SYSTEMS) and not path.stem.endswith(PHASES)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "label", "transformers"])
@pytest.mark.parametrize("path", CONDITIONED, ids=lambda path: path.stem)
def test_every_conditioning_trains_and_samples(path, kind, kit, tmp_path):
    """Of systems above 128 px, the lower stages: what conditions does not lie in the others."""
    recipe = shrink(lowered(conditioned(load_recipe(path), kind), 128), kit)
    run = run_of(recipe, tmp_path)
    gradients = record_gradients(run.trainer)
    run.train()
    assert run.trainer.g_optimizer.skipped == run.trainer.d_optimizer.skipped == 0
    for half in "GD":
        reached = {name for step in gradients[half] for name, gradient in step.items() if gradient is not None and gradient.any()}
        unmoved = set(gradients[half][0]) - reached - never_shown(recipe, gradients[half][0])
        assert all(cancels(recipe, name) for name in unmoved)
    model = open_model(tmp_path)
    ((image,),) = model(["thing 2"] if model.conditional else [], seeds=[1])
    assert image.size == (recipe.resolution, recipe.resolution) and model.conditional is (kind != "none")


def pairs(small, recipe, where: str = ""):
    """(path, value in the small recipe, value in the recipe) of every field of every section."""
    assert type(small) is type(recipe), f"{where} is of another kind"
    for f in fields(recipe):
        a, b, path = getattr(small, f.name), getattr(recipe, f.name), f"{where}{f.name}"
        yield path, a, b
        items = list(zip(a, b, strict=True)) if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) else [(a, b)]
        for i, (x, y) in enumerate(items):
            if is_dataclass(y) and is_dataclass(x):
                yield from pairs(x, y, f"{path}." if len(items) == 1 else f"{path}.{i}.")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shrinking_keeps_everything_a_recipe_switches_on(path, kit):
    """Sections of the same kinds, lists as long, the same schedules, options and levels; a zero stays zero and nothing else becomes one."""
    recipe = load_recipe(path)
    small = shrink(recipe, kit)
    for name, a, b in pairs(small, recipe):
        if name.startswith(REPLACED) or name.rpartition(".")[2] in FROZEN:
            continue
        assert (a is None) == (b is None), name
        if isinstance(b, Schedule | bool | str | float):
            assert a == b, name
        if isinstance(b, tuple):
            sides = [recipe.resolution >> i for i in reversed(range(len(b)))]
            left_out = "synthesis" in name and "attention" in name
            kept = [0 if left_out and side > ATTENTION_SIDE else x for x, side in zip(b, sides, strict=True)]
            assert [x == 0 for x in a] == [x == 0 for x in kept], name
    assert small.generator.synthesis.levels(small.resolution) == recipe.generator.synthesis.levels(recipe.resolution)
    assert small.discriminator.network.levels(small.resolution) == recipe.discriminator.network.levels(recipe.resolution)
