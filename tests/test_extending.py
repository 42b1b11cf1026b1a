"""The code of docs/extending.md works as pasted: a discriminator in a file of its own trains without another edit."""

import json
import re
import sys
import types

import pytest
import torch
import yaml
from tiny import MAX_TOKENS, ROOT, TOKEN_DIM

from t2igan import discriminator
from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.recipe import load_recipe, parse, to_dict
from t2igan.system import build_system
from t2igan.training.run import Run
from t2igan.types import ImagePyramid, ImageSet, TextDims

pytest_plugins = ["kit"]
PAGE = (ROOT / "docs/extending.md").read_text()
RECIPE = ROOT / "configs/own_pictures_32.yaml"
CODE, TABLE_LINE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(NETWORK,) = re.findall(r"`network: (\{kind: toy.*?\})`", PAGE)
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


def test_the_overrides_say_what_the_page_says_of_the_recipe(toy):
    assert len(OVERRIDES) == 4 and OVERRIDES[:2] == OVERRIDES[2:]
    data = to_dict(load_recipe(RECIPE, OVERRIDES[:2]))
    assert data["discriminator"]["network"] == yaml.safe_load(NETWORK)
    assert data["training"]["discriminator_optimizer"]["groups"] == []


def test_it_computes_in_float64(toy, descriptors):
    network = toy.ToyConfig(channels=(4, 8)).build(16, None, TextDims(12, 10)).double()
    images = ImagePyramid((torch.randn(2, 3, 16, 16, dtype=torch.float64),))
    ((verdict,),) = network([ImageSet(images, (torch.arange(2),))], descriptors([3, 2], dtype=torch.float64))
    assert verdict.logits[0].dtype == torch.float64 and verdict.logits[0].shape == (2, 1)


def test_it_refuses_a_recipe_without_text(toy):
    recipe = load_recipe(RECIPE, [*OVERRIDES[:2], "text={kind: none}", "generator.adapter=null", "discriminator.adapter=null"])
    with pytest.raises(UserError, match="kind is toy, whose heads read a text"):
        build_system(recipe)


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
