"""One step of the trainer: what it updates, at which rate, and what it refuses."""

import shutil

import pytest
import torch
from tiny import override, tiny_recipe, tiny_upsampler, trainer_of
from torch import nn

from t2igan.errors import UserError
from t2igan.inference.pipeline import Pipeline
from t2igan.layers.attention import fused_allowed
from t2igan.pyramid import shrink
from t2igan.recipe import load_recipe
from t2igan.style.mapping import latent_mode
from t2igan.training.clusters import Drawings
from t2igan.training.trainer import frozen

pytest_plugins = ["kit"]


@pytest.fixture
def tiny(kit, tmp_path):
    def make(**values):
        return trainer_of(override(tiny_recipe(kit, guided=False), **values), tmp_path / "run")

    return make


def weights(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def moved(module, before):
    return {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}


def record_gradients(trainer):
    """{"G": [...], "D": [...]}: each update's gradients by name."""
    found, update = {"G": [], "D": []}, trainer._update

    def recorded(optimizer, module, config, now, report, half):
        found[half].append({name: p.grad.clone() for name, p in module.named_parameters()})
        update(optimizer, module, config, now, report, half)

    trainer._update = recorded
    return found


# ------------------------------------------------------------------------------------------------ frozen


def test_frozen_restores_every_flag():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].bias.requires_grad_(False)
    flags = [p.requires_grad for p in module.parameters()]
    with frozen(module):
        assert not any(p.requires_grad for p in module.parameters())
    assert [p.requires_grad for p in module.parameters()] == flags == [True, False, True, True]


def test_frozen_restores_flags_after_an_error():
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="boom"), frozen(module):
        raise RuntimeError("boom")
    assert all(p.requires_grad for p in module.parameters())


def test_gradients_pass_through_a_frozen_module_but_not_into_it():
    module, x = nn.Linear(2, 2), torch.randn(3, 2, requires_grad=True)
    with frozen(module):
        module(x).sum().backward()
    assert x.grad is not None and module.weight.grad is None


# ------------------------------------------------------------------------------------------------ a step


def test_a_step_moves_both_networks_and_the_average_and_the_clock(tiny):
    trainer = tiny()
    g, d, average = weights(trainer.generator), weights(trainer.discriminator), weights(trainer.ema.model)
    trainer.step(trainer.dataset[0])
    values = trainer.step(trainer.dataset[2])  # the second step reaches what lies behind layers that start at zero
    assert moved(trainer.generator, g) == set(g) and moved(trainer.discriminator, d) == set(d)
    assert moved(trainer.ema.model, average) == set(average)
    assert trainer.images == 16 and trainer.now().step == 2
    assert {"D/nonsaturating", "D/matching", "G/nonsaturating", "G/reconstruction"} <= set(values)
    assert all(value.isfinite() for value in values.values())
    assert all(p.grad is None and p.requires_grad for net in (trainer.generator, trainer.discriminator) for p in net.parameters())


def test_a_lazy_penalty_is_due_every_second_step(tiny):
    trainer = tiny()
    assert ["D/r1" in trainer.step(trainer.dataset[step]) for step in range(4)] == [True, False, True, False]


def test_accumulated_gradients_are_those_of_the_whole_batch(tiny):
    """Where no term looks across the batch. The rate is 0, so that both halves see the same networks."""
    found = {}
    for micro in (8, 4, 2):
        trainer = tiny(
            training__micro_batch=micro,
            discriminator__network__minibatch_std=0,
            objective__discriminator=[{"kind": "nonsaturating"}, {"kind": "r1"}],
            objective__generator=[{"kind": "nonsaturating"}],
            training__generator_optimizer={"lr": 0.0},
            training__discriminator_optimizer={"lr": 0.0},
        )
        found[micro] = record_gradients(trainer)
        trainer.step(trainer.dataset[0])
    for half in ("D", "G"):
        for name, whole in found[8][half][0].items():
            for micro in (4, 2):
                part = found[micro][half][0][name]
                assert torch.allclose(part, whole, rtol=1e-4, atol=1e-5 * whole.abs().max()), f"{name} of {half}, micro_batch {micro}"


