"""Recipes: strict in, whole out, every mistake one clear line."""

from pathlib import Path

import pytest
import yaml
from small_recipe import changed

from t2igan import synthesis
from t2igan.config import ParameterGroup, Recipe, StartConfig
from t2igan.errors import UserError
from t2igan.recipe import differences, dump_recipe, load_recipe, parse, to_dict
from t2igan.schedule import Schedule, constant

pytest_plugins = ["small_recipe"]
CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").rglob("*.yaml"))


def refused(data, *overrides) -> str:
    """The one line of what `parse` refuses."""
    with pytest.raises(UserError) as caught:
        parse(Recipe, changed(data, *overrides), "")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_written_out_reads_back_equal(path):
    recipe = load_recipe(path)
    again = parse(Recipe, yaml.safe_load(dump_recipe(recipe)), "")
    assert again == recipe
    assert dump_recipe(again) == dump_recipe(recipe)
    assert path.stem == recipe.name


def test_there_are_recipes():
    assert {"emoji_32", "gigagan_64"} <= {path.stem for path in CONFIGS}


def test_a_run_folder_is_a_recipe(tmp_path, base):
    (tmp_path / "recipe.yaml").write_text(dump_recipe(load_recipe(base)))
    assert load_recipe(tmp_path) == load_recipe(base)


def test_every_default_is_written_out(base):
    written = yaml.safe_load(dump_recipe(load_recipe(base)))
    assert written["training"]["keep_checkpoints"] == 2
    assert written["generator"]["synthesis"]["mlp_ratio"] == 4
    assert written["objective"]["discriminator"][0].keys() >= {"kind", "weight", "every", "after"}


# ---------------------------------------------------------------------------------------------------- refusing

