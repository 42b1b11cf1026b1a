"""One step of the trainer: what it updates, what it accumulates, which clusters it samples, which steps it skips."""

import pytest
import torch
from tiny import moved, override, record_gradients, run_of, take_steps, tiny_upsampler, weights

from t2igan.errors import UserError
from t2igan.layers.resample import resize_bicubic
from t2igan.style.mapping import latent_cluster

pytest_plugins = ["kit"]
PLAIN = {
    "discriminator__network__minibatch_std": 0,
    "objective__discriminator": [{"kind": "nonsaturating"}, {"kind": "r1"}],
    "objective__generator": [{"kind": "nonsaturating"}],
    "training__cluster_features": None,
}  # terms that do not look across the batch
STILL = {"training__generator_optimizer": {"lr": 0.0}, "training__discriminator_optimizer": {"lr": 0.0}}  # both halves see equal networks


# ------------------------------------------------------------------------------------------------ a step


def test_a_step_moves_both_networks_and_the_average_and_the_clock(begun):
    run = begun()
    trainer = run.trainer
    g, d, average = weights(trainer.generator), weights(trainer.discriminator), weights(trainer.ema.model)
    values = take_steps(run, 2)[1]  # the second step reaches what lies behind layers that start at zero
    assert moved(trainer.generator, g) == set(g) and moved(trainer.discriminator, d) == set(d)
    assert moved(trainer.ema.model, average) == set(average)
    assert trainer.images == 16 and trainer.now().step == 2
    assert {"D/nonsaturating", "D/matching", "G/nonsaturating", "G/reconstruction", "D/gradient_norm", "G/gradient_norm"} <= set(values)
    assert all(value.isfinite() for value in values.values())
    assert all(p.grad is None and p.requires_grad for net in (trainer.generator, trainer.discriminator) for p in net.parameters())


def test_a_lazy_penalty_is_due_every_second_step(begun):
    assert ["D/r1" in values for values in take_steps(begun(), 4)] == [True, False, True, False]


@pytest.mark.parametrize("reuse", [False, True])
def test_accumulated_gradients_are_those_of_the_whole_batch(reuse, tiny):
    found = {}
    for micro in (8, 4, 2):
        run = tiny(**PLAIN, **STILL, training__micro_batch=micro, training__reuse_fakes=reuse)
        found[micro] = record_gradients(run.trainer)
        take_steps(run, 1)
    for half in ("D", "G"):
        for name, whole in found[8][half][0].items():
            for micro in (4, 2):
                part = found[micro][half][0][name]
                assert torch.allclose(part, whole, rtol=1e-4, atol=1e-5 * whole.abs().max()), f"{name} of {half}, micro_batch {micro}"


def test_reported_losses_do_not_depend_on_micro_batches(tiny):
    values = {micro: take_steps(tiny(**PLAIN, training__micro_batch=micro), 1)[0] for micro in (8, 2)}
    for name in ("D/nonsaturating", "D/r1", "D/logit_real", "D/logit_fake"):
        assert torch.allclose(values[2][name], values[8][name], rtol=1e-4), name


def test_d_attends_without_fused_kernels_on_penalty_steps_alone(begun):
    """`sdpa` is what `auto` takes on a GPU; fused kernels cannot be differentiated twice."""
    found = {}
    for backend in ("math", "sdpa"):
        run = begun(discriminator__network__backend=backend, objective__generator=[{"kind": "nonsaturating"}])
        gradients, twice, attention = record_gradients(run.trainer), [], run.trainer.discriminator.stages["8"].attention[0]
        hook = lambda module, inputs, options, twice=twice: twice.append(options["twice_differentiable"])  # noqa: E731
        attention.register_forward_pre_hook(hook, with_kwargs=True)
        take_steps(run, 2)
        found[backend] = gradients["D"][0]
        assert twice == [True, False, False, False]  # D's half with the penalty, G's; without it, and G's
    for name, gradient in found["math"].items():
        assert torch.allclose(found["sdpa"][name], gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max() + 1e-12), name


def test_a_penalty_by_finite_differences_is_due_as_lazily_and_gives_d_perturbed_images(tiny):
    run = tiny(
        objective__discriminator=[{"kind": "nonsaturating"}, {"kind": "r1_finite", "gamma": 0.5, "every": 2}],
        training__cluster_features=None,
    )
    shown = []
    run.trainer.discriminator.register_forward_pre_hook(lambda module, inputs: shown.append([len(images) for images in inputs[0]]))
    values = take_steps(run, 3)
    assert ["D/r1_finite" in value for value in values] == [True, False, True]
    assert shown == [[8, 8, 8], [8], [8, 8], [8], [8, 8, 8], [8]], (
        "D's half: real, generated and, where due, perturbed images; G's: generated"
    )
    assert values[0]["D/r1_finite"] > 0


