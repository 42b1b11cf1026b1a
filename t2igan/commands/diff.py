"""`t2igan diff`: the values in which two recipes differ."""

import argparse

HELP = "what changes from one recipe to another"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", help="YAML file or run folder")
    parser.add_argument("b", help="YAML file or run folder")


def run(arguments: argparse.Namespace) -> None:
    from t2igan.recipe import differences, load_recipe

    rows = differences(load_recipe(arguments.a), load_recipe(arguments.b))
    if not rows:
        print("the recipes are equal")
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, a, b in rows:
        print(f"{key:{width}}  {'-' if a is None else a}  ->  {'-' if b is None else b}")