MISTAKES = [
    ("training.bacth=3", "unknown key 'training.bacth'; did you mean 'batch'?"),
    ("generator.synthesis.chanels=[1]", "unknown key 'generator.synthesis.chanels'; did you mean 'channels'?"),
    ("objective.discriminator.0.wieght=2", "unknown key 'objective.discriminator.0.wieght'"),
    ("zzz=1", "unknown key 'zzz'; known: name, resolution"),
    ("training.batch=many", "training.batch must be a whole number, got 'many'"),
    ("training.batch=3.5", "training.batch must be a whole number, got 3.5"),
    ("training.batch=true", "training.batch must be a whole number, got True"),
    ("name=3", "name must be str, got 3"),
    ("augment={kind: diffaugment, probability: often}", "augment.probability must be a number, got 'often'"),
    ("augment={kind: diffaugment, probability: true}", "augment.probability: got True, needs a number, {linear"),
    ("training.precision=fp61", "training.precision is 'fp61', needs one of auto, fp32, bf16"),
    ("generator.synthesis.channels=3", "generator.synthesis.channels must be a list, got 3"),
    ("generator.synthesis.channels=[1,2,x,4]", "generator.synthesis.channels.2 must be a whole number, got 'x'"),
    (
        "generator.synthesis.kind=gigagam",
        f"generator.synthesis.kind is 'gigagam', needs one of {', '.join(synthesis.KINDS)}; did you mean 'gigagan'?",
    ),
    ("generator.synthesis.kind=[a]", "generator.synthesis.kind is ['a'], needs one of gigagan"),
    ("generator.synthesis=7", "generator.synthesis needs a 'kind'"),
    ("objective.generator=[7]", "objective.generator.0 needs a 'kind'"),
    ("objective.generator=7", "objective.generator must be a list, got 7"),
    ("objective.generator=[{kind: r1}]", "objective.generator.0.kind is 'r1', needs one of nonsaturating, hinge, matching"),
    ("objective.discriminator.2.gamma=x", "objective.discriminator.2.gamma must be a number"),
    ("training=5", "training must be a mapping, got 5"),
    ("training.generator_optimizer.lr={linear: [1, 2]}", "training.generator_optimizer.lr: got {'linear': [1, 2]}, needs a number"),
    ("training.generator_optimizer.lr=fast", "training.generator_optimizer.lr must be a number, got 'fast'"),
    ("training.generator_optimizer.lr={linear: [1, 0, 5, 5]}", "must begin at 0 or later, and end after that"),
    ("training.total_images=null", "training.total_images must be a whole number, got None"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES, ids=[override for override, _ in MISTAKES])
def test_a_mistake_is_named_by_its_place(override, message, data):
    assert message in refused(data, override)


def test_what_is_missing_is_named(data):
    del data["training"]["total_images"]
    assert refused(data) == "training.total_images is missing"


def test_a_file_that_is_no_recipe(tmp_path):
    for content, message in (("", "the recipe must be a mapping, got None"), ("[1]", "must be a mapping"), ("a: [1", "is not YAML")):
        path = tmp_path / "x.yaml"
        path.write_text(content)
        with pytest.raises(UserError, match=message) as caught:
            load_recipe(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    for missing in (tmp_path / "nothing.yaml", tmp_path):
        with pytest.raises(UserError, match="no recipe at"):
            load_recipe(missing)


# ---------------------------------------------------------------------------------------------------- values


def test_overrides_reach_sections_and_lists(base):
    overrides = ["training.batch=64", "objective.discriminator.1.weight=0.25", "generator.synthesis.channels=[8,8,8,8]", "name=mine"]
    recipe = load_recipe(base, overrides)
    assert (recipe.training.batch, recipe.name, recipe.generator.synthesis.channels) == (64, "mine", (8, 8, 8, 8))
    assert recipe.objective.discriminator[1].weight == Schedule("constant", 0.25, 0.25)
    assert load_recipe(base, ["training.ema.rampup=null"]).training.ema.rampup is None
    assert load_recipe(base, ["generator.adapter=null"]).generator.adapter is None


def test_an_override_names_a_term_by_its_kind(base):
    by_number, kind = load_recipe(base, ["objective.discriminator.1.weight=0.25"]), load_recipe(base).objective.discriminator[1].kind
    assert load_recipe(base, [f"objective.discriminator.{kind}.weight=0.25"]) == by_number
    twice = f"objective.discriminator=[{{kind: {kind}}}, {{kind: {kind}}}]"
    with pytest.raises(UserError, match="has nothing at"):
        load_recipe(base, [twice, f"objective.discriminator.{kind}.weight=0.25"])


def test_an_override_makes_sections_that_the_file_leaves_out(data):
    assert "augment" not in data
    assert parse(Recipe, changed(data, "augment={kind: diffaugment, probability: 0.3}"), "").augment.probability == constant(0.3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.batch", "an override is section.key=value"),
        ("objective.generator.9.weight=1", "has nothing at 'objective.generator.9.weight'"),
        ("objective.generator.first.weight=1", "has nothing at"),
        ("name.first=1", "has nothing at 'name.first'"),
        ("name.first.second=1", "has nothing at"),
    ],
)
def test_overrides_that_lead_nowhere(override, message, base):
    with pytest.raises(UserError, match="override") as caught:
        load_recipe(base, [override])
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["1e-4", "0.0001", "1.0e-4"])
def test_numbers_as_people_write_them(text, data):
    """YAML 1.1 reads 1e-4 as a string."""
    recipe = parse(Recipe, changed(data, f"training.generator_optimizer.lr={text}", f"generator.style.lr_multiplier={text}"), "")
    assert recipe.training.generator_optimizer.lr(0) == pytest.approx(1e-4)
    assert recipe.generator.style.lr_multiplier == pytest.approx(1e-4)


def test_every_form_of_a_schedule(data):
    forms = {
        "0.5": Schedule("constant", 0.5, 0.5),
        "3": Schedule("constant", 3.0, 3.0),
        "{linear: [1, 0, 100]}": Schedule("linear", 1.0, 0.0, 0, 100),
        "{cosine: [1, 0, 50, 100]}": Schedule("cosine", 1.0, 0.0, 50, 100),
    }
    for text, expected in forms.items():
        recipe = parse(Recipe, changed(data, f"objective.discriminator.0.weight={text}"), "")
        assert recipe.objective.discriminator[0].weight == expected
        assert parse(Recipe, to_dict(recipe), "") == recipe


