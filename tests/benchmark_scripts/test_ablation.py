"""benchmarks/ablation.py: variants of a recipe in the same minutes."""

import json
import sys

import pytest
import yaml
from tiny import ROOT, tiny_recipe

from t2igan.errors import UserError

pytest_plugins = ["kit"]


@pytest.fixture
def ablation(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import ablation

    return ablation


def test_variants_are_names_with_lists_of_overrides(ablation, tmp_path):
    file = tmp_path / "variants.yaml"
    file.write_text("base: []\nlarge batch: [training.batch=48]\n")
    assert ablation.read_variants(file) == {"base": [], "large batch": ["training.batch=48"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[a, b]", "needs names of variants"),
        ("base: 3", "needs names of variants"),
        ("", "needs names of variants"),
        ("a b: []\na-b: []", "two variants whose folder is a_b"),
        ("{", "cannot read"),
        (None, "cannot read"),
    ],
)
def test_bad_variants_are_one_line(content, said, ablation, tmp_path):
    file = tmp_path / "variants.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=said):
        ablation.read_variants(file)


def test_scores_of_either_script_fill_the_table(ablation):
    drawings = {
        "images_seen": 1200,
        "minutes": 15.04,
        "retrieval": {"train": {"100": {"generated": {"r_at_1": 0.5}}}},
        "options": {"mean": {"generated": 0.25}},
    }
    rows = {"base": ablation.flat(drawings), "other": ablation.flat(drawings | {"images_seen": 900})}
    assert ablation.table(rows).splitlines() == [
        "| variant | images | minutes | R@1 | options |",
        "|---|---|---|---|---|",
        "| base | 1,200 | 15.0 | 0.500 | 0.250 |",
        "| other | 900 | 15.0 | 0.500 | 0.250 |",
    ]
    emoji = {"images_seen": 16, "train": {"r_at_1": 0.9}, "frechet": 0.1, "diversity": {"generated": 0.3, "real": 0.6}}
    assert ablation.table({"base": ablation.flat(emoji)}).splitlines()[0] == "| variant | images | R@1 | Fréchet | distance |"


def test_every_variant_of_the_drawings_can_be_built_and_mistakes_are_named(ablation, kit, tmp_path):
    recipe, file = tmp_path / "recipe.yaml", tmp_path / "variants.yaml"
    for written, source in ((recipe, "configs/ablations/drawings_32.yaml"), (file, "benchmarks/drawings_variants.yaml")):
        written.write_text((ROOT / source).read_text().replace("local-dir:models/drawings_guide", f"local-dir:{kit.clip}"))
    variants = ablation.read_variants(file)
    projected = "projected features of the guidance CLIP"  # whose tower has other widths than the test's
    ablation.check_variants(recipe, {name: overrides for name, overrides in variants.items() if name != projected}, 2)
    with pytest.raises(UserError, match=r"variant a: training\.discriminator_optimizer\.groups\.0 matches no parameter"):
        ablation.check_variants(recipe, {"a": ["training.discriminator_optimizer.groups=[{match: x, lr: 2.0}]"]}, 1)
    with pytest.raises(UserError, match=r"variant b: a batch of 24 cannot be shared equally by 5 processes"):
        ablation.check_variants(recipe, {"b": []}, 5)


@pytest.mark.slow
def test_a_study_of_two_variants(ablation, kit, emoji_32, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    recipe, variants, out = tmp_path / "recipe.yaml", tmp_path / "variants.yaml", tmp_path / "study"
    recipe.write_text(yaml.safe_dump(tiny_recipe(kit)))
    variants.write_text("base: []\nother seed: [seed=9]\n")
    words = [
        recipe,
        variants,
        "--minutes",
        0.02,
        "--score",
        "emoji",
        "--processes",
        1,
        "--data",
        emoji_32,
        "--scorer",
        kit.clip,
        "--out",
        out,
    ]
    monkeypatch.setattr(sys, "argv", ["ablation.py", *map(str, words)])
    ablation.main()
    assert len((out / "table.md").read_text().splitlines()) == 4
    rows = json.loads((out / "result.json").read_text())
    assert list(rows) == ["base", "other seed"] and rows["base"] != rows["other seed"] and rows["base"]["images seen"] > 0
    finished = (out / "base/figures.json").stat().st_mtime_ns
    ablation.main()
    assert (out / "base/figures.json").stat().st_mtime_ns == finished
    variants.write_text("base: []\nbroken: [data.shards=nothing]\n")
    with pytest.raises(UserError, match=r"broken: .* ended with"):
        ablation.main()
    assert list(json.loads((out / "result.json").read_text())) == ["base"]
    variants.write_text("base: [seed=10]\n")
    with pytest.raises(UserError, match="was begun with another recipe"):
        ablation.main()
