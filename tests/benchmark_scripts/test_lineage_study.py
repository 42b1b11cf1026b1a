"""benchmarks/lineage.py: the lineage side by side."""

import pytest
from tiny import ROOT


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
