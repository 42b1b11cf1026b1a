"""Every recipe in configs/ on a shrunken copy: what it switches on can be built, trained, resumed and sampled."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny import ROOT, shrink, trainer_of

from t2igan.inference.pipeline import Pipeline
from t2igan.inference.upsampler import Upsampler
from t2igan.recipe import load_recipe

pytest_plugins = ["kit"]
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))
LARGE = ("gigagan_upsampler_128_1024",)  # a minute for four steps, whatever the width


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.slow] if path.stem in LARGE else [], id=path.stem) for path in RECIPES]
)
def test_shrunken_recipe_trains_every_parameter_resumes_and_samples(path, kit, tmp_path, monkeypatch):
    recipe = shrink(load_recipe(path), kit)
    trainer = trainer_of(recipe, tmp_path)
    gradients = {"G": [], "D": []}
    update = trainer._update

    def recorded(optimizer, module, config, now, report, half):
        gradients[half].append({name: p.grad for name, p in module.named_parameters() if p.requires_grad})
        update(optimizer, module, config, now, report, half)

    monkeypatch.setattr(trainer, "_update", recorded)
    trainer.train()
    assert trainer.skipped == 0
    for half, module in (("G", trainer.generator), ("D", trainer.discriminator)):
        first, second = gradients[half]
        assert set(first) == set(second) == {name for name, _ in module.named_parameters()}
        for name in first:
            found = [g for g in (first[name], second[name]) if g is not None]
            assert found, f"no loss reaches {name} of {half}"
            assert all(g.isfinite().all() for g in found), f"{name} of {half} got a gradient that is not finite"
            assert any(g.any() for g in found), f"{name} of {half} got only zeros"

    longer = replace(recipe, training=replace(recipe.training, images=4 * recipe.training.batch))
    resumed = trainer_of(longer, tmp_path)
    resumed.train(resume=True)
    assert resumed.now().step == 4 and [path.name for path in resumed.checkpoints.all()] == ["000000000004", "000000000008"]
    moved = [name for name, p in resumed.generator.state_dict().items() if not torch.equal(p, trainer.generator.state_dict()[name])]
    assert len(moved) == len(gradients["G"][0]), "steps 3 and 4 moved every parameter"

    if low := recipe.generator.synthesis.low:
        (picture,) = Upsampler.load(tmp_path)([Image.new("RGB", (low, low), "red")], ["thing 2"])
    else:
        ((picture,),) = Pipeline.load(tmp_path)(["thing 2"], seeds=[1])
    assert picture.size == (recipe.resolution, recipe.resolution)


def test_shrinking_keeps_everything_a_recipe_switches_on(kit):
    """Same stages, inputs, outputs, terms and kinds; each zero stays zero and nothing else becomes one."""
    for path in RECIPES:
        recipe = load_recipe(path)
        small = shrink(recipe, kit)
        assert small.resolution == recipe.resolution and type(small.text) is type(recipe.text)
        for half in ("discriminator", "generator"):
            assert [t.kind for t in getattr(small.objective, half)] == [t.kind for t in getattr(recipe.objective, half)]
        pairs = [(small.generator.synthesis, recipe.generator.synthesis), (small.discriminator.network, recipe.discriminator.network)]
        for a, b in pairs:
            assert [x > 0 for x in a.blocks] == [x > 0 for x in b.blocks]
            if b is recipe.discriminator.network or b.low != 128:  # there attention over 128 x 128 places is left out
                assert [x > 0 for x in a.self_attention] == [x > 0 for x in b.self_attention]
        assert small.discriminator.network.inputs == recipe.discriminator.network.inputs
        assert small.discriminator.network.outputs == recipe.discriminator.network.outputs
        assert small.generator.style.modes == recipe.generator.style.modes
        assert (small.training.drawings is None) == (recipe.training.drawings is None)
