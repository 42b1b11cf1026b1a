"""The benchmarks measure what they say: the recipes, the terms left out, the figures of two checkouts."""

import io
import json
import resource
import runpy
import subprocess
import sys

import pytest
import torch
import yaml
from tiny import ROOT, tiny_recipe

from t2igan.config import ObjectiveConfig, Recipe
from t2igan.errors import UserError
from t2igan.recipe import parse
from t2igan.system import build_generator, build_objective, build_system
from t2igan.types import TextDims

pytest_plugins = ["kit"]

SCRIPTS = (
    "alias_free",
    "checkouts",
    "coco_pipeline",
    "gigagan",
    "flow",
    "gpu",
    "lineage",
    "seeds",
    "stylegan_t",
    "systems",
    "text_to_512",
    "training",
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_needs_no_torch(name):
    code = (
        "import runpy, sys\nsys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, str(ROOT / "benchmarks" / f"{name}.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "False\n", done.stderr
    assert runpy.run_path(command[-1])["__doc__"].splitlines()[0] in done.stdout


# ------------------------------------------------------------------------------------------------ beside gigagan-pytorch


@pytest.fixture
def ours(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import gigagan_ours

    return gigagan_ours


def test_our_networks_have_the_sizes_of_published_results(ours, tmp_path):
    """The peer's to a tenth: 8.4 and 8.6 million parameters in G and D of `small`, 13.3 in the upsampler."""
    with torch.device("meta"):
        system = build_system(parse(Recipe, ours.our_recipe("small", 4, "fp32", tmp_path), ""))
        recipe = parse(Recipe, ours.our_upsampler(4), "")
        upsampler = build_generator(recipe.generator, recipe.resolution, TextDims(ours.TEXT_DIM, ours.TEXT_DIM))
    counts = [sum(p.numel() for p in module.parameters()) for module in (system.generator, system.discriminator, upsampler)]
    assert counts == [8_351_237, 8_586_776, 13_273_973]


def test_fresh_fakes_take_one_more_pass_of_the_generator(ours, tmp_path, monkeypatch):
    from benchmarks.gigagan_clock import counted

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ours.SIZES, "small", (4, 32, 32, 4, 4))
    monkeypatch.setitem(ours.BLOCKS, "small", ([1] * 5, [1] * 5))
    shared, fresh = (ours.Ours("small", 2, "fp32", reuse_fakes) for reuse_fakes in (True, False))

    def one_pass(system):
        with torch.no_grad():
            system.trainer.generate(system.micro_batch)

    difference = counted(lambda system: system.step(1), fresh) - counted(lambda system: system.step(1), shared)
    assert difference == pytest.approx(counted(one_pass, shared), rel=1e-6)
    assert counted(lambda system: system.d_backward(penalty=True), shared) > counted(lambda system: system.d_backward(False), shared)


# ------------------------------------------------------------------------------------------------ training


@pytest.fixture
def training():
    return runpy.run_path(str(ROOT / "benchmarks" / "training.py"))


def objective(*discriminator: dict):
    terms = {"discriminator": list(discriminator), "generator": [{"kind": "nonsaturating"}, {"kind": "matching"}]}
    return build_objective(parse(ObjectiveConfig, terms, "objective"))


def test_a_loss_is_left_out_and_the_others_stay(training):
    whole = objective({"kind": "r1", "every": 4}, {"kind": "nonsaturating"}, {"kind": "matching"})
    assert training["optional"](whole) == ["D/r1", "D/matching", "G/matching"]
    for name in training["optional"](whole):
        left = training["named"](training["leave_out"](whole, name))
        assert left == {key: entry for key, entry in training["named"](whole).items() if key != name}


def test_a_half_keeps_a_loss_at_every_step(training):
    whole = objective({"kind": "nonsaturating"}, {"kind": "r1", "every": 4}, {"kind": "matching", "after": 100})
    with pytest.raises(UserError, match="D would have no loss at some steps"):
        training["leave_out"](whole, "D/nonsaturating")
    with pytest.raises(UserError, match="no such loss; it has D/nonsaturating, D/r1"):
        training["leave_out"](whole, "D/r2")


def test_shares_are_of_the_whole(training, kit, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe(kit)))
    result = training["measure"](str(recipe), [], 1, ["D/r1"])
    assert list(result["shares"]) == ["data", "text", "D", "D/r1", "G"]
    assert sum(result["shares"].values()) == pytest.approx(1) and result["images_per_second"] > 0
    assert all(result["shares"][name] > 0 for name in ("data", "text", "G"))


# ------------------------------------------------------------------------------------------------ two checkouts


@pytest.fixture
def checkouts():
    return runpy.run_path(str(ROOT / "benchmarks" / "checkouts.py"))


def test_the_length_of_a_training_by_either_name(checkouts, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("training: {batch: 24}\n")
    overrides = checkouts["recipe_overrides"]
    common = ["training.log_every=8", "training.checkpoint_every=1152", "training.sample_every=1152"]
    assert overrides(recipe, 48, []) == ("training.total_images=1152", *common)
    assert overrides(recipe, 48, ["training.images={images}"]) == (*common, "training.images=1152")
    assert overrides(recipe, 48, ["training.batch=2"])[0] == "training.total_images=96"
    with pytest.raises(UserError, match="give a file that both checkouts have"):
        overrides(tmp_path / "missing.yaml", 48, [])


def test_warm_up_does_not_count(checkouts):
    lines = [json.dumps({"images_per_second": speed}) for speed in (1, 2, 50, 70, 60, 20)]
    assert checkouts["later_speed"]("\n".join(lines)) == 55
    with pytest.raises(UserError, match="2 lines"):
        checkouts["later_speed"]("\n".join(lines[:2]))


def test_ratios_are_of_neighbours_in_time(checkouts):
    Training = checkouts["Training"]
    here, there = [Training(10, 1), Training(20, 1), Training(30, 4)], [Training(5, 2), Training(20, 2), Training(20, 2)]
    result = checkouts["summary"](here, there)
    assert result["images_per_second"] == {"here": 20, "there": 20, "ratio": 1.5}
    assert result["peak_gib"] == {"here": 1, "there": 2, "ratio": 0.5}


PROGRAM = """
import json, sys
from pathlib import Path

if "fail=1" in sys.argv:
    sys.exit("error: nothing to train on")
block = b"x" * (900 << 20)
out = Path(sys.argv[-1])
out.mkdir()
lines = [{"images_per_second": len(sys.argv)}] * 3
(out / "metrics.jsonl").write_text("".join(json.dumps(line) + chr(10) for line in lines))
"""


def test_a_training_runs_its_checkouts_code(checkouts, tmp_path):
    """Also where another t2igan is installed; its peak memory is measured, and its error is passed on."""
    package = tmp_path / "clone" / "t2igan"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    checkout = checkouts["Checkout"]("there", tmp_path / "clone", "recipe.yaml", (), tmp_path / "cache")
    found = checkouts["train"](checkout, 1, tmp_path / "out")
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # a process starts with the peak of the one that starts it
    assert found.images_per_second == 5 and 0.87 < found.peak_gib < max(1.1, inherited + 0.1)
    failing = checkouts["Checkout"]("there", tmp_path / "clone", "recipe.yaml", ("fail=1",), tmp_path / "cache")
    with pytest.raises(UserError, match=r"clone: nothing to train on"):
        checkouts["train"](failing, 1, tmp_path / "failed")


# ------------------------------------------------------------------------------------------------ seeds


@pytest.fixture
def seeds():
    return runpy.run_path(str(ROOT / "benchmarks" / "seeds.py"))


def test_a_study_ends_in_a_row_per_seed_and_the_range(seeds):
    rows = {seed: {"train": value, "frechet": value / 10} for seed, value in ((0, 0.5), (1, 0.9), (7, 0.6))}
    title, *lines = (line.split() for line in seeds["table"](rows).splitlines())
    assert title == ["seed", "train", "frechet"]
    assert lines[:3] == [["0", "0.500", "0.050"], ["1", "0.900", "0.090"], ["7", "0.600", "0.060"]]
    assert lines[3:] == [["least", "0.500", "0.050"], ["median", "0.600", "0.060"], ["most", "0.900", "0.090"]]


def test_a_broken_training_is_resumed(seeds, tmp_path):
    command = seeds["train_command"]
    assert command("r.yaml", ["seed=3"], 2, tmp_path)[-5:] == ["train", "r.yaml", "seed=3", "--out", str(tmp_path)]
    checkpoint = tmp_path / "checkpoints/000000000008"
    checkpoint.mkdir(parents=True)
    assert "--resume" not in command("r.yaml", [], 1, tmp_path)
    (checkpoint / "state.json").touch()
    assert command("r.yaml", [], 1, tmp_path)[-2:] == [str(tmp_path), "--resume"]


@pytest.mark.slow
def test_a_study_of_two_seeds(seeds, kit, emoji_32, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "study"
    recipe.write_text(yaml.safe_dump(tiny_recipe(kit)))
    words = [recipe, "training.total_images=32", "--seeds", 4, 5, "--processes", 1, "--data", emoji_32, "--scorer", kit.clip, "--out", out]
    monkeypatch.setattr(sys, "argv", ["seeds.py", *map(str, words)])
    seeds["main"]()
    rows = json.loads((out / "result.json").read_text())["seeds"]
    assert list(rows) == ["4", "5"] and rows["4"] != rows["5"]
    finished = (out / "4/result.json").stat().st_mtime_ns
    seeds["main"]()
    assert (out / "4/result.json").stat().st_mtime_ns == finished


# ------------------------------------------------------------------------------------------------ the first minutes on a GPU


STEPS = ["layers", "training", "resume", "processes", "small", "base", "upsampler", "prompt", "demo", "peer"]


@pytest.mark.parametrize("steps", [["layers", "prompt"], pytest.param(STEPS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_the_gpu_script_rehearses_on_a_cpu(steps, tmp_path):
    """What the demo and the peer need may be missing; nothing may fail."""
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--rehearse", "--out", tmp_path, "--only", *steps]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    found = {row["step"]: row for row in json.loads((tmp_path / "result.json").read_text())["steps"]}
    assert done.returncode == 0 and list(found) == steps, done.stderr
    assert all(row["outcome"] == "PASS" for name, row in found.items() if name not in ("demo", "peer"))
    assert (tmp_path / "table.md").read_text().count("PASS") == sum(row["outcome"] == "PASS" for row in found.values())


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import gpu

    return gpu


def test_a_step_that_hangs_or_dies_fails_alone(gpu, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/gpu_steps.py").write_text(
        "import json, sys, time\n"
        "ends = {'resume': lambda: time.sleep(60), 'base': lambda: sys.exit(3)}\n"
        "ends.get(sys.argv[1], lambda: print(json.dumps(['PASS', '1'])))()\n"
    )
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    monkeypatch.setitem(gpu.STEPS, "resume", ("", 1))
    end = gpu.time.monotonic() + 60
    found = [gpu.play(name, True, end) for name in ("resume", "base", "small")]
    assert [row["outcome"] for row in found] == ["FAIL", "FAIL", "PASS"]
    assert [row["detail"] for row in found] == ["not done after 1 s", "ended with code 3 and no result", "1"]
    assert gpu.play("small", True, gpu.time.monotonic())["outcome"] == "SKIP"


def test_without_a_gpu_it_says_how_to_rehearse(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(UserError, match="no GPU that torch can use; --rehearse"):
        gpu.main()


# ------------------------------------------------------------------------------------------------ systems and their filters


@pytest.mark.slow
def test_any_recipes_networks_are_measured(root, tmp_path, kit):
    from tiny import stylegan2_recipe, write_recipe

    path = write_recipe(tmp_path / "recipe.yaml", stylegan2_recipe(kit))
    command = [sys.executable, "-m", "benchmarks.systems", str(path), "--batch", "2", "--rounds", "1", "--out", str(tmp_path / "x.json")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "x.json").read_text())
    assert set(result["rows"]) == {"G forward", "D", "D with lazy penalties", "step"}
    rows = result["rows"].values()
    assert all(row["images_per_second"] > 0 and 0 < row["of_ceiling"] < 1 for row in rows)
    assert result["rows"]["D with lazy penalties"]["gflop_per_image"] > result["rows"]["D"]["gflop_per_image"]
    assert "of ceiling" in done.stdout and f"{result['g']:,}" in done.stdout


@pytest.mark.slow
def test_both_formulations_of_the_filtered_nonlinearity_are_one(root):
    sizes = ["--resolution", "16", "--channels", "4", "--batch", "1", "--rounds", "1"]
    command = [sys.executable, "-m", "benchmarks.alias_free", *sizes, "--only", "up by four"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "up by four" in done.stdout and done.stdout.count("x\n") == 1


# ------------------------------------------------------------------------------------------------ the lineage side by side


@pytest.fixture
def lineage(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import lineage

    return lineage


def test_a_recipe_of_another_length_stretches_everything_that_is_measured_in_images(lineage):
    from t2igan.recipe import load_recipe

    for name, fields in {"emoji_progan_32": ("hold", "fade"), "emoji_stylegan2_32": ("ramp_images",), "emoji_stylegan_t_32": ()}.items():
        recipe = load_recipe(ROOT / f"configs/{name}.yaml")
        half, same = lineage.scaled(recipe, 0.5), lineage.scaled(recipe, 1.0)
        assert same == recipe
        assert half.training.total_images == recipe.training.total_images // 2
        for images in (0, 12_345, 60_000, 120_000):
            for path in ("generator_optimizer", "discriminator_optimizer"):
                a, b = (getattr(r.training, path) for r in (half, recipe))
                assert a.lr(images // 2) == pytest.approx(b.lr(images), rel=1e-3) and a.warmup == b.warmup // 2
        sections = half.training.growth, half.augment
        assert all(any(hasattr(section, field) for section in sections) for field in fields)
        assert half.generator == recipe.generator and half.training.batch == recipe.training.batch
    growth = load_recipe(ROOT / "configs/emoji_progan_32.yaml").training.growth
    half = lineage.scaled(growth, 0.5)
    assert (half.hold, half.fade, half.start) == (growth.hold // 2, growth.fade // 2, growth.start)


def test_a_chain_of_recipes_shares_the_images_in_whole_steps(lineage):
    from t2igan.recipe import load_recipe

    for names in lineage.SYSTEMS.values():
        recipes = [load_recipe(ROOT / f"configs/{name}.yaml") for name in names]
        counts = lineage.lengths(recipes, 100_000)
        assert abs(sum(counts) - 100_000) < 24 * len(counts) and all(count % 24 == 0 for count in counts)
        assert [recipe.start is not None for recipe in recipes] == [number > 0 for number in range(len(recipes))]
        assert recipes[-1].resolution == 32
    assert lineage.FLOW not in lineage.SYSTEMS


def test_the_table_has_a_row_for_each_study_of_a_system(lineage):
    row = {"images": 120_000, "minutes": 31.25, "images_per_second": 64.0, "drawn_per_second": 500.4, "parameters": 2_345_678}
    row |= {"frechet": 0.1234, "r_at_1": 0.9, "r_at_5": 1.0, "compositions": 0.5, "diversity": 0.25, "coverage": 0.75}
    lines = lineage.table({("a", "r3gan"): row, ("b", "flow_matching_4"): row}).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| r3gan | a | 120,000 | 31.2 | 64.0 | 500 | 2.35M | 0.123 | 0.900 | 1.000 | 0.500 | 0.250 | 0.75 |"


@pytest.mark.slow
def test_the_flow_matching_network_learns_resumes_and_draws(kit, tmp_path, monkeypatch):
    """On the kit's shards, for seconds; a second call within the time goes on from the checkpoint."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import flow

    recipe = parse(Recipe, tiny_recipe(kit, guided=False) | {"resolution": 16}, "")
    monkeypatch.setattr(flow, "WIDTHS", (16, 32))
    monkeypatch.setattr(flow, "LR", 1e-3)
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    flow.train(recipe, 0.02, tmp_path)
    first = json.loads((tmp_path / "trained.json").read_text())
    flow.train(recipe, 0.04, tmp_path)
    second = json.loads((tmp_path / "trained.json").read_text())
    assert second["images"] > first["images"] > 0 and 0.04 <= second["minutes"] < 0.5
    sampler = flow.FlowSampler.load(recipe, tmp_path, steps=2)
    images = sampler.sample_tensor(["thing 1", "thing 2"], [0, 1])
    assert images.shape == (4, 3, 16, 16) and images.abs().max() <= 1 and not torch.allclose(images[0], images[1])
    assert torch.allclose(sampler.sample_tensor(["thing 2"], [1])[0], images[3], atol=1e-4), "an image depends on its prompt and seed alone"


def test_eulers_method_follows_the_velocity_with_guidance(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import flow

    monkeypatch.setattr(flow, "velocity", lambda network, x, t, text: torch.full_like(x, 0.01 * len(text)) * (1 + t[:, None, None, None]))
    sampler = flow.FlowSampler(torch.nn.Identity(), lambda prompts: prompts[0], 4, steps=2, guidance=3.0)
    (image,) = sampler.sample(["abc"], [5])
    start = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(5))
    wanted = (start + (3.0 * 0.03 * 1.0) / 2 + (3.0 * 0.03 * 1.5) / 2).clamp(-1, 1)
    assert torch.allclose(image, wanted, atol=1e-6)


SMALL = ["--channel-base", "128", "--channel-max", "8", "--blocks", "1", "--resolution", "16", "--batch", "2", "--rounds", "1"]


def test_the_grouped_formulation_draws_the_same_images(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import stylegan_t

    monkeypatch.setattr(sys, "argv", ["x", *SMALL, "--tower", "test_vit", "--serve", "grouped"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("G forward\nstep\n"))
    monkeypatch.setattr("t2igan.memory.reuse_freed_memory", lambda: None)
    threads = torch.get_num_threads()
    try:
        stylegan_t.main()
    finally:
        torch.set_num_threads(threads)
    facts, *seconds = map(json.loads, capsys.readouterr().out.splitlines())
    assert facts[0] < 1e-4 and facts[1] > 10_000 and len(seconds) == 2 and min(seconds) > 0


@pytest.mark.slow
def test_both_formulations_are_timed_in_turn(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import stylegan_t

    monkeypatch.setattr(sys, "argv", ["x", *SMALL, "--tower", "test_vit", "--out", str(tmp_path / "result.json")])
    stylegan_t.main()
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["rows"]) == {"G forward", "step"} and all(row["ours"] > 0 and row["ratio"] > 0 for row in result["rows"].values())
    assert result["difference"] < 1e-4 and "G forward" in capsys.readouterr().out
