"""The two halves of a step: which latents and which real images each takes."""

import pytest
import torch
from tiny import record_gradients, take_steps

from t2igan.data.order import CaptionGroups
from t2igan.errors import UserError

pytest_plugins = ["kit"]
NUMBER_OF_IMAGES = 23


@pytest.fixture
def watched(tiny):
    """watched(...) -> (run without clusters, the latents of each pass of G, {half: the micro-batches of that half's losses})."""

    def make(**values):
        run = tiny(training__cluster_features=None, objective__generator=[{"kind": "nonsaturating"}], **values)
        latents, halves, objective = [], {"D": [], "G": []}, run.trainer.objective
        run.trainer.generator.register_forward_pre_hook(lambda module, inputs: latents.append(inputs[0]))
        for half, losses in (("D", objective.discriminator), ("G", objective.generator)):

            def recorded(critic, batch, fake, now, half=half, losses=losses):
                halves[half].append((batch, fake))
                return losses(critic, batch, fake, now)

            setattr(objective, "discriminator" if half == "D" else "generator", recorded)
        return run, latents, halves

    return make


def test_each_half_draws_latents_of_its_own(watched):
    run, latents, halves = watched(training__micro_batch=4)
    take_steps(run, 1)
    assert len(latents) == 4, "a pass of G for each micro-batch of each half"
    of_d, of_g = torch.cat(latents[:2]), torch.cat(latents[2:])
    assert not (of_d[:, None] == of_g).all(2).any() and len(torch.cat(latents).unique(dim=0)) == 16
    for d, g in zip(halves["D"], halves["G"], strict=True):
        assert d[0].captions == g[0].captions and torch.equal(d[0].images, g[0].images), "with the same real images"
        assert d[1].pyramid.finest.requires_grad is False and g[1].pyramid.finest.requires_grad


def test_one_pass_of_g_serves_both_halves_where_fakes_are_reused(watched):
    run, latents, halves = watched(training__reuse_fakes=True)
    take_steps(run, 3)
    assert len(latents) == 3, "one pass of G for each step"
    for (_, of_d), (_, of_g) in zip(halves["D"], halves["G"], strict=True):
        assert torch.equal(of_d.pyramid.finest, of_g.pyramid.finest)
        assert not of_d.pyramid.finest.requires_grad and of_g.pyramid.finest.requires_grad


def test_reused_latents_are_passed_again_where_a_step_has_several_micro_batches(watched):
    """So that the activations of one micro-batch alone are kept."""
    run, latents, halves = watched(training__reuse_fakes=True, training__micro_batch=4)
    take_steps(run, 1)
    assert len(latents) == 4 and all(torch.equal(a, b) for a, b in zip(latents[:2], latents[2:], strict=True))
    for (_, of_d), (_, of_g) in zip(halves["D"], halves["G"], strict=True):
        assert torch.equal(of_d.pyramid.finest, of_g.pyramid.finest)


def test_a_reused_pass_gives_g_the_gradients_of_a_pass_of_its_own(watched):
    """The pass is kept through D's update, which must not change what G's half differentiates."""
    found = {}
    for reuse in (True, False):
        run, _, halves = watched(training__reuse_fakes=reuse, training__discriminator_optimizer={"lr": 0.0})
        trainer = run.trainer
        if not reuse:  # the latents of D's half, in a second pass
            drawn, draws = trainer.drawn, trainer.draws
            trainer.drawn = lambda *of, drawn=drawn, draws=draws: drawn(*of[:-1], "D") | {"draws": draws(of[0], of[-1])}
        gradients = record_gradients(trainer)
        take_steps(run, 1)
        found[reuse] = gradients["G"][0]
        assert torch.equal(halves["D"][0][1].pyramid.finest, halves["G"][0][1].pyramid.finest)
    assert all(torch.allclose(found[True][name], g, rtol=1e-5, atol=1e-6 * g.abs().max()) for name, g in found[False].items())


def test_views_of_the_halves_differ(watched):
    """The same images in both halves get augmentations of their own in each."""
    run, _, halves = watched(training__reuse_fakes=True)
    take_steps(run, 1)
    (d, _), (g, _) = halves["D"][0], halves["G"][0]
    assert not torch.equal(d.draws.uniform("diffaugment", 10), g.draws.uniform("diffaugment", 10))


def test_gs_half_takes_real_images_of_its_own_where_the_recipe_wants_it(watched):
    run, _, halves = watched(training__own_reals=True, training__micro_batch=4)
    of_d, of_g = run.dataset[0]
    run.trainer.step(of_d, of_g)
    for half, batch in (("D", of_d), ("G", of_g)):
        assert torch.equal(torch.cat([m.images for m, _ in halves[half]]), batch.images)
        assert [caption for m, _ in halves[half] for caption in m.captions] == batch.captions
    assert of_d.sample_ids != of_g.sample_ids and torch.equal(of_d.positions, of_g.positions)


def test_each_half_goes_through_the_data_in_an_order_of_its_own(watched):
    run, _, _ = watched(training__own_reals=True)
    orders = [[], []]
    for position in range(0, 48, 8):
        for order, batch in zip(orders, run.dataset[position], strict=True):
            order += batch.sample_ids
    for order in orders:
        assert sorted(order[:NUMBER_OF_IMAGES]) == sorted(order[NUMBER_OF_IMAGES : 2 * NUMBER_OF_IMAGES]) == list(range(NUMBER_OF_IMAGES))
    assert orders[0][:NUMBER_OF_IMAGES] != orders[1][:NUMBER_OF_IMAGES]


def test_a_run_with_real_images_for_each_half_trains_and_counts_ds(tiny):
    run = tiny(training__own_reals=True, training__cluster_features=None, training__total_images=16)
    run.train()
    assert run.trainer.images == 16 and run.trainer.steps == 2


def test_images_of_one_caption_come_together_in_each_half(watched, tiny):
    run, _, halves = watched(training__own_reals=True, training__micro_batch=4, data__images_per_caption=2)
    assert all(isinstance(half.order, CaptionGroups) and half.order.group == 2 for half in run.dataset.halves)
    run.trainer.step(*run.dataset[0])
    for half, read, batch in zip(("D", "G"), run.dataset.halves, run.dataset[0], strict=True):
        assert read.order(batch.positions.numpy()).tolist() == batch.sample_ids
        assert torch.equal(torch.cat([m.images for m, _ in halves[half]]), batch.images)
    with pytest.raises(UserError, match=r"data\.images_per_caption takes groups of 3 images, a pass has 8"):
        tiny(data__images_per_caption=3)


def test_reused_fakes_need_the_same_real_images_in_both_halves(tiny):
    with pytest.raises(UserError, match="reuse_fakes needs the same real images in both halves"):
        tiny(training__own_reals=True, training__reuse_fakes=True)