def test_reported_losses_do_not_depend_on_micro_batches(tiny):
    values = {}
    for micro in (8, 2):
        trainer = tiny(
            training__micro_batch=micro,
            discriminator__network__minibatch_std=0,
            objective__discriminator=[{"kind": "nonsaturating"}, {"kind": "r1"}],
            objective__generator=[{"kind": "nonsaturating"}],
        )
        values[micro] = trainer.step(trainer.dataset[0])
    for name in ("D/nonsaturating", "D/r1", "D/logit_real"):
        assert torch.allclose(values[2][name], values[8][name], rtol=1e-4)


def test_d_attends_without_fused_kernels_on_penalty_steps_alone(tiny):
    """`sdpa` is what `auto` takes on a GPU; fused kernels cannot be differentiated twice."""
    found = {}
    for backend in ("math", "sdpa"):
        trainer = tiny(discriminator__network__backend=backend, objective__generator=[{"kind": "nonsaturating"}])
        gradients, fused, attention = record_gradients(trainer), [], trainer.discriminator.stages["8"].attention[0]
        attention.register_forward_pre_hook(lambda *_, fused=fused: fused.append(fused_allowed()))
        for step in range(2):
            trainer.step(trainer.dataset[step])
        found[backend] = gradients["D"][0]
        assert fused == [False, True, True, True]  # D's half with the penalty, G's; without it, and G's
    for name, gradient in found["math"].items():
        assert torch.allclose(found["sdpa"][name], gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max() + 1e-12), name


def test_a_penalty_by_finite_differences_is_due_as_lazily_and_shows_d_nudged_pictures(tiny):
    trainer = tiny(objective__discriminator=[{"kind": "nonsaturating"}, {"kind": "r1_finite", "gamma": 0.5, "every": 2}])
    shown, forward = [], trainer.discriminator.forward
    trainer.discriminator.forward = lambda pyramid, *rest: shown.append(len(pyramid.finest)) or forward(pyramid, *rest)
    values = [trainer.step(trainer.dataset[step]) for step in range(3)]
    assert ["D/r1_finite" in value for value in values] == [True, False, True]
    assert shown == [24, 8, 16, 8, 24, 8], "D's half sees real, generated and, where due, nudged pictures; G's half the generated ones"
    assert values[0]["D/r1_finite"] > 0


# ------------------------------------------------------------------------------------------------ small pictures


@pytest.fixture
def upsampler(kit, tmp_path):
    return lambda **values: trainer_of(override(tiny_upsampler(kit), **values), tmp_path / "up")


def test_an_upsampler_starts_from_the_reduced_picture_and_noise_of_a_random_strength(upsampler):
    trainer = upsampler()
    batch, rows = trainer.dataset[0], trainer._draw(trainer.now())
    noise = trainer._low(batch, rows, 0) - shrink(batch.images, 8)
    strength = noise.std((1, 2, 3))
    expected = 0.1 * rows["noise level"][0]
    assert torch.allclose(strength, expected, rtol=0.3) and (expected < 0.1).all() and expected.std() > 0.005
    clean = upsampler(generator__synthesis__noise=0.0)
    assert torch.equal(clean._low(batch, rows, 0), shrink(batch.images, 8))


def test_other_systems_start_from_nothing(tiny):
    trainer = tiny()
    assert trainer._low(trainer.dataset[0], trainer._draw(trainer.now()), 0) is None


def test_the_published_model_knows_its_mean_style(tiny):
    trainer = tiny(training__images=16)
    model = Pipeline.load(trainer.train())
    text = model.generator.adapt(model.describe(trainer.shards.primary_captions()))
    expected = model.generator.mapper.conditional_mean(text, latents=16).mean(0)
    assert torch.allclose(model.generator.mapper.mean_style, expected, atol=1e-6) and expected.any()