# ------------------------------------------------------------------------------------------------ what an upsampler starts from


def test_an_upsampler_starts_from_the_reduced_image_and_noise_of_a_random_strength(kit, tmp_path):
    trainers = {noise: run_of(override(tiny_upsampler(kit), generator__synthesis__noise=noise), tmp_path) for noise in (0.1, 0.0)}
    batch = trainers[0.1].dataset[0]
    m = trainers[0.1].trainer.prepare(batch, "D")
    noise = m.condition - resize_bicubic(batch.images, 8)
    strength = noise.std((1, 2, 3))
    expected = 0.1 * m.generator_draws.uniform("noise strength", 1, 1, 1).flatten()
    assert torch.allclose(strength, expected, rtol=0.3) and (expected < 0.1).all() and expected.std() > 0.005
    assert torch.equal(trainers[0.0].trainer.prepare(batch, "D").condition, resize_bicubic(batch.images, 8))


def test_other_systems_start_from_nothing(tiny):
    run = tiny()
    assert run.trainer.prepare(run.dataset[0], "D").condition is None


# ------------------------------------------------------------------------------------------------ cluster labels


def record_generator_inputs(trainer) -> list:
    """The latents and texts of every pass of G from now on."""
    seen = []
    trainer.generator.register_forward_hook(lambda module, inputs, fake: seen.append(inputs[:2]))
    return seen


def test_latents_take_the_clusters_of_their_images(begun):
    run = begun()
    seen, labels = record_generator_inputs(run.trainer), set()
    for step in range(4):
        batch = run.dataset[8 * step]
        run.trainer.step(batch)
        for z, text in seen[-2:]:  # the pass of each half
            assert torch.equal(text.cluster, run.trainer.clusters.labels(batch.captions, batch.sample_ids))
            known = text.cluster > 0
            assert torch.equal(latent_cluster(z, 2)[known] + 1, text.cluster[known])
            labels |= set(text.cluster.tolist())
    assert labels == {0, 1, 2}, "some captions leave the cluster open, others determine it"


def test_without_clusters_latents_are_as_drawn(tiny):
    run = tiny(training__cluster_features=None)
    seen, batch = record_generator_inputs(run.trainer), run.dataset[0]
    expected = run.trainer.draws(batch, "D").scoped("generator").normal("latents", 8)
    run.trainer.step(batch)
    z, text = seen[0]
    assert torch.equal(z, expected) and text.cluster is None


# ------------------------------------------------------------------------------------------------ gradients that are not finite


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_skips_that_half_and_is_counted(poison, tiny):
    run = tiny(objective__generator=[{"kind": "nonsaturating"}], training__cluster_features=None)
    trainer = run.trainer
    take_steps(run, 1)
    g, d, moments = weights(trainer.generator), weights(trainer.discriminator), trainer.d_optimizer.state()
    moments = {name: value.clone() for name, value in moments.items()}
    batch = run.dataset[8]
    batch.images[3, 0, 5, 5] = poison
    trainer.step(batch)
    assert (trainer.d_optimizer.skipped, trainer.g_optimizer.skipped) == (1, 0) and run._figures()["skipped_steps"] == 1
    assert moved(trainer.discriminator, d) == set(), "D saw the broken image"
    assert all(torch.equal(value, moments[name]) for name, value in trainer.d_optimizer.state().items())
    assert moved(trainer.generator, g) == set(g), "G did not"
    values = take_steps(run, 1)[0]
    assert trainer.d_optimizer.skipped == 1 and trainer.images == 24
    assert moved(trainer.discriminator, d) == set(d) and all(value.isfinite() for value in values.values())


# ------------------------------------------------------------------------------------------------ refusals


def test_micro_batch_that_does_not_divide_is_refused(tiny):
    with pytest.raises(UserError, match=r"multiple of training\.micro_batch 3"):
        tiny(training__micro_batch=3)


def test_minibatch_statistics_must_divide_a_pass(tiny):
    with pytest.raises(UserError, match=r"discriminator\.network takes groups of 3 images, a pass has 8; choose a divisor"):
        tiny(discriminator__network__minibatch_std=3)
