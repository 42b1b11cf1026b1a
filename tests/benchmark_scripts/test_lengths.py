"""benchmarks/lengths.py: recipes of another length, and their pace."""

import json

import pytest
from tiny import ROOT


@pytest.fixture
def lengths(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import lengths

    return lengths


def test_a_recipe_of_another_length_stretches_everything_that_is_measured_in_images(lengths):
    from t2igan.recipe import load_recipe

    for name, fields in {"emoji_progan_32": ("hold", "fade"), "emoji_stylegan2_32": ("ramp_images",), "emoji_stylegan_t_32": ()}.items():
        recipe = load_recipe(ROOT / f"configs/{name}.yaml")
        half, same = lengths.scaled(recipe, 0.5), lengths.scaled(recipe, 1.0)
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
    half = lengths.scaled(growth, 0.5)
    assert (half.hold, half.fade, half.start) == (growth.hold // 2, growth.fade // 2, growth.start)


def test_a_recipe_of_another_length_ends_in_whole_steps_with_its_schedules(lengths):
    from t2igan.recipe import load_recipe

    recipe = load_recipe(ROOT / "configs/emoji_32.yaml")
    short = lengths.of_length(recipe, 10_001)
    assert short.training.total_images == 10_008 and short.training.batch == 24
    assert short.training.generator_optimizer.lr(10_008) == pytest.approx(recipe.training.generator_optimizer.lr(118_000), rel=1e-2)


def test_the_pace_leaves_out_the_first_steps(lengths, tmp_path):
    seconds = [10 + i if i < lengths.WARM_STEPS else 10 + lengths.WARM_STEPS + (i - lengths.WARM_STEPS) / 2 for i in range(60)]
    lines = [json.dumps({"images": 8 * (i + 1), "seconds": at}) for i, at in enumerate(seconds)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert lengths.pace(tmp_path) == pytest.approx(16, rel=0.03)