# ------------------------------------------------------------------------------------------------ latents


def test_latents_take_the_modes_of_their_pictures_drawings(tiny):
    trainer, seen = tiny(), []
    trainer.generator.register_forward_hook(lambda module, inputs, fake: seen.append(inputs[:2]))
    told = set()
    for step in range(4):
        batch = trainer.dataset[step]
        trainer.step(batch)
        z, text = seen[-1]
        assert torch.equal(text.drawing, trainer.drawings.of(batch))
        known = text.drawing > 0
        assert torch.equal(latent_mode(z, 2)[known] + 1, text.drawing[known])
        told |= set(text.drawing.tolist())
    assert told == {0, 1, 2}, "some captions leave the drawing open, others say it"


def test_without_drawings_latents_are_as_drawn(tiny):
    trainer, seen = tiny(training__drawings=None), []
    trainer.generator.register_forward_hook(lambda module, inputs, fake: seen.append(inputs[:2]))
    expected = torch.cat(trainer._draw(trainer.now())["latents"])
    trainer.step(trainer.dataset[0])
    assert torch.equal(seen[-1][0], expected) and seen[-1][1].drawing is None


# ------------------------------------------------------------------------------------------------ rates


def test_rate_follows_the_schedule_times_the_warmup(tiny):
    schedule = {"lr": {"linear": [0.004, 0.0, 80]}, "warmup": 32}
    trainer = tiny(training__generator_optimizer=schedule, training__discriminator_optimizer={"lr": 0.003})
    rates = []
    for step in range(6):
        trainer.step(trainer.dataset[step])
        rates.append([group["lr"] for group in trainer.g_optimizer.param_groups])
        assert {group["lr"] for group in trainer.d_optimizer.param_groups} == {0.003}
    expected = [0.004 * (1 - 8 * step / 80) * min(1, 8 * (step + 1) / 32) for step in range(6)]
    assert all(rate == pytest.approx(value) for rate, value in zip(rates, [[e] * len(rates[0]) for e in expected], strict=True))


def test_the_log_tells_the_rate_that_was_used(tiny):
    trainer = tiny(training__generator_optimizer={"lr": {"linear": [0.004, 0.0, 80]}, "warmup": 32})
    trainer.step(trainer.dataset[0])
    assert trainer._rates()["G/lr"] == pytest.approx(trainer.g_optimizer.param_groups[0]["lr"]) == pytest.approx(0.001)


def test_kernels_learn_at_their_own_rate(tiny):
    trainer = tiny(training__generator_optimizer={"lr": 0.002, "kernel_lr": 3.0})
    trainer.step(trainer.dataset[0])
    names = {id(p): name for name, p in trainer.generator.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in trainer.g_optimizer.param_groups for p in group["params"]}
    assert set(rates) == set(names.values())
    kernels = {name for name, rate in rates.items() if rate == pytest.approx(0.006)}
    assert kernels == {name for name, p in trainer.generator.named_parameters() if p.ndim == 4 and p.shape[-1] == 3} != set()
    assert all(rate == pytest.approx(0.002) for name, rate in rates.items() if name not in kernels)


def test_attention_projections_decay_at_their_own_rate(tiny):
    trainer = tiny()
    names = {id(p): name for name, p in trainer.generator.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in trainer.g_optimizer.param_groups for p in group["params"]}
    assert set(decays) == set(names.values())
    attention = {name for name, decay in decays.items() if decay == 0.01}
    assert attention == {name for name in decays if ".attention.to_" in name} != set()
    assert any(name.startswith("synthesis.stages.8.attention.self_attention") for name in attention)


