"""A run that begins with another run's weights."""

import pytest
import torch
from safetensors.torch import load_file
from tiny import override, run_of, tiny_recipe
from torch import nn

from t2igan.config import StartConfig
from t2igan.errors import UserError
from t2igan.training.start import copy_matching, start_from

pytest_plugins = ["kit"]
PLAIN = {"training__cluster_features": None, "training__total_images": 16, "training__prompts": []}


@pytest.fixture(scope="module")
def phase1(kit, tmp_path_factory):
    """The folder of a run of two steps."""
    out = tmp_path_factory.mktemp("phase1") / "run"
    run_of(override(tiny_recipe(kit, guided=False), **PLAIN), out).train()
    return out


@pytest.fixture
def begin(kit, phase1, tmp_path):
    """begin(parts=, ...) -> a Run that has begun with the weights of phase1, under another seed."""

    def make(parts=("generator",), start=None, **values):
        recipe = override(tiny_recipe(kit, guided=False), **PLAIN, seed=9, **values)
        run = run_of(recipe | {"start": {"run": str(start or phase1), "parts": list(parts)}}, tmp_path / "phase2")
        run.begin()
        return run

    return make


def saved(run_folder, part):
    return load_file(run_folder / "checkpoints" / f"{16:012d}" / f"{part}.safetensors")


def equal(module: nn.Module, tensors: dict) -> set[str]:
    """The names of the parameters and buffers that are those of `tensors`."""
    return {name for name, value in module.state_dict().items() if name in tensors and torch.equal(value, tensors[name])}


def test_the_generator_its_average_and_the_discriminator_take_the_other_runs_weights(begin, phase1):
    trainer = begin(parts=("generator", "discriminator")).trainer
    for part, module in (("generator", trainer.generator), ("ema", trainer.ema.model), ("discriminator", trainer.discriminator)):
        assert equal(module, saved(phase1, part)) == set(module.state_dict()) == set(saved(phase1, part))
    assert saved(phase1, "ema").keys() == saved(phase1, "generator").keys()
    assert any(not torch.equal(value, saved(phase1, "generator")[name]) for name, value in saved(phase1, "ema").items())
    assert trainer.images == trainer.steps == 0 and not trainer.g_optimizer.state(), "the clock and Adam's moments begin anew"


def test_the_generator_may_begin_with_the_average_and_what_is_frozen_does(phase1, kit, tmp_path):
    frozen = override(tiny_recipe(kit, guided=False), **PLAIN)
    frozen["training"]["generator_optimizer"] |= {"groups": [{"match": "mapper.*", "frozen": True}]}
    for average, expected in ((True, lambda name: True), (False, lambda name: name.startswith("mapper."))):
        start = {"run": str(phase1), "parts": ["generator"], "average": average}
        run = run_of(frozen | {"start": start}, tmp_path / str(average))
        run.begin()
        weights = {name for name, p in run.trainer.generator.named_parameters() if p.ndim > 1}
        found = equal(run.trainer.generator, saved(phase1, "ema")) & weights
        assert found == {name for name in weights if expected(name)}
        assert equal(run.trainer.ema.model, saved(phase1, "ema")) == set(saved(phase1, "ema"))


def test_parts_that_are_not_listed_keep_their_initial_values(begin, phase1):
    trainer = begin(parts=("discriminator",)).trainer
    assert equal(trainer.discriminator, saved(phase1, "discriminator")) == set(trainer.discriminator.state_dict())
    weights = {name for name, p in trainer.generator.named_parameters() if p.ndim > 1}
    assert weights and not equal(trainer.generator, saved(phase1, "generator")) & weights


def test_what_the_other_run_lacks_keeps_its_initial_values(begin, phase1, kit, tmp_path):
    """As a grown network's new stages do."""
    grown = {"generator__synthesis__blocks": [1, 2, 2]}
    trainer = begin(**grown).trainer
    fresh = run_of(override(tiny_recipe(kit, guided=False), **PLAIN, seed=9, **grown), tmp_path / "fresh").trainer
    for module, part, initial in ((trainer.generator, "generator", fresh.generator), (trainer.ema.model, "ema", fresh.ema.model)):
        new = set(module.state_dict()) - set(saved(phase1, part))
        assert new and all(name.startswith("synthesis.stages.16.blocks.1.") for name in new)
        assert equal(module, saved(phase1, part)) == set(module.state_dict()) - new
        assert new <= equal(module, initial.state_dict())


def test_tensors_of_another_shape_are_refused(begin):
    with pytest.raises(UserError, match=r"\(generator\) has .* in another shape \(\(.*\) there, \(.*\) here\); the stages that both"):
        begin(generator__synthesis__channels=[8, 8, 16])


def test_a_run_without_a_checkpoint_is_refused(begin, tmp_path):
    with pytest.raises(UserError, match=r"start\.run .*nowhere has no checkpoint; give the folder of a run"):
        begin(start=tmp_path / "nowhere")


def test_another_system_is_refused():
    with pytest.raises(UserError, match=r"start\.run x has no tensor under a name of this network; it is another system"):
        copy_matching({"other.weight": torch.zeros(2)}, nn.Linear(2, 2), "start.run x")


def test_the_number_of_copied_tensors_is_returned(phase1, begin):
    trainer = begin().trainer
    found = start_from(StartConfig(run=str(phase1)), trainer.generator, trainer.ema.model, trainer.discriminator)
    assert found == {"generator": len(trainer.generator.state_dict()), "ema": len(trainer.generator.state_dict())}


def test_a_resumed_run_goes_on_from_its_own_checkpoint(begin, kit, phase1, tmp_path):
    first = begin()
    first.train()
    recipe = override(tiny_recipe(kit, guided=False), **PLAIN | {"training__total_images": 24}, seed=9)
    second = run_of(recipe | {"start": {"run": str(phase1), "parts": ["generator"]}}, tmp_path / "phase2")
    second.open(resume=True)
    assert second.trainer.images == 16
    assert equal(second.trainer.generator, first.trainer.generator.state_dict()) == set(first.trainer.generator.state_dict())
