"""`t2igan show`: parameters, FLOPs and memory of a recipe."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from t2igan.commands.arguments import add_recipe

if TYPE_CHECKING:
    from t2igan.config import Recipe

HELP = "parameters, FLOPs and, on demand, memory of a recipe or a run; reads no weights, downloads nothing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "YAML file or run folder")
    parser.add_argument("--memory", action="store_true", help="run a training step without numbers, and print what it takes")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> None:
    from t2igan.evaluation.profile import table
    from t2igan.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    profiled = describe(recipe)
    if arguments.memory:
        from t2igan.training.step_memory import count_step_memory

        profiled["memory"] = count_step_memory(recipe)
    print(json.dumps(profiled, indent=2) if arguments.json else table(profiled))


def describe(recipe: Recipe) -> dict:
    """Parameters and FLOPs of a recipe's parts; what its optimizers freeze does not count as trainable.

    Raises:
        UserError: a group of an optimizer matches no parameter.
    """
    from t2igan.evaluation.profile import meta_system, profile
    from t2igan.training.parameters import freeze

    system = meta_system(recipe)
    freeze(system.generator, recipe.training.generator_optimizer, "training.generator_optimizer")
    freeze(system.discriminator, recipe.training.discriminator_optimizer, "training.discriminator_optimizer")
    return profile(recipe, system)
