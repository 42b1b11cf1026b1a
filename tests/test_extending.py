"""The code of docs/extending.md works as pasted: a discriminator in a file of its own trains without another edit."""

import json
import re
import sys
import types

import pytest
import yaml
from tiny import MAX_TOKENS, ROOT, TOKEN_DIM

from t2igan import discriminator
from t2igan.config import Recipe
from t2igan.recipe import load_recipe, parse, to_dict
from t2igan.system import build_system
from t2igan.training.run import Run

pytest_plugins = ["kit"]
PAGE = (ROOT / "docs/extending.md").read_text()
RECIPE = ROOT / "configs/own_pictures_32.yaml"
CODE, TABLE_LINE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(LINES,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
OVERRIDES = re.findall(r"'([a-z_.]+=\S.*?)'", PAGE)


@pytest.fixture
def toy(monkeypatch):
    """The page's module as `t2igan.discriminator.toy`, in the room's table."""
    module = types.ModuleType("t2igan.discriminator.toy")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(CODE, "docs/extending.md", "exec"), module.__dict__)
    monkeypatch.setitem(discriminator.KINDS, "toy", module.ToyConfig)
    return module


def test_the_table_line_names_what_the_room_has(toy):
    room = (ROOT / "t2igan/discriminator/__init__.py").read_text()
    assert '"toy": ToyConfig' in TABLE_LINE and discriminator.KINDS["toy"].__name__ == "ToyConfig"
    assert "KINDS = {" in TABLE_LINE and "KINDS = {" in room


def test_the_overrides_say_what_the_recipe_lines_say(toy):
    """The two commands and the YAML of the page describe one recipe."""
    assert len(OVERRIDES) == 4 and OVERRIDES[:2] == OVERRIDES[2:]
    data, lines = to_dict(load_recipe(RECIPE, OVERRIDES[:2])), yaml.safe_load(LINES)
    assert data["discriminator"]["network"] == lines["discriminator"]["network"]
    assert data["training"]["discriminator_optimizer"]["groups"] == lines["training"]["discriminator_optimizer"]["groups"] == []


def test_it_trains(toy, kit, tmp_path):
    data = to_dict(load_recipe(RECIPE, OVERRIDES[:2]))
    data["data"]["shards"] = str(kit.shards)
    data["text"] = {"kind": "transformers", "model": str(kit.bert), "token_dim": TOKEN_DIM, "max_tokens": MAX_TOKENS}
    data["training"] |= {"total_images": 32, "precision": "fp32", "log_every": 1}
    recipe = parse(Recipe, data, "")
    Run(recipe, build_system(recipe), tmp_path / "run").train()
    first, last = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert last["images"] == 32 and last["skipped_steps"] == 0
    assert first["D/r1"] >= 0 and first["D/gradient_norm"] > 0 and last["G/gradient_norm"] > 0
