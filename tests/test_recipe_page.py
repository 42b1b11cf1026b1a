"""docs/recipe.md, which lists every field of a recipe."""

import re
import runpy

import pytest
import yaml

from t2igan import augment, discriminator, objective, style, synthesis, text


@pytest.fixture(scope="module")
def page(root) -> str:
    return (root / "docs/recipe.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says(page, root):
    written = runpy.run_path(str(root / "docs/write_fields.py"))["page"]()
    assert written == page, "run: python docs/write_fields.py"


def test_every_kind_and_every_field_of_the_recipes_is_there(page, root):
    tables = (text.KINDS, text.ADAPTERS, style.KINDS, synthesis.KINDS, discriminator.KINDS, augment.KINDS)
    kinds = {kind for table in (*tables, objective.DISCRIMINATOR_KINDS, objective.GENERATOR_KINDS) for kind in table}
    assert kinds == set(re.findall(r"\*\*kind: (\w+)\*\*", page))
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) | {"kind", "linear", "cosine", "steps"}

    def keys(value) -> set:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    for recipe in sorted((root / "configs").rglob("*.yaml")):
        missing = keys(yaml.safe_load(recipe.read_text())) - documented
        assert not missing, f"{recipe.name}: {missing}"


def test_every_field_has_its_meaning(page):
    """But the sections, whose meaning is a heading."""
    bare = set(re.findall(r"^\| `(\w+)` \| (.*) \| .* \|  \|$", page, re.MULTILINE))
    assert {values for _, values in bare} <= {
        "a section",
        "a section or null",
        "a section of one kind",
        "a section of one kind or null",
        "list of terms",
    }


def test_values_that_a_meaning_names_exist(page):
    """`bilinear: ...` stands only where a field takes `bilinear`."""
    for values, meaning in re.findall(r"^\| `\w+` \| (.*?) \| .*? \| (.+) \|$", page, re.MULTILINE):
        allowed = set(re.findall(r"`(\w+)`", values)) | ({"null"} if "null" in values else set())
        named = set(re.findall(r"(?:^|[;,:] )(\w+): ", meaning)) - {"Ours", "empty"}
        if "`" in values or "null" in values:
            assert named <= allowed | {"px"}, (values, meaning)
