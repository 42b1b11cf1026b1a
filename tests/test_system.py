"""A recipe's sections checked against each other, and what is built of them."""

from pathlib import Path

import pytest
from small_recipe import changed
from tiny import tiny_recipe, without_text

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.recipe import load_recipe, parse
from t2igan.system import build_system, check_recipe, num_clusters, sections

pytest_plugins = ["small_recipe", "kit"]
CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").rglob("*.yaml"))


def check(recipe: Recipe) -> None:
    check_recipe(recipe, recipe.text.build())


def refusal(data, *overrides) -> str:
    """The one line of what is refused, as the recipe is read or as its numbers are held against each other."""
    with pytest.raises(UserError) as caught:
        check(parse(Recipe, changed(data, *overrides), ""))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_recipes_agree_with_themselves(path):
    check(load_recipe(path))


def test_every_section_that_can_be_checked_is(base):
    recipe = load_recipe(base, ["start={run: x}"])
    found = sections(recipe)
    assert {
        "data",
        "text",
        "generator.adapter",
        "generator.style",
        "generator.synthesis",
        "discriminator.network",
        "augment",
        "training",
    } <= set(found)
    assert {"start", "objective.discriminator.2", "objective.discriminator.2 (r1)"} <= set(found)
    assert all(hasattr(section, "check") for section in found.values())


# ---------------------------------------------------------------------------------------------------- refusing

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
    (
        "generator.synthesis.strategy=dense",
        "generator.synthesis.strategy is 'dense', which takes one kernel, and num_kernels is [1, 2, 1, 1]",
    ),
    ("generator.synthesis.blocks=[1,1,0,1]", "generator.synthesis.blocks.2 is 0, needs a whole number above 0"),
    (
        "objective.generator=[{kind: nonsaturating}, {kind: reconstruction, sides: [8, 16]}]",
        "needs some of [32, 16, 8, 4], which G makes, finest first",
    ),
    (
        "objective.generator=[{kind: nonsaturating}, {kind: diversity, sides: [8]}]",
        "kind is diversity, which compares images of one caption; set data.images_per_caption to 2 or more",
    ),
    ("objective.discriminator.2.every=0", "objective.discriminator.2.every is 0, needs a whole number above 0"),
    ("training.generator_optimizer.betas=[0.5]", "training.generator_optimizer.betas is [0.5], needs two numbers"),
    ("training.generator_optimizer.betas=[0.0,1.0]", "training.generator_optimizer.betas.1 is 1, needs a number from 0 to below 1"),
    ("training.discriminator_optimizer.weight_decay=-1", "training.discriminator_optimizer.weight_decay is -1.0, needs 0 or more"),
    ("generator.synthesis.head_dim=0", "generator.synthesis.head_dim is 0, needs a whole number above 0"),
    ("generator.adapter={head_dim: 7}", "generator.adapter.head_dim is 7, needs a divisor of token_dim 24"),
    ("training.prompts=[a heart, '']", "training.prompts has an empty one, number 2"),
    ("training.total_images=7", "training.total_images 7 is less than one batch of 32"),
    ("data.workers=-1", "data.workers is -1"),
    ("data.images_per_caption=9", "data.images_per_caption is 9, needs at most 8, among which mismatched captions lie"),
    ("data.caption_dropout=1.0", "data.caption_dropout is 1.0, needs a number from 0 to below 1"),
    ("training={total_images: 64, batch: 32, reuse_fakes: true, own_reals: true}", "training.reuse_fakes needs the same real images"),
    ("training.generator_optimizer.groups=[{match: '*', lr: -1}]", "training.generator_optimizer.groups.0.lr is -1.0, needs 0 or more"),
    ("start={run: x, parts: []}", "start.parts is empty, needs generator, discriminator or both"),
    ("objective.discriminator.2.gamma={linear: [1, -1, 100]}", "discriminator.2.gamma is {linear: [1, -1, 0, 100]}, needs 0 or more"),
    ("augment={kind: diffaugment, probability: 1.5}", "augment.probability is 1.5, needs a number from 0 to 1"),
]


@pytest.mark.parametrize(("override", "message"), SIZES, ids=[override for override, _ in SIZES])
def test_sizes_that_contradict_each_other_are_refused(override, message, data):
    assert message in refusal(data, override)


@pytest.mark.parametrize("what", ["training.batch", "training.total_images", "training.log_every", "objective.discriminator.2.every"])
def test_values_that_would_divide_by_nothing_are_refused(what, data):
    assert refusal(data, f"{what}=0") == f"{what} is 0, needs a whole number above 0"


@pytest.mark.parametrize("terms", ["[]", "[{kind: nonsaturating, every: 2}]", "[{kind: nonsaturating, after: 100}]"])
def test_a_half_that_would_train_nothing_is_refused(terms, data):
    assert "objective.generator has no term that is due" in refusal(data, f"objective.generator={terms}")


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
    assert D.adapter.cluster is None


def test_d_is_conditioned_on_clusters_only_where_images_are_clustered(base):
    overrides = ["generator.style.num_clusters=4", "training.cluster_features=local-dir:x"]
    assert num_clusters(load_recipe(base, overrides)) == 4 and num_clusters(load_recipe(base, overrides[:1])) == 0
    clustered, plain = (build_system(load_recipe(base, chosen)) for chosen in (overrides, overrides[:1]))
    assert clustered.discriminator.adapter.cluster.weight.shape == (5, 8) and plain.discriminator.adapter.cluster is None
    assert clustered.generator.adapter.cluster is None, "G has the cluster in its latent"


def test_clusters_need_the_adapter_that_embeds_them(data):
    overrides = ["generator.style.num_clusters=4", "training.cluster_features=local-dir:x", "discriminator.adapter=null"]
    assert "training.cluster_features needs discriminator.adapter, which embeds the labels" in refusal(data, *overrides)


def test_repeated_terms_have_names_of_their_own(base):
    twice = "objective.generator=[{kind: nonsaturating}, {kind: reconstruction, sides: [8]}, {kind: reconstruction, sides: [32]}]"
    terms = build_system(load_recipe(base, [twice])).objective.of_generator
    assert [term.name for term in terms] == ["nonsaturating", "reconstruction.1", "reconstruction.2"]


@pytest.mark.parametrize("kind", ["gigagan", "vision_aided"])
def test_a_discriminator_that_reads_a_text_is_refused_without_one(kind, kit):
    recipe = without_text(tiny_recipe(kit, guided=False))
    if kind == "vision_aided":
        recipe["discriminator"]["network"] = {"kind": kind, "model": "x", "network": recipe["discriminator"]["network"]}
    with pytest.raises(UserError, match=rf"^discriminator\.network\.kind is {kind}, whose heads read a text, and text\.kind is none"):
        build_system(parse(Recipe, recipe, ""))
