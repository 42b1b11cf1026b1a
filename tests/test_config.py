"""Recipes: strict in, whole out, every mistake one clear line."""

import copy
from pathlib import Path

import pytest
import yaml

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.recipe import apply_override, differences, dump_recipe, load_recipe, parse, to_dict
from t2igan.schedule import Schedule
from t2igan.system import build_system, check_recipe

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))
TEXT = """
name: tiny
resolution: 32
data: {shards: nowhere}
text: {kind: transformers, model: nowhere, token_dim: 24, max_tokens: 16}
generator:
  adapter: {depth: 1, width: 8, head_dim: 4}
  style: {kind: mapping, z_dim: 6, style_dim: 10, depth: 2}
  synthesis:
    {kind: gigagan, channels: [16, 16, 8, 8], blocks: [1, 1, 1, 1], num_kernels: [1, 2, 1, 1], self_attention: [0, 1, 0, 0],
     cross_attention: [0, 1, 0, 0], head_dim: 8}
discriminator:
  adapter: {depth: 1, width: 8, head_dim: 4}
  network:
    {kind: gigagan, channels: [16, 8, 8, 8], blocks: [0, 1, 1, 0], self_attention: [0, 0, 0, 0], inputs: [32, 8], outputs: [8, 1],
     input_weights: [1.0, 0.3], output_weights: [0.5, 1.0], head_depth: 1}
objective:
  discriminator:
    - {kind: nonsaturating}
    - {kind: matching, weight: 0.5}
    - {kind: r1, gamma: 0.5, every: 8}
  generator:
    - {kind: nonsaturating}
training: {total_images: 6000, batch: 32, generator_optimizer: {lr: {linear: [0.002, 0.0, 6000]}}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A small recipe as a file."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def data() -> dict:
    """The same as plain data, to be spoilt."""
    return yaml.safe_load(TEXT)


def changed(data, *overrides):
    data = copy.deepcopy(data)
    for override in overrides:
        apply_override(data, override)
    return data


def refusal(data, *overrides) -> str:
    with pytest.raises(UserError) as caught:
        check_recipe(parse(Recipe, changed(data, *overrides), ""))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_written_out_reads_back_equal(path):
    recipe = load_recipe(path)
    check_recipe(recipe)
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
    ("augment.probability=often", "augment.probability must be a number, got 'often'"),
    ("augment.probability=true", "augment.probability must be a number, got True"),
    ("training.precision=fp61", "training.precision is 'fp61', needs one of auto, fp32, bf16"),
    ("generator.synthesis.channels=3", "generator.synthesis.channels must be a list, got 3"),
    ("generator.synthesis.channels=[1,2,x,4]", "generator.synthesis.channels.2 must be a whole number, got 'x'"),
    (
        "generator.synthesis.kind=gigagam",
        "generator.synthesis.kind is 'gigagam', needs one of gigagan, gigagan_upsampler; did you mean 'gigagan'?",
    ),
    ("generator.synthesis.kind=[a]", "generator.synthesis.kind is ['a'], needs one of gigagan"),
    ("generator.synthesis=7", "generator.synthesis needs a 'kind'"),
    ("objective.generator=[7]", "objective.generator.0 needs a 'kind'"),
    ("objective.generator=7", "objective.generator must be a list, got 7"),
    ("objective.generator=[{kind: r1}]", "objective.generator.0.kind is 'r1', needs one of nonsaturating, matching"),
    ("objective.discriminator.2.gamma=x", "objective.discriminator.2.gamma must be a number"),
    ("training=5", "training must be a mapping, got 5"),
    ("training.generator_optimizer.lr={linear: [1, 2]}", "training.generator_optimizer.lr: got {'linear': [1, 2]}, needs a number"),
    ("training.generator_optimizer.lr=fast", "training.generator_optimizer.lr must be a number, got 'fast'"),
    ("training.generator_optimizer.lr={linear: [1, 0, 5, 5]}", "must end after it begins"),
    ("training.total_images=null", "training.total_images must be a whole number, got None"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES, ids=[override for override, _ in MISTAKES])
def test_a_mistake_is_named_by_its_place(override, message, data):
    assert message in refusal(data, override)


def test_what_is_missing_is_named(data):
    del data["training"]["total_images"]
    assert refusal(data) == "training.total_images is missing"


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


SIZES = [
    ("resolution=48", "resolution must be a power of two >= 8, got 48; the nearest below is 32"),
    ("resolution=4", "resolution must be a power of two >= 8, got 4; the nearest below is 8"),
    ("resolution=0", "resolution must be a power of two >= 8"),
    ("resolution=-64", "resolution must be a power of two >= 8"),
    ("resolution=64", "has 4 entries, resolution 64 has 5 stages (4, 8, 16, 32, 64 px)"),
    ("generator.synthesis.num_kernels=[1,2]", "generator.synthesis.num_kernels has 2 entries, resolution 32 has 4 stages"),
    ("generator.synthesis.cross_attention=[0,0,0,0,1]", "generator.synthesis.cross_attention has 5 entries"),
    ("discriminator.network.blocks=[1,1,1]", "discriminator.network.blocks has 3 entries"),
    ("discriminator.network.inputs=[16,8]", "discriminator.network.inputs is [16, 8], needs 32 first and then any of [16, 8, 4]"),
    ("discriminator.network.inputs=[32,12]", "needs 32 first and then any of [16, 8, 4]"),
    ("discriminator.network.input_weights=[1]", "discriminator.network.input_weights has 1 entries, needs one per entry of inputs"),
    ("discriminator.network.output_weights=[1,1,1]", "output_weights has 3 entries"),
    ("discriminator.network.outputs=[32,1]", "discriminator.network.outputs is [32, 1], needs any of [16, 8, 4, 1]"),
    ("discriminator.network.outputs=[1,8]", "discriminator.network.outputs is [1, 8], needs each side once, finest first"),
    ("training.micro_batch=5", "training.batch 32 must be a multiple of training.micro_batch 5"),
    ("training.cluster_features=local-dir:x", "set generator.style.num_clusters to 2 or more"),
    ("generator.style.num_clusters=7", "generator.style.num_clusters is 7, needs 0 to z_dim 6"),
    ("generator.adapter.head_dim=3", "generator.adapter.width is 8, needs a multiple of head_dim 3"),
    ("generator.synthesis.head_dim=3", "generator.synthesis.channels has 16 in a stage with attention, needs a multiple of head_dim 3"),
    ("generator.synthesis.strategy=dense", "generator.synthesis.strategy is 'dense', which takes one kernel, and num_kernels is [1, 2, 1, 1]"),
    ("generator.synthesis.blocks=[1,1,0,1]", "generator.synthesis.blocks is [1, 1, 0, 1], needs at least 1 in each stage"),
    ("objective.generator=[{kind: nonsaturating}, {kind: reconstruction, sides: [8, 16]}]", "needs some of [32, 16, 8, 4], finest first"),
    ("objective.discriminator.2.every=0", "objective.discriminator.2.every is 0, needs a whole number above 0"),
    ("training.generator_optimizer.betas=[0.5]", "training.generator_optimizer has betas [0.5]"),
    ("training.generator_optimizer.betas=[0.0,1.0]", "needs two numbers from 0 to below 1"),
    ("training.discriminator_optimizer.weight_decay=-1", "training.discriminator_optimizer has weight_decay -1.0, needs 0 or more"),
    ("generator.synthesis.head_dim=0", "needs a multiple of head_dim 0"),
    ("generator.adapter={head_dim: 7}", "generator.adapter.head_dim is 7, needs a divisor of token_dim 24"),
    ("training.prompts=[a heart, '']", "training.prompts has an empty one, number 2"),
    ("training.total_images=7", "training.total_images 7 is less than one batch of 32"),
    ("data.workers=-1", "data.workers is -1"),
]


@pytest.mark.parametrize(("override", "message"), SIZES, ids=[override for override, _ in SIZES])
def test_sizes_that_contradict_each_other_are_refused(override, message, data):
    assert message in refusal(data, override)


# ---------------------------------------------------------------------------------------------------- values


def test_overrides_reach_sections_and_lists(base):
    overrides = ["training.batch=64", "objective.discriminator.1.weight=0.25", "generator.synthesis.channels=[8,8,8,8]", "name=mine"]
    recipe = load_recipe(base, overrides)
    assert (recipe.training.batch, recipe.name, recipe.generator.synthesis.channels) == (64, "mine", (8, 8, 8, 8))
    assert recipe.objective.discriminator[1].weight == Schedule("constant", 0.25, 0.25)
    assert load_recipe(base, ["training.ema.rampup=null"]).training.ema.rampup is None
    assert load_recipe(base, ["generator.adapter=null"]).generator.adapter is None


def test_an_override_makes_sections_that_the_file_leaves_out(data):
    assert "augment" not in data
    assert parse(Recipe, changed(data, "augment={kind: diffaugment, probability: 0.3}"), "").augment.probability == 0.3


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
    recipe = parse(Recipe, changed(data, "augment.probability=1"), "")
    assert recipe.augment.probability == 1.0 and isinstance(recipe.augment.probability, float)


@pytest.mark.parametrize("what", ["training.batch", "training.total_images", "training.log_every", "objective.discriminator.2.every"])
def test_values_that_would_divide_by_nothing_are_refused(what, data):
    assert refusal(data, f"{what}=0") == f"{what} is 0, needs a whole number above 0"


@pytest.mark.parametrize("terms", ["[]", "[{kind: nonsaturating, every: 2}]", "[{kind: nonsaturating, after: 100}]"])
def test_a_half_that_would_train_nothing_is_refused(terms, data):
    assert "objective.generator has no term that is due" in refusal(data, f"objective.generator={terms}")


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
    assert found["generator.adapter.depth"][1] is None
    assert not any(path.startswith("discriminator") for path in found)


def test_a_term_more_is_a_difference_by_its_name(data):
    more = changed(data, "objective.generator=[{kind: nonsaturating}, {kind: matching, weight: 0.5}]")
    less = changed(data, "objective.generator=[{kind: nonsaturating}]")
    found = differences(parse(Recipe, less, ""), parse(Recipe, more, ""))
    assert ("objective.generator.matching.weight", None, 0.5) in found
    assert all(path.startswith("objective.generator.matching") for path, _, _ in found)


# ---------------------------------------------------------------------------------------------------- building


def test_shared_dimensions_are_derived_in_one_place(base):
    system = build_system(load_recipe(base))
    G, D = system.generator, system.discriminator
    assert G.adapter.width == D.adapter.width == 8
    assert G.adapter is not D.adapter
    assert G.mapper.layers[0].weight.shape[1] == 6 + 8
    assert G.synthesis.style_dim == 10
    bare = build_system(load_recipe(base, ["generator.adapter=null", "discriminator.adapter=null"]))
    assert bare.generator.mapper.layers[0].weight.shape[1] == 6 + 24
    assert D.drawing is None


def test_d_is_told_drawings_only_where_pictures_are_sorted(base):
    overrides = ["generator.style.num_clusters=4", "training.cluster_features=local-dir:x"]
    assert build_system(load_recipe(base, overrides)).discriminator.drawing.weight.shape == (5, 8)
    assert build_system(load_recipe(base, overrides[:1])).discriminator.drawing is None


def test_repeated_terms_have_names_of_their_own(base):
    twice = "objective.generator=[{kind: nonsaturating}, {kind: reconstruction, sides: [8]}, {kind: reconstruction, sides: [32]}]"
    terms = build_system(load_recipe(base, [twice])).objective.generator
    assert [term.name for term in terms] == ["nonsaturating", "reconstruction.1", "reconstruction.2"]