# ------------------------------------------------------------------------------------------------ gradients that are not finite


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_skips_that_half_and_is_counted(poison, tiny):
    trainer = tiny(objective__generator=[{"kind": "nonsaturating"}])
    trainer.step(trainer.dataset[0])
    g, d = weights(trainer.generator), weights(trainer.discriminator)
    moments = {id(p): state["exp_avg_sq"].clone() for p, state in trainer.d_optimizer.state.items()}
    batch = trainer.dataset[1]
    batch.images[3, 0, 5, 5] = poison
    trainer.step(batch)
    assert trainer.skipped == 1 and trainer._rates()["skipped_steps"] == 1
    assert moved(trainer.discriminator, d) == set(), "D saw the broken picture"
    assert all(torch.equal(state["exp_avg_sq"], moments[id(p)]) for p, state in trainer.d_optimizer.state.items())
    assert moved(trainer.generator, g) == set(g), "G did not"
    values = trainer.step(trainer.dataset[2])
    assert trainer.skipped == 1 and trainer.images == 24
    assert moved(trainer.discriminator, d) == set(d) and all(value.isfinite() for value in values.values())


# ------------------------------------------------------------------------------------------------ refusals


def test_micro_batch_that_does_not_divide_is_refused(tiny):
    with pytest.raises(UserError, match=r"multiple of training\.micro_batch 3"):
        tiny(training__micro_batch=3)


def test_minibatch_statistics_must_divide_a_pass(tiny):
    with pytest.raises(UserError, match=r"minibatch_std 3 does not divide 8 pictures per pass; choose a divisor"):
        tiny(discriminator__network__minibatch_std=3)


CHANGES = [
    ("seed", 4, "seed from 3 to 4"),
    ("training__batch", 4, "training.batch from 8 to 4"),
    ("generator__synthesis__channels", [8, 8, 16], r"generator.synthesis.channels from \[8, 8, 8\] to \[8, 8, 16\]"),
    ("objective__generator", [{"kind": "nonsaturating", "weight": 2}], "objective.generator.nonsaturating.weight from 1.0 to 2.0"),
]


@pytest.mark.parametrize(("path", "value", "what"), CHANGES)
def test_a_run_is_not_resumed_under_another_recipe(path, value, what, tiny):
    trainer = tiny(training__images=8)
    trainer.train()
    with pytest.raises(UserError, match=f"another recipe .*{what}.*resume with .*recipe.yaml"):
        tiny(**{"training__images": 16, path: value}).train(resume=True)
    assert load_recipe(trainer.out).training.images == 8, "nothing was written"


def test_a_run_may_be_made_longer_and_watched_otherwise(tiny):
    tiny(training__images=8).train()
    longer = tiny(training__images=16, training__log_every=2, training__prompts=["number 5"], training__keep=1)
    longer.train(resume=True)
    assert longer.images == 16


def test_a_resumed_run_keeps_which_drawing_is_which_mode(tiny, monkeypatch):
    """Sorting again might swap them, on another device or with a CLIP trained anew."""
    first = tiny(training__images=8)
    first.train()
    swapped = Drawings(tuple(mode if mode < 0 else 1 - mode for mode in first.drawings.modes), first.drawings.ambiguous)
    monkeypatch.setattr("t2igan.training.trainer.read_drawings", lambda *_: swapped)
    second = tiny(training__images=16)
    assert second.drawings == swapped != first.drawings
    second.train(resume=True)
    assert second.drawings == first.drawings


def test_a_run_is_not_resumed_on_other_pictures(tiny, kit, tmp_path):
    tiny(training__images=8).train()
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    shutil.copy(kit.shards / "00000.tar", fewer)
    with pytest.raises(UserError, match="was trained on 23 pictures, the shards hold 8"):
        tiny(training__images=16, data__shards=str(fewer)).train(resume=True)


def test_a_folder_of_something_else_is_not_written_into(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("three years of work")
    with pytest.raises(UserError, match="holds something else than a run"):
        tiny().train()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_checkpoint_that_lacks_a_file_is_refused(tiny):
    trainer = tiny(training__images=8)
    trainer.train()
    (trainer.checkpoints.latest() / "generator_optimizer.safetensors").unlink()
    with pytest.raises(UserError, match="generator_optimizer"):
        tiny(training__images=16).train(resume=True)
