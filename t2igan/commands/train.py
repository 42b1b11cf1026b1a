"""`t2igan train`: a recipe to a run folder."""

import argparse
from pathlib import Path

from t2igan.commands.arguments import add_recipe, check_out_folder

HELP = "train a recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "several processes: accelerate launch ... -m t2igan train ..."
    add_recipe(parser, "YAML file, or a run folder to resume")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--resume", action="store_true", help="continue from the run's newest checkpoint")


def run(arguments: argparse.Namespace) -> None:
    from t2igan.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    check_out_folder(arguments.out)

    import torch

    from t2igan.system import build_system
    from t2igan.text.cache import default_cache
    from t2igan.training.run import Run

    torch.manual_seed(recipe.seed)  # the initial weights
    Run(recipe, build_system(recipe), arguments.out, default_cache()).train(resume=arguments.resume)
