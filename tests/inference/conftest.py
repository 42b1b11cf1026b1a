"""A tiny trained-like model, in memory and in a run folder."""

import pytest
import torch
from tiny import tiny_recipe

from t2igan.config import Recipe
from t2igan.inference.model_folder import save_model
from t2igan.recipe import parse
from t2igan.system import build_system


@pytest.fixture(scope="module")
def recipe(kit):
    return parse(Recipe, tiny_recipe(kit, guided=False), "")


@pytest.fixture(scope="module")
def generator(recipe):
    torch.manual_seed(4)
    generator = build_system(recipe).generator
    with torch.no_grad():
        for parameter in generator.parameters():  # away from the zeros of initialisation, so that everything has a say
            parameter.add_(0.3 * torch.randn_like(parameter))
    return generator


@pytest.fixture(scope="module")
def folder(generator, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_model(folder / "model", generator, recipe, {"images_seen": 12})
    return folder
