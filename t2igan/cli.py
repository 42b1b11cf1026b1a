"""The `t2igan` command. Heavy libraries are imported by the commands that need them, so that --help is immediate."""

import argparse
import json
import sys
from pathlib import Path

from t2igan.errors import UserError, run_script

PICTURES = (".png", ".jpg", ".jpeg", ".webp")  # an --out with one of these endings is one grid
SHARED = "--debug shows the traceback of an error"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="t2igan", description="Text-to-image GANs: train, sample, compare.", epilog=SHARED)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe", epilog="several processes: accelerate launch ... -m t2igan train ...")
    train.add_argument("recipe", help="YAML file, or a run folder to resume")
    train.add_argument("overrides", nargs="*", metavar="section.key=value", help="values to set in the recipe")
    train.add_argument("--out", type=Path, required=True, help="run folder")
    train.add_argument("--resume", action="store_true", help="go on from the run's newest checkpoint")
    train.set_defaults(run=run_train)

    sample = commands.add_parser("sample", help="prompts to pictures")
    sample.add_argument("model", type=Path, help="run folder, or the model folder inside it")
    sample.add_argument("prompts", nargs="*", help="what to draw")
    sample.add_argument("--prompts", dest="file", type=Path, help="file with one prompt per line")
    sample.add_argument("--seeds", default="0", help="such as 0-7 or 1,5,9")
    sample.add_argument("--truncation", type=float, default=1.0, help="below 1: closer to the prompt's mean picture, less varied")
    sample.add_argument(
        "--out", type=Path, default=Path("samples.png"), help="PATH.png for one captioned grid, or a folder for single files"
    )
    sample.set_defaults(run=run_sample)

    show = commands.add_parser("show", help="parameters, FLOPs and memory of a recipe or a run; reads no weights, downloads nothing")
    show.add_argument("recipe", help="YAML file or run folder")
    show.add_argument("overrides", nargs="*", metavar="section.key=value", help="values to set in the recipe")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=run_show)

    diff = commands.add_parser("diff", help="what changes from one recipe to another")
    diff.add_argument("a", help="YAML file or run folder")
    diff.add_argument("b", help="YAML file or run folder")
    diff.set_defaults(run=run_diff)

    for command in (train, sample, show, diff):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    parsed, rest = parser.parse_known_args(arguments)
    take_rest(parsed, rest, parser)
    run_script(lambda: parsed.run(parsed))


def take_rest(parsed: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> None:
    """Overrides and prompts may also stand after options, where argparse leaves them over."""
    several = next((name for name in ("overrides", "prompts") if hasattr(parsed, name)), None)
    unknown = [word for word in rest if several is None or word.startswith("-")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if several:
        getattr(parsed, several).extend(rest)


def run_train(arguments: argparse.Namespace) -> None:
    from t2igan.config import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    check_folder(arguments.out)

    import torch

    from t2igan.system import build_system
    from t2igan.text.cache import default_cache
    from t2igan.training.trainer import Trainer

    torch.manual_seed(recipe.seed)  # the initial weights
    system = build_system(recipe, default_cache())
    Trainer(recipe, system, arguments.out, default_cache()).train(resume=arguments.resume)


def run_sample(arguments: argparse.Namespace) -> None:
    seeds = parse_seeds(arguments.seeds)
    prompts = list(arguments.prompts)
    if arguments.file:
        if not arguments.file.is_file():
            raise UserError(f"no file of prompts at {arguments.file}")
        prompts += [line for line in arguments.file.read_text().splitlines() if line.strip()]
    if not 0 <= arguments.truncation <= 1:
        raise UserError(f"--truncation is {arguments.truncation}, needs a number from 0 (the prompt's mean picture) to 1 (as trained)")

    is_grid = arguments.out.suffix.lower() in PICTURES
    check_folder(arguments.out.parent if is_grid else arguments.out)

    import warnings

    from t2igan.pipeline import Pipeline, check_prompts
    from t2igan.text.cache import default_cache

    check_prompts(prompts)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("always", message="prompt cut")  # also when a caller has been told before

    import torch

    from t2igan.pictures import grid

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = Pipeline.load(arguments.model, device, default_cache())
    rows = pipeline(prompts, seeds, arguments.truncation)
    if is_grid:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        grid(rows, prompts).save(arguments.out)
        print(arguments.out)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        for seed, picture in zip(seeds, row, strict=True):
            picture.save(arguments.out / f"{number:05d}_seed{seed}.png")
    (arguments.out / "prompts.txt").write_text("\n".join(prompts) + "\n")
    print(f"{len(prompts) * len(seeds)} pictures in {arguments.out}")


def check_folder(folder: Path) -> None:
    if folder.is_file():
        raise UserError(f"--out needs a folder, {folder} is a file; choose another name")


def parse_seeds(text: str) -> list[int]:
    """`0-3,7` to [0, 1, 2, 3, 7]."""
    seeds = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"--seeds is {text!r}, needs numbers or ranges such as 0-7 or 1,5,9")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def run_show(arguments: argparse.Namespace) -> None:
    from t2igan.config import load_recipe
    from t2igan.show import describe, table

    description = describe(load_recipe(arguments.recipe, arguments.overrides))
    print(json.dumps(description, indent=2) if arguments.json else table(description))


def run_diff(arguments: argparse.Namespace) -> None:
    from t2igan.config import differences, load_recipe

    rows = differences(load_recipe(arguments.a), load_recipe(arguments.b))
    if not rows:
        print("the recipes are equal")
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, a, b in rows:
        print(f"{key:{width}}  {'-' if a is None else a}  ->  {'-' if b is None else b}")
