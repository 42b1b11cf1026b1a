"""docs/lineage.md shows the recipes as they are, and names files that exist."""

import re
import runpy


def test_the_differences_are_those_of_today(root, monkeypatch):
    monkeypatch.chdir(root)
    text = (root / "docs/lineage.md").read_text()
    assert text.count("# t2igan diff") >= 12
    assert runpy.run_path(str(root / "docs/write_diffs.py"))["rewritten"](text) == text, "run: python docs/write_diffs.py docs/lineage.md"


def test_files_recipes_and_tests_that_it_names_exist(root):
    text = (root / "docs/lineage.md").read_text()
    links = re.findall(r"\]\((\.\./[^)#]+)\)", text)
    assert len(links) > 40 and all((root / "docs" / link).exists() for link in links)
    recipes = re.findall(r"`((?:ablations/)?(?:progan|stylegan|stylegan2|r3gan|gigagan|emoji|own)_[a-z0-9_]+)`", text)
    assert len(recipes) > 20 and not [name for name in recipes if not (root / "configs" / f"{name}.yaml").exists()]
    assert all((root / path).exists() for path in re.findall(r"`(tests/[a-z0-9_/.]+)`", text))
