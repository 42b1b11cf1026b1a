"""`t2igan diff`: the values in which two recipes differ."""

import argparse
from typing import Any

HELP = "what changes from one recipe to another"
WIDTH = 110  # characters, from which on the two values stand below each other
NEUTRAL = {"weight": 1.0, "every": 1, "after": 0}  # what every term has and is not shown


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
        old, new = shown(a), shown(b)
        if len(old) + len(new) + width < WIDTH:
            print(f"{key:{width}}  {old}  ->  {new}")
        else:
            print(key, *(f"  {sign} {value}" for sign, value in (("-", old), ("+", new)) if value != ABSENT), sep="\n")


ABSENT = "-"


def shown(value: Any) -> str:
    """A value as YAML in one line."""
    import yaml

    if value is None:
        return ABSENT
    if isinstance(value, dict) and NEUTRAL.keys() < value.keys():
        value = {key: item for key, item in value.items() if NEUTRAL.get(key, value) != item}
    if isinstance(value, dict | list | bool):
        return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).splitlines()[0]
    return str(value)
