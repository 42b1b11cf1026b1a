"""`t2igan train`: a recipe to a run folder."""

import argparse
from dataclasses import replace
from pathlib import Path

from t2igan.commands.arguments import MODEL, add_recipe, check_out_folder
from t2igan.errors import UserError

HELP = "train a recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "several processes: accelerate launch ... -m t2igan train ..."
    add_recipe(parser, "YAML file, or a run folder to resume")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--from", dest="begin_with", metavar="MODEL", help=f"begin with whatever fits of a model: {MODEL}")
    parser.add_argument("--resume", action="store_true", help="continue from the run's newest checkpoint")


def run(arguments: argparse.Namespace) -> None:
    from t2igan.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    if arguments.begin_with is not None:
        if recipe.start is not None and recipe.start != warm_start(arguments.begin_with):
            raise UserError(f"--from {arguments.begin_with}: the recipe starts from {recipe.start.run} already; leave out one of them")
        recipe = replace(recipe, start=warm_start(arguments.begin_with))
    check_out_folder(arguments.out)

    import torch

    from t2igan.system import build_system
    from t2igan.text.cache import default_cache
    from t2igan.training.run import Run

    torch.manual_seed(recipe.seed)  # the initial weights
    Run(recipe, build_system(recipe), arguments.out, default_cache()).train(resume=arguments.resume)


def warm_start(model: str):
    """G, its average and, where the model has one, D."""
    from t2igan.config import StartConfig

    return StartConfig(run=model, parts=("generator", "discriminator"), fitting=True)