def test_whole_numbers_are_numbers(data):
    recipe = parse(Recipe, changed(data, "augment={kind: diffaugment, probability: 1}"), "")
    assert recipe.augment.probability == constant(1.0) and isinstance(recipe.augment.probability.start, float)


def test_parameter_groups_and_a_start_are_sections(data):
    groups = "training.discriminator_optimizer.groups=[{match: '*.bias', lr: 2, weight_decay: 0}, {match: 'stages.{4,8}.*', frozen: true}]"
    recipe = parse(Recipe, changed(data, groups, "start={run: runs/phase1, parts: [generator, discriminator]}"), "")
    expected = ParameterGroup(match="*.bias", lr=2.0, weight_decay=0.0), ParameterGroup(match="stages.{4,8}.*", frozen=True)
    assert recipe.training.discriminator_optimizer.groups == expected and recipe.training.generator_optimizer.groups == ()
    assert recipe.start == StartConfig(run="runs/phase1", parts=("generator", "discriminator"))
    assert parse(Recipe, to_dict(recipe), "") == recipe
    assert parse(Recipe, changed(data), "").start is None


def test_a_section_inside_a_section_picks_its_kind_by_the_same_table(data):
    network = data["discriminator"]["network"]
    data["discriminator"]["network"] = {"kind": "vision_aided", "model": "ViT-B-32", "network": network}
    recipe = parse(Recipe, data, "")
    plain = parse(Recipe, changed(data, f"discriminator.network={network}"), "")
    assert recipe.discriminator.network.network == plain.discriminator.network
    assert parse(Recipe, to_dict(recipe), "") == recipe
    assert "discriminator.network.network.kind is 'gigagam'" in refused(data, "discriminator.network.network.kind=gigagam")


# ---------------------------------------------------------------------------------------------------- comparing


def test_equal_recipes_do_not_differ(base):
    assert differences(load_recipe(base), load_recipe(base)) == []


def test_differences_are_named_by_path(base):
    channels = "generator.synthesis.channels=[8,8,8,8]"
    overrides = ["training.batch=64", "generator.adapter=null", "objective.discriminator.2.gamma=9", channels]
    found = {path: (a, b) for path, a, b in differences(load_recipe(base), load_recipe(base, overrides))}
    assert found["training.batch"] == (32, 64)
    assert found["objective.discriminator.r1.gamma"] == (0.5, 9.0)
    assert found["generator.synthesis.channels"] == ([16, 16, 8, 8], [8, 8, 8, 8])
    assert found["generator.adapter"][0]["depth"] == 1 and found["generator.adapter"][1] is None, "a part that is absent"
    assert not any(path.startswith("discriminator") for path in found)


def test_a_term_more_is_a_difference_by_its_name(data):
    more = changed(data, "objective.generator=[{kind: nonsaturating}, {kind: matching, weight: 0.5}]")
    less = changed(data, "objective.generator=[{kind: nonsaturating}]")
    ((path, before, after),) = differences(parse(Recipe, less, ""), parse(Recipe, more, ""))
    assert path == "objective.generator.matching" and before is None and (after["kind"], after["weight"]) == ("matching", 0.5)


def test_a_part_of_another_kind_and_a_schedule_differ_as_a_whole(data):
    other = changed(data, "augment={kind: diffaugment}", "training.generator_optimizer.lr=0.5")
    found = {path: (a, b) for path, a, b in differences(parse(Recipe, data, ""), parse(Recipe, other, ""))}
    assert found.keys() == {"augment", "training.generator_optimizer.lr"}
    assert found["augment"][0] == {"kind": "none"} and found["augment"][1]["kind"] == "diffaugment"
    assert "linear" in found["training.generator_optimizer.lr"][0] and found["training.generator_optimizer.lr"][1] == 0.5
