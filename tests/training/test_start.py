"""A run that begins with another run's weights."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from shrink import PROJECTION, projection_folder
from tiny import override, run_of, tiny_recipe
from torch import nn

from t2igan.config import StartConfig
from t2igan.errors import UserError
from t2igan.inference.publish import CardNotes, publish
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


def test_what_was_copied_is_returned(phase1, begin):
    trainer = begin().trainer
    found = start_from(StartConfig(run=str(phase1)), trainer.generator, trainer.ema.model, trainer.discriminator)
    own = tuple(trainer.generator.state_dict())
    assert {part: copied.taken for part, copied in found.items()} == {"generator": own, "ema": own}
    assert str(found["ema"]) == f"{len(own)} of {len(own)} tensors"


def test_a_resumed_run_goes_on_from_its_own_checkpoint(begin, kit, phase1, tmp_path):
    first = begin()
    first.train()
    recipe = override(tiny_recipe(kit, guided=False), **PLAIN | {"training__total_images": 24}, seed=9)
    second = run_of(recipe | {"start": {"run": str(phase1), "parts": ["generator"]}}, tmp_path / "phase2")
    second.open(resume=True)
    assert second.trainer.images == 16
    assert equal(second.trainer.generator, first.trainer.generator.state_dict()) == set(first.trainer.generator.state_dict())


def warm(kit, model, out, **values):
    """A run that has begun with whatever fits of a model."""
    recipe = override(tiny_recipe(kit, guided=False), **PLAIN, seed=9, **values)
    start = {"run": str(model), "parts": ["generator", "discriminator"], "fitting": True}
    run = run_of(recipe | {"start": start}, out)
    run.begin()
    return run


def test_a_warm_start_takes_the_average_and_the_discriminator(kit, phase1, tmp_path, capsys):
    trainer = warm(kit, phase1, tmp_path / "warm").trainer
    for part, module in (("ema", trainer.generator), ("ema", trainer.ema.model), ("discriminator", trainer.discriminator)):
        parameters = {name for name, _ in module.named_parameters()}  # the mean style was measured when the run ended
        assert equal(module, saved(phase1, part)) & parameters == parameters
    assert f"generator begins with {phase1}: " in capsys.readouterr().out


def test_a_warm_start_with_a_published_model_of_half_precision(kit, phase1, tmp_path, capsys):
    publish(phase1, tmp_path / "plain", CardNotes())
    publish(phase1, tmp_path / "both", CardNotes(), discriminator=saved(phase1, "discriminator"))
    for folder, with_d in (("plain", False), ("both", True)):
        trainer = warm(kit, tmp_path / folder, tmp_path / f"warm_{folder}").trainer
        for name, value in saved(phase1, "ema").items():
            if name in dict(trainer.generator.named_parameters()):
                assert torch.allclose(trainer.generator.state_dict()[name], value, atol=2e-3, rtol=1e-3), name
        weight = next(name for name, p in trainer.discriminator.named_parameters() if p.ndim > 1)
        taken = torch.allclose(trainer.discriminator.state_dict()[weight], saved(phase1, "discriminator")[weight], atol=2e-3)
        assert taken is with_d
        assert ("discriminator begins with" in (said := capsys.readouterr().out)) and ("nothing; it is new" in said) is not with_d


def test_what_does_not_fit_is_new_and_is_named(kit, phase1, tmp_path, capsys):
    changed = {"generator__synthesis__channels": [8, 8, 16]}
    trainer = warm(kit, phase1, tmp_path / "warm", **changed).trainer
    fresh = run_of(override(tiny_recipe(kit, guided=False), **PLAIN, seed=9, **changed), tmp_path / "fresh").trainer
    source = saved(phase1, "ema")
    fits = {name for name, value in trainer.generator.state_dict().items() if name in source and value.shape == source[name].shape}
    left = {name for name, _ in trainer.generator.named_parameters()} - fits
    assert fits and left <= equal(trainer.generator, fresh.generator.state_dict())
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("generator begins"))
    assert f"{len(fits)} of {len(trainer.generator.state_dict())} tensors; new are " in said and "more" in said


def test_a_clips_projection_comes_from_its_folder_where_the_model_has_none(kit, phase1, tmp_path):
    projection = {"clip": f"local-dir:{projection_folder(kit)}", "widths": list(PROJECTION)}
    changed = {"generator__adapter__projection": projection, "discriminator__adapter__projection": projection}
    trainer = warm(kit, phase1, tmp_path / "warm", **changed).trainer
    own = load_file(projection_folder(kit) / "open_clip_model.safetensors")
    for module in (trainer.generator, trainer.discriminator, trainer.ema.model):
        assert torch.equal(module.state_dict()["adapter.projection.proj.0.weight"], own["text.proj.0.weight"])


def test_a_model_of_another_system_fits_nowhere(kit, phase1, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(phase1 / "model", folder)
    save_file({"strange.weight": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="no tensor of the shape and name"):
        warm(kit, folder, tmp_path / "warm")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        warm(kit, folder, tmp_path / "warm")
    with pytest.raises(UserError, match="is not a run folder"):
        warm(kit, tmp_path / "nowhere", tmp_path / "warm")


@pytest.mark.parametrize(
    ("values", "said"), [({"average": True}, "average is set"), ({"parts": ["discriminator"]}, "parts has no generator")]
)
def test_options_that_a_warm_start_has_no_use_for_are_refused(values, said, kit, tmp_path):
    start = {"run": "model", "parts": ["generator", "discriminator"], "fitting": True} | values
    with pytest.raises(UserError, match=said):
        run_of(override(tiny_recipe(kit, guided=False), **PLAIN) | {"start": start}, tmp_path / "run")
