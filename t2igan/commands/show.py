"""`t2igan show`: parameters, FLOPs and memory of a recipe."""

import argparse
import json

from t2igan.commands.arguments import add_recipe

HELP = "parameters, FLOPs and memory of a recipe or a run; reads no weights, downloads nothing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "YAML file or run folder")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> None:
    from t2igan.evaluation.profile import profile, table
    from t2igan.recipe import load_recipe

    profiled = profile(load_recipe(arguments.recipe, arguments.overrides))
    print(json.dumps(profiled, indent=2) if arguments.json else table(profiled))
