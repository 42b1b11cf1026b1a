"""Every number of a recipe has a range, and what lies outside is refused by its place."""

import dataclasses
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import yaml
from tiny import tiny_recipe

from t2igan.config import Recipe, TermConfig
from t2igan.errors import UserError
from t2igan.ranges import Range
from t2igan.recipe import apply_override, load_recipe, parse
from t2igan.schedule import Schedule

pytest_plugins = ["kit"]
ELSEWHERE = {"resolution", "layer"}  # a power of two, which system.py checks; a text tower's layer, which its depth bounds


def sections(cls: type, found: set[type]) -> set[type]:
    """The dataclass and all that stand in it, of every kind."""
    if cls in found:
        return found
    found.add(cls)
    for field in dataclasses.fields(cls):
        tables = (*field.metadata.get("kinds", dict)().values(), *field.metadata.get("terms", {}).values())
        named = [hint for hint in nested(get_type_hints(cls)[field.name]) if dataclasses.is_dataclass(hint) and hint is not Schedule]
        for other in (*tables, *named):
            sections(other, found)
    return found


def nested(hint: Any) -> list:
    """A type and all types in it, without those that have a range."""
    if get_origin(hint) is Annotated and isinstance(get_args(hint)[1], Range):
        return []
    return [hint] + [inner for argument in get_args(hint) for inner in nested(argument)]


ALL = sorted(sections(Recipe, set()) | sections(TermConfig, set()), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_number_declares_its_range(cls):
    hints = get_type_hints(cls, include_extras=True)
    bare = [name for name, hint in hints.items() if name not in ELSEWHERE and {int, float, Schedule} & set(map(as_key, nested(hint)))]
    assert bare == []


def as_key(hint: Any) -> Any:
    return hint if isinstance(hint, type) else None


def test_the_sections_are_found():
    names = {cls.__name__ for cls in ALL}
    assert {"ADAConfig", "EMAConfig", "GigaGANSynthesisConfig", "OptimizerConfig", "ParameterGroup", "R1Config"} <= names


@pytest.mark.parametrize(
    "override",
    [
        "training.generator_optimizer.lr=-0.001",
        "training.generator_optimizer.lr={linear: [0.1, -0.1, 100]}",
        "training.ema.half_life=-5",
        "training.ema.rampup=0",
        "training.generator_optimizer.warmup=-1",
        "augment={kind: diffaugment, probability: 2}",
        "augment={kind: diffaugment, cutout: -0.1}",
        "augment={kind: ada, target: 1.5}",
        "augment={kind: ada, hue: -1}",
        "objective.discriminator.0.weight=.nan",
        "objective.discriminator.0.weight=-1",
        "objective.discriminator.0.after=-1",
        "generator.synthesis.conv_gain=.inf",
        "generator.synthesis.channels=[16, 0, 8]",
        "generator.style.lr_multiplier=0",
        "discriminator.network.head_depth=0",
        "training.generator_optimizer.betas=[0, 1]",
        "seed=-1",
        "seed=9223372036854775808",
    ],
)
def test_a_number_outside_its_range_is_one_line(override, kit):
    data = tiny_recipe(kit)
    apply_override(data, override)
    with pytest.raises(UserError, match=r" is .*, needs ") as refused:
        parse(Recipe, data, "")
    assert str(refused.value).startswith(override.partition("=")[0].removesuffix(".betas").removesuffix(".channels")), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("times", ["[0, 1, -5, 10]", "[0, 1, .inf]", "[0, 1, .nan, 10]", "[0, 1e999, 10]", "[.nan, 1, 10]"])
def test_a_schedule_of_impossible_times_or_values(times, kit):
    data = tiny_recipe(kit)
    apply_override(data, f"training.ema.half_life={{linear: {times}}}")
    with pytest.raises(UserError, match=r"training\.ema\.half_life: got "):
        parse(Recipe, data, "")


def test_a_key_that_stands_twice_is_refused(kit, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(kit)) + "seed: 1\nseed: 2\n")
    with pytest.raises(UserError, match="'seed' stands twice in one mapping"):
        load_recipe(path)
    path.write_text(yaml.safe_dump(tiny_recipe(kit)))
    with pytest.raises(UserError, match="is not YAML"):
        load_recipe(path, ["augment={kind: none, kind: ada}"])


def test_a_recipe_of_endless_depth_is_one_line(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="nested too deeply"):
        load_recipe(path)
