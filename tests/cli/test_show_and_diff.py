"""`t2igan show` and `t2igan diff`."""

import json
import socket

import pytest
import yaml
from tiny import ROOT, override, write_recipe

from t2igan.cli import main
from t2igan.evaluation.profile import table

pytest_plugins = ["kit"]

RECIPES = sorted((ROOT / "configs").rglob("*.yaml"))


QUICK = (  # one of each system, and of each kind of text
    *("progan_64", "progan_cifar10", "emoji_stylegan_32", "emoji_stylegan2_32", "stylegan2_ada_cifar10", "emoji_stylegan3_32"),
    *("stylegan_xl_imagenet_16", "emoji_stylegan_t_32_phase2", "emoji_32", "emoji_aurora_32", "r3gan_ffhq_64", "emoji_r3gan_32"),
)


def test_the_quick_recipes_are_there():
    assert set(QUICK) <= {path.stem for path in RECIPES}


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow]) for path in RECIPES]
)
def test_show_json_has_its_schema(path, monkeypatch, capsys):
    """Found without opening a socket."""

    def refuse(*arguments, **options):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    main(["show", str(path), "--json"])
    one = json.loads(capsys.readouterr().out)
    recipe, parts = yaml.safe_load(path.read_text()), one["parts"]
    assert one["recipe"] == path.stem and one["resolution"] == recipe["resolution"]
    adapters = [name for name in ("generator", "discriminator") if recipe[name]["adapter"] is not None]
    assert {"generator", "discriminator", "text_encoder", *(f"{name}.adapter" for name in adapters)} <= set(parts)
    for name, part in parts.items():
        assert set(part) == {"params", "trainable", "gflops_per_image"}
        owner, _, sub = name.partition(".")
        frozen = any(group.get("frozen") for group in recipe["training"].get(f"{owner}_optimizer", {}).get("groups", ()))
        if name == "text_encoder":
            assert part["trainable"] == 0
        elif not frozen:
            assert part["trainable"] == part["params"]
        elif not sub:
            assert 0 < part["trainable"] < part["params"]
    for name in adapters:
        assert 0 < parts[f"{name}.adapter"]["params"] < parts[name]["params"], "adapters count in their owner"
        whole = parts[name]["gflops_per_image"]  # unknown where a frozen network comes first
        assert 0 < parts[f"{name}.adapter"]["gflops_per_image"] < (whole or float("inf"))


def test_show_counts_what_a_recipe_freezes(call):
    recipe = ROOT / "configs/emoji_stylegan_t_32_phase2.yaml"  # trains the text layers alone
    parts = json.loads(call("show", recipe, "--json"))["parts"]
    counts = {name: (part["trainable"], part["params"]) for name, part in parts.items() if name.startswith("generator")}
    assert counts["generator.mapper"][0] == counts["generator.synthesis"][0] == 0
    trained, adapter = counts["generator.adapter"]
    assert trained == adapter == counts["generator"][0]
    table = call("show", recipe).splitlines()
    row = next(line for line in table if line.startswith("generator "))
    assert f"{counts['generator'][1] - trained:,} of them frozen" in row


def test_show_refuses_a_group_that_names_no_parameter(refused):
    groups = 'training.discriminator_optimizer.groups=[{match: "convs.*", lr: 3.0}]'
    message = refused("show", ROOT / "configs/emoji_32.yaml", groups)
    assert "training.discriminator_optimizer.groups.0 matches no parameter: 'convs.*'" in message


def test_show_counts_the_parameters_that_are_saved(run, call):
    from safetensors.torch import load_file

    parts = json.loads(call("show", run, "--json"))["parts"]
    weights = load_file(run / "model" / "model.safetensors")
    assert weights.pop("mapper.mean_style").shape == (16,)  # measured, not trained
    assert parts["generator"]["params"] == sum(value.numel() for value in weights.values())
    assert parts["generator.adapter"]["params"] == sum(value.numel() for name, value in weights.items() if name.startswith("adapter."))


def test_show_needs_no_weights(recipe, tiny, call):
    guide = {"kind": "clip_contrastive", "model": "local-dir:gone"}
    shown = json.loads(call("show", recipe(text__model="gone", data__shards="gone", objective__generator=[guide]), "--json"))
    assert shown["parts"]["text_encoder"]["params"] is None and shown["parts"]["generator"]["params"] > 0


def test_show_prints_a_table_and_takes_overrides(recipe, call):
    first, second = call("show", recipe()), call("show", recipe(), "generator.style.style_dim=64")
    assert first.startswith("tiny, 16 px") and "discriminator.adapter" in first and "GFLOPs/image" in first
    rows = [next(line for line in text.splitlines() if line.startswith("generator ")) for text in (first, second)]
    counts = [int(row.split()[1].replace(",", "")) for row in rows]
    assert counts[1] > counts[0]


def test_show_counts_the_memory_of_a_step(recipe, call, refused):
    profiled = json.loads(call("show", recipe(), "--memory", "--json"))
    memory = profiled["memory"]
    assert memory["gb"] == pytest.approx(memory["fixed_gb"] + memory["images"] * memory["gb_per_image"])
    assert f"{memory['gb']:.2f} GB with {memory['images']} images in a pass" in table(profiled)
    guide = {"kind": "clip_contrastive", "model": "local-dir:gone"}
    assert "local-dir:gone" in refused("show", recipe(objective__generator=[guide]), "--memory")


def test_show_refuses_what_train_refuses(recipe, refused):
    assert "power of two" in refused("show", recipe(resolution=48), "--json")
    assert "did you mean 'batch'?" in refused("show", recipe(), "training.batchs=4")
    assert "no recipe at nowhere" in refused("show", "nowhere")


def test_diff_prints_what_changes_and_nothing_else(recipe, tiny, tmp_path, call):
    a = write_recipe(tmp_path / "a.yaml", tiny)
    terms = [term for term in tiny["objective"]["discriminator"] if term["kind"] != "r1"]
    b = write_recipe(tmp_path / "b.yaml", override(tiny, seed=5, generator__style__depth=4, objective__discriminator=terms))
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in call("diff", a, b).splitlines()}
    assert lines.pop("seed") == "3  ->  5" and lines.pop("generator.style.depth") == "2  ->  4"
    assert lines.pop("objective.discriminator.r1") == "{kind: r1, every: 2, gamma: 0.5}  ->  -", "a part that is absent is a dash"
    assert not lines
    c = write_recipe(tmp_path / "c.yaml", override(tiny, generator__style={"kind": "stylegan2"}, training__own_reals=True))
    first, old, new, last = call("diff", a, c).splitlines()
    assert first == "generator.style" and old.startswith("  - {kind: mapping, ") and new.startswith("  + {kind: stylegan2, "), "long ones"
    assert last.split() == ["training.own_reals", "false", "->", "true"]


def test_diff_of_a_run_and_its_recipe_is_empty(run, recipe, call):
    assert call("diff", run, recipe()) == "the recipes are equal\n"


def test_diff_refuses_a_folder_that_is_no_run(recipe, refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no recipe at empty/recipe.yaml" in refused("diff", recipe(), "empty")
