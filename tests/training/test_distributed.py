"""Two processes do what one process does at the same global batch."""

import json
import subprocess
import sys

import pytest
import torch
from processes import close, launch, names
from tiny import ROOT, environment, override, tiny_recipe, tiny_upsampler

from t2igan.inference.pipeline import Pipeline
from t2igan.recipe import load_recipe

pytest_plugins = ["kit"]
STEPS = {"one pass": 3, "accumulated": 2, "adam": 2, "upsampler": 2, "whole batch": 2}  # R1 is due in every second one, from the first on


@pytest.fixture(scope="module")
def recorded(kit, tmp_path_factory):
    """{case: (one process, first of two, second of two)}, each with every gradient of every step and the final weights."""
    recipe = override(tiny_recipe(kit), training__batch=8)
    rate = {"lr": 0.01}
    slow = override(recipe, training__generator_optimizer=rate, training__discriminator_optimizer=rate)
    # one process goes through the batch in the parts that two have, as minibatch statistics stay inside a part
    cases = {
        "one pass": {"recipe": override(slow, training__micro_batch=4), "sgd": True},
        "accumulated": {"recipe": override(slow, training__micro_batch=2), "sgd": True},
        "adam": {"recipe": override(recipe, training__micro_batch=4), "sgd": False},
    }
    upsampler = override(tiny_upsampler(kit), training__batch=8, training__generator_optimizer=rate, training__discriminator_optimizer=rate)
    upsampler["objective"]["discriminator"][2] |= {"kind": "r1_finite"}
    cases["upsampler"] = {"recipe": override(upsampler, training__micro_batch=4), "sgd": True}
    whole = override(slow, discriminator__network__minibatch_std=0)  # the rest does not know how the batch is shared
    cases["whole batch"] = {"recipe": whole, "sgd": True}
    cases = {name: case | {"steps": STEPS[name]} for name, case in cases.items()}
    folder = tmp_path_factory.mktemp("distributed")
    first, second = launch(cases, 2, folder)
    (single,) = launch(cases, 1, folder)
    return {name: (single[name], first[name], second[name]) for name in cases}


def test_the_launch_really_had_two_processes(recorded):
    for one, first, second in recorded.values():
        assert [int(found["world"]) for found in (one, first, second)] == [1, 2, 2]


@pytest.mark.parametrize("half", ["D", "G"])
@pytest.mark.parametrize("case", ["one pass", "accumulated", "upsampler", "whole batch"])
def test_two_processes_have_the_gradients_of_one(case, half, recorded):
    """D with R1 and matching, G with matching and guidance by CLIP, in every step."""
    one, first, _ = recorded[case]
    for step in range(STEPS[case]):
        found = names(one, f"gradient/{step}/{half}/")
        assert len(found) == len(names(first, f"gradient/{step}/{half}/")) > 20
        for name in found:
            assert close(one[name], first[name]), f"{name}: {(one[name] - first[name]).abs().max():.2e} of {one[name].abs().max():.2e}"


@pytest.mark.parametrize("case", ["one pass", "accumulated", "upsampler", "whole batch"])
def test_two_processes_end_in_the_weights_of_one(case, recorded):
    one, first, _ = recorded[case]
    for name in names(one, "weight/"):
        assert close(one[name], first[name]), name


def test_first_gradients_under_adam_are_those_of_one_process(recorded):
    """Later ones follow weights that Adam has moved by rounding noise; G's first already follow D's first update."""
    one, first, _ = recorded["adam"]
    for name in names(one, "gradient/0/D/"):
        assert close(one[name], first[name]), name


@pytest.mark.parametrize("case", STEPS)
def test_every_process_ends_with_identical_weights(case, recorded):
    _, first, second = recorded[case]
    assert set(first) == set(second)
    for name in names(first, "weight/") + names(first, "gradient/"):
        assert torch.equal(first[name], second[name]), name


@pytest.mark.slow
def test_accelerate_launch_trains_the_demo_recipe_with_two_processes(kit, tmp_path):
    """On a few hundred real emoji; guided, where the recipe says so, by a random CLIP in the place of the trained one."""
    environ = environment(tmp_path / "cache")
    data = tmp_path / "emoji_32"
    prepare = [sys.executable, ROOT / "data_prep" / "emoji.py", "--out", data, "--size", "32"]
    subprocess.run(prepare, env=environ, check=True, timeout=600)
    overrides = [
        f"data.shards={data / 'train'}",
        "training.total_images=192",
        "training.batch=16",
        "training.log_every=1",
        "training.checkpoint_every=96",
        "training.sample_every=192",
        "training.precision=fp32",
        f"training.cluster_features=local-dir:{kit.clip}",
    ]
    demo = load_recipe(ROOT / "configs" / "emoji_32.yaml")
    for number, term in enumerate(demo.objective.generator):
        if term.kind.startswith("clip_"):
            overrides.append(f"objective.generator.{number}.model=local-dir:{kit.clip}")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no"]
    arguments = ["-m", "t2igan", "train", "configs/emoji_32.yaml", *overrides, "--out", tmp_path / "run"]
    done = subprocess.run([*launch, *arguments], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("2 process(es)") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [16 * step for step in range(1, 13)]
    assert all(line["skipped_steps"] == 0 for line in lines)
    ((image,),) = Pipeline.load(tmp_path / "run")(["red heart"])
    assert image.size == (32, 32)
