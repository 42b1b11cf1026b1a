"""Two processes do what one does, and a killed run what a whole one does, where systems grow, keep running means and adapt."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from processes import close, launch, names
from safetensors.torch import load_file
from tiny import (
    ROOT,
    environment,
    growing_recipe,
    override,
    stylegan2_recipe,
    stylegan_t_recipe,
    stylegan_xl_recipe,
    write_recipe,
)

pytest_plugins = ["kit"]
pytestmark = pytest.mark.slow
ALIAS_FREE = {"kind": "stylegan3", "layers": 4, "channel_base": 256, "channel_max": 8, "magnitude_half_life": 20}
EXPERTS = {"kind": "aurora", "channels": [8, 8, 8], "blocks": [1, 1, 1], "num_kernels": [1, 2, 1], "attention": [0, 1, 1]}
EXPERTS |= {"experts": [1, 2, 3], "attention_width": 8, "head_dim": 4, "mlp_ratio": 1}
ROUTED = [{"kind": "nonsaturating"}, {"kind": "routing", "weight": 0.01}]


def stylegan3_recipe(kit, **changes) -> dict:
    return override(stylegan2_recipe(kit, **changes), generator__synthesis=ALIAS_FREE)


def aurora_recipe(kit, **changes) -> dict:
    return override(stylegan2_recipe(kit, **changes), generator__synthesis=EXPERTS, objective__generator=ROUTED)


MAKERS = {
    **{"progan": growing_recipe, "stylegan2": stylegan2_recipe, "stylegan3": stylegan3_recipe, "stylegan_xl": stylegan_xl_recipe},
    **{"stylegan_t": stylegan_t_recipe, "aurora": aurora_recipe},
}
STEPS = dict.fromkeys(MAKERS, 3) | {"progan": 6, "stylegan_xl": 2}  # of ProGAN two at 4 px, in the fade, and at 8 px


@pytest.fixture(scope="module")
def recorded(kit, tmp_path_factory):
    """{case: (one process, first of two, second of two)}; one process goes through the batch in the parts that two have."""
    rate = {"lr": 0.001}  # at ten times that, rounding grows to 1e-4 of a gradient within four steps of WGAN-GP
    rates = {"training__generator_optimizer": rate, "training__discriminator_optimizer": rate}
    recipes = {name: make(kit, **rates) for name, make in MAKERS.items()}
    for name, recipe in recipes.items():
        recipe["training"] |= {"micro_batch": 2} if name == "progan" else {"batch": 8, "micro_batch": 4}
    cases = {name: {"recipe": recipe, "sgd": True, "steps": STEPS[name]} for name, recipe in recipes.items()}
    folder = tmp_path_factory.mktemp("lineage")
    first, second = launch(cases, 2, folder)
    (single,) = launch(cases, 1, folder)
    return {name: (single[name], first[name], second[name]) for name in cases}


def both_vanish(a: torch.Tensor, b: torch.Tensor, largest: float) -> bool:
    """Whether both are zero but for rounding, as the gradients of a bias before a normalisation and of the keys' bias in attention."""
    return max(float(a.abs().max()), float(b.abs().max())) < 1e-5 * largest


@pytest.mark.parametrize("half", ["D", "G"])
@pytest.mark.parametrize("case", STEPS)
def test_two_processes_have_the_gradients_of_one(case, half, recorded):
    """WGAN-GP through growth; path lengths with their running mean, R1, an augmentation that adapts; running means of magnitudes;
    frozen networks in D with statistics of groups, spectral norms, and a text tower that trains; experts and their router."""
    one, first, _ = recorded[case]
    for step in range(STEPS[case]):
        found = names(one, f"gradient/{step}/{half}/")
        assert len(found) > 10
        largest = max(float(one[name].abs().max()) for name in found)
        for name in found:
            difference = f"{(one[name] - first[name]).abs().max():.2e} of {one[name].abs().max():.2e}"
            assert close(one[name], first[name]) or both_vanish(one[name], first[name], largest), f"{name}: {difference}"


@pytest.mark.parametrize("case", STEPS)
def test_all_end_in_the_same_weights(case, recorded):
    one, first, second = recorded[case]
    for name in names(one, "weight/"):
        assert close(one[name], first[name]) or both_vanish(one[name], first[name], 1.0), name
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_killed_at_a_random_step_ends_in_the_same_bits(name, kit, tmp_path):
    recipe = MAKERS[name](kit, training__checkpoint_every=4)
    path = write_recipe(tmp_path / "recipe.yaml", recipe)
    train = [sys.executable, "-m", "t2igan", "train", str(path), "--out"]
    options = {"env": environment(tmp_path / "cache"), "cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    subprocess.run([*train, str(tmp_path / "whole")], check=True, **options)
    for count in (2, 5, 8):  # checkpoints after which it is killed
        process = subprocess.Popen([*train, str(tmp_path / "killed"), *(["--resume"] if count > 2 else [])], **options)
        deadline = time.monotonic() + 120
        while sum(int(path.parent.name) >= 8 * count for path in tmp_path.glob("killed/checkpoints/0*/state.json")) == 0:
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed/model").exists()
    subprocess.run([*train, str(tmp_path / "killed"), "--resume"], check=True, **options)
    whole, killed = (sorted((tmp_path / run / "checkpoints").glob("0*"))[-1] for run in ("whole", "killed"))
    for file in ("generator", "discriminator", "ema", "augment", "objective", "generator_optimizer"):
        a, b = (load_file(folder / f"{file}.safetensors") for folder in (whole, killed))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), file
