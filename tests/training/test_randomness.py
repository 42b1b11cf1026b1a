"""A sample's random numbers do not depend on rank, number of processes or micro-batch size."""

import pytest
import torch
from tiny import override, run_of, tiny_upsampler

from t2igan.data.batches import TrainingBatches
from t2igan.objective.gradient_penalty import FiniteDifferenceR1
from t2igan.pyramid import build_pyramid
from t2igan.types import TrainingTime

pytest_plugins = ["kit"]
SEED, BATCH = 3, 8


@pytest.fixture(scope="module")
def run(kit, tmp_path_factory):
    recipe = override(tiny_upsampler(kit), data__mirror=True)
    recipe["objective"]["discriminator"][2] = {"kind": "r1_finite"}
    return run_of(recipe, tmp_path_factory.mktemp("run"))


def numbers(run, half: str, position: int, world: int = 1, micro: int = BATCH) -> dict[str, torch.Tensor]:
    """Everything random in one half of a step, of all samples in order, as `world` processes with these micro-batches make it."""
    (penalty,) = (term for term in run.trainer.objective.terms if isinstance(term, FiniteDifferenceR1))
    rows: dict[str, list] = {}
    for rank in range(world):
        data = TrainingBatches(run.shards, 16, BATCH, SEED, rank, world, run.recipe.data.caption_dropout, run.recipe.data.mirror)
        for part in data[position].split(micro):
            assert len(part) == micro
            m = run.trainer.prepare(part, half)
            real = build_pyramid(m.images, run.trainer.critic.levels)
            own = torch.arange(len(m))
            sets = penalty.extra_sets(m, real, real, own)
            augmented = run.trainer.critic.augment(real, m.draws.scoped("view of real"), TrainingTime(position))
            found = {"latents": m.z, "condition": m.condition, "images": m.images, "positions": part.positions}
            found |= {f"perturbed {x.shape[-1]}": x for x in sets["perturbed"].pyramid.levels}
            found |= {f"augmented {x.shape[-1]}": x for x in augmented.levels}
            found |= {"captions": torch.tensor([hash(caption) for caption in part.captions])}
            found |= {"mismatched captions": m.critic_text[m.mismatched].source.ids}
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
    return {name: torch.cat(pieces) for name, pieces in rows.items()}


@pytest.mark.parametrize("half", ["D", "G"])
@pytest.mark.parametrize(("world", "micro"), [(1, 2), (2, 4), (2, 2), (4, 1), (8, 1)])
def test_a_step_is_the_same_whatever_the_processes_and_micro_batches(world, micro, half, run):
    whole, split = numbers(run, half, 40), numbers(run, half, 40, world, micro)
    assert set(whole) == set(split) and torch.equal(whole["positions"], torch.arange(40, 48))
    for name, rows in whole.items():
        assert torch.equal(split[name], rows) if name not in ("condition", "images") else torch.allclose(split[name], rows, atol=1e-6), name


def test_halves_steps_and_samples_differ_and_a_repeated_step_does_not(run):
    a, again, later, other = numbers(run, "D", 0), numbers(run, "D", 0), numbers(run, "D", 8), numbers(run, "G", 0)
    random = ("latents", "condition", "perturbed 16", "perturbed 8", "augmented 16")
    for name in random:
        assert torch.equal(a[name], again[name])
        assert not torch.equal(a[name], later[name]) and not torch.equal(a[name], other[name]), name
    assert len(torch.cat([a["latents"], later["latents"], other["latents"]]).unique()) == 3 * a["latents"].numel()


def test_the_global_generator_is_neither_read_nor_moved(run):
    torch.manual_seed(5)
    before, first = torch.get_rng_state(), numbers(run, "D", 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert all(torch.equal(value, first[name]) for name, value in numbers(run, "D", 0).items())


def test_another_seed_changes_every_number(run, kit, tmp_path):
    other = run_of(override(tiny_upsampler(kit), seed=4), tmp_path)
    part = run.dataset[0]
    a, b = run.trainer.prepare(part, "D"), other.trainer.prepare(part, "D")
    assert len(torch.cat([a.z, b.z]).unique()) == 2 * a.z.numel()
