"""Training's random numbers: a function of seed, step and purpose, whatever the number of processes."""

from types import SimpleNamespace

import pytest
import torch
from t2igan.training.randomness import PURPOSES, generator
from tiny import tiny_upsampler, trainer_of

from t2igan.training.trainer import Trainer
from t2igan.types import TrainingTime

pytest_plugins = ["kit"]


def draws(seed, step, purpose):
    return torch.rand(8, generator=generator(seed, step, purpose))


def test_equal_arguments_draw_equal_numbers():
    assert torch.equal(draws(3, 100, "latents"), draws(3, 100, "latents"))


def test_seed_step_and_purpose_each_change_every_number():
    keys = [(seed, step, purpose) for seed in (0, 1, 2**31) for step in (0, 1, 2, 10**9) for purpose in PURPOSES]
    rows = torch.stack([draws(*key) for key in keys])
    assert len(rows.flatten().unique()) == rows.numel(), "no two streams share a number"


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(5)
    before, first = torch.get_rng_state(), draws(0, 0, "latents")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(draws(0, 0, "latents"), first)


def test_an_unknown_purpose_is_an_error():
    with pytest.raises(ValueError):
        generator(0, 0, "something else")


@pytest.fixture(scope="module")
def trainer(kit, tmp_path_factory):
    recipe = tiny_upsampler(kit)
    recipe["objective"]["discriminator"][2] = {"kind": "r1_finite"}
    return trainer_of(recipe, tmp_path_factory.mktemp("run"))


def process(trainer: Trainer, rank: int, world: int, micro: int) -> SimpleNamespace:
    """What Trainer._draw looks at, in process `rank` of `world`."""
    return SimpleNamespace(
        config=trainer.config,
        generator=trainer.generator,
        objective=trainer.objective,
        sides=trainer.sides,
        recipe=trainer.recipe,
        device=trainer.device,
        _random=trainer._random,
        accelerator=SimpleNamespace(process_index=rank),
        share=trainer.config.batch // world,
        micro=micro,
    )


@pytest.mark.parametrize(("world", "micro"), [(1, 2), (2, 4), (2, 2), (4, 1), (8, 1)])
def test_a_step_draws_the_same_rows_whatever_the_processes_and_micro_batches(world, micro, trainer):
    now = TrainingTime(images=40, step=5)
    whole = {name: torch.cat(rows) for name, rows in trainer._draw(now).items()}
    parts = [Trainer._draw(process(trainer, rank, world, micro), now) for rank in range(world)]
    for name, rows in whole.items():
        assert all(len(piece) == micro for part in parts for piece in part[name])
        assert torch.equal(torch.cat([piece for part in parts for piece in part[name]]), rows)
    assert set(whole) == {*PURPOSES, "nudge 16", "nudge 8"} - {"nudge"}
    assert all(whole[name].std() == pytest.approx(1, abs=0.3) for name in ("latents", "noise", "nudge 16"))


def test_steps_differ_and_a_repeated_step_does_not(trainer):
    a, b, again = (trainer._draw(TrainingTime(0, step)) for step in (0, 1, 0))
    for name in a:
        assert not torch.equal(a[name][0], b[name][0]) and torch.equal(a[name][0], again[name][0])
