"""Which parts of a recipe matter: variants of it, each trained for the same minutes and scored by the same script.

    python benchmarks/ablation.py configs/ablations/drawings_32.yaml benchmarks/drawings_variants.yaml --minutes 15 \\
        --data data/drawings_64 --scorer models/drawings_scorer --out runs/ablation

The second file maps the name of a variant to its overrides, as the command line takes them:

    base: []
    no guidance: ["objective.generator=[{kind: nonsaturating}]"]

A short run measures each variant's pace. The number of images that fits the minutes follows from it, and schedules and growth scale with
that number. The result is OUT/result.json and OUT/table.md. A variant that fails is named at the end, the others go on. What is finished is
kept: an interrupted study goes on where it stopped.
"""

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.lengths import logged_often, of_length, pace  # noqa: E402
from benchmarks.seeds import LaunchError, launch, train_command  # noqa: E402
from t2igan.errors import UserError, run_script  # noqa: E402

PACE_STEPS = 60  # of the run that measures a pace
SCRIPTS = ("drawings", "emoji")  # of eval/


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("variants", type=Path, help="YAML: names to lists of overrides")
    parser.add_argument("--minutes", type=float, required=True, help="of each training")
    parser.add_argument("--score", choices=SCRIPTS, default=SCRIPTS[0], help="which script of eval/ (default: %(default)s)")
    parser.add_argument("--data", type=Path, required=True, help="folder that the script scores on")
    parser.add_argument("--scorer", type=Path, required=True, help="CLIP folder made by data_prep/train_clip.py")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="variants to train now (default: all)")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="of a training (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, result.json and table.md")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        raise UserError(f"--minutes is {arguments.minutes:g}, needs a number above 0")
    for folder in (arguments.data, arguments.scorer):
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")
    variants = read_variants(arguments.variants)
    unknown = [name for name in arguments.only or () if name not in variants]
    if unknown:
        raise UserError(f"no variant {unknown[0]!r}; {arguments.variants} has {', '.join(variants)}")
    chosen = {name: overrides for name, overrides in variants.items() if not arguments.only or name in arguments.only}
    check_variants(arguments.recipe, chosen, arguments.processes)
    failed = []
    for name, overrides in chosen.items():
        try:
            train_and_score(name, overrides, arguments)
        except LaunchError as error:
            failed.append(f"{name}: {error}")
        write(arguments.out, variants)
    print((arguments.out / "table.md").read_text(), end="")
    if failed:
        raise UserError("; ".join(failed))


def check_variants(recipe: Path, variants: dict[str, list[str]], processes: int) -> None:
    """Raises UserError, before the first variant trains, for any that could not be built."""
    from t2igan.growth import Growth
    from t2igan.recipe import load_recipe
    from t2igan.system import build_system
    from t2igan.training.parameters import settings

    for name, overrides in variants.items():
        try:
            changed = load_recipe(recipe, overrides)
            system = build_system(changed)
            for part in ("generator", "discriminator"):
                settings(getattr(system, part), getattr(changed.training, f"{part}_optimizer"), f"training.{part}_optimizer")
            Growth(changed.training, changed.resolution, processes, system.discriminator.batch_multiple, changed.data.images_per_caption)
        except UserError as error:
            raise UserError(f"variant {name}: {error}") from None


def read_variants(file: Path) -> dict[str, list[str]]:
    """Raises UserError where the file is not a mapping of names to lists of overrides."""
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {file} ({' '.join(str(error).split())})") from None
    lists = isinstance(data, dict) and all(isinstance(v, list) and all(isinstance(o, str) for o in v) for v in data.values())
    if not lists or not data:
        raise UserError(f"{file} needs names of variants, each with a list of overrides such as training.batch=32")
    folders = [folder_name(str(name)) for name in data]
    twice = next((name for name in folders if folders.count(name) > 1), None)
    if twice:
        raise UserError(f"{file} has two variants whose folder is {twice}; give them other names")
    return {str(name): overrides for name, overrides in data.items()}


def folder_name(variant: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "_", variant).strip("_")


def train_and_score(name: str, overrides: list[str], arguments: argparse.Namespace) -> None:
    """A variant's pace, then its training for the minutes, then its scores, each once.

    Raises:
        UserError: the variant has been begun with other overrides or for other minutes.
    """
    from t2igan.files import write_json, write_text
    from t2igan.recipe import dump_recipe, load_recipe

    folder = arguments.out / folder_name(name)
    recipe = load_recipe(arguments.recipe, overrides)
    asked = {"recipe": dump_recipe(recipe), "minutes": arguments.minutes}
    if (folder / "asked.json").is_file() and json.loads((folder / "asked.json").read_text()) != asked:
        raise UserError(f"{folder} was begun with another recipe or for other minutes; remove it, or choose another --out")
    if (folder / "figures.json").is_file():
        return
    write_json(folder / "asked.json", asked)
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    if not (folder / "pace.json").is_file():
        shutil.rmtree(folder / "short", ignore_errors=True)  # of an interrupted study
        short = of_length(recipe, PACE_STEPS * recipe.training.batch)
        write_text(folder / "short.yaml", dump_recipe(logged_often(short)))
        launch(train_command(str(folder / "short.yaml"), [], arguments.processes, folder / "short"), quiet)
        write_json(folder / "pace.json", {"images_per_second": pace(folder / "short")})
    images = round(json.loads((folder / "pace.json").read_text())["images_per_second"] * 60 * arguments.minutes)
    run = folder / "run"
    if not (run / "model").is_dir():
        write_text(folder / "recipe.yaml", dump_recipe(of_length(recipe, images)))
        launch(train_command(str(folder / "recipe.yaml"), [], arguments.processes, run), quiet)
    score = [sys.executable, str(ROOT / f"eval/{arguments.score}.py"), "--model", str(run), "--data", str(arguments.data)]
    launch([*score, "--scorer", str(arguments.scorer), "--out", str(run / "result.json")], os.environ | {"PYTHONPATH": str(ROOT)})
    write_json(folder / "figures.json", flat(json.loads((run / "result.json").read_text())))


def flat(scores: dict, path: str = "") -> dict[str, float]:
    """Nested scores to one level, named by their way."""
    found: dict[str, float] = {}
    for key, value in scores.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(value, dict):
            found |= flat(value, name)
        elif isinstance(value, int | float):
            found[name] = value
    return found


def write(out: Path, variants: dict[str, list[str]]) -> None:
    """result.json with every score of the finished variants, and table.md with those that eval/'s tables lead with."""
    from t2igan.files import write_json, write_text

    files = {name: out / folder_name(name) / "figures.json" for name in variants}
    rows = {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}
    write_json(out / "result.json", rows)
    write_text(out / "table.md", table(rows))


COLUMNS = {  # of the table: the score's name in either script's result
    "images": ("images seen",),
    "minutes": ("minutes",),
    "R@1": ("retrieval train 100 generated r at 1", "train r at 1"),
    "R@1 of 1000": ("retrieval train 1000 generated r at 1",),
    "R@1 of drawn": ("retrieval by kind drawn generated r at 1",),
    "pairs": ("retrieval held out pairs 100 generated r at 1", "held out pairs r at 1"),
    "compositions": ("retrieval held out compositions 100 generated r at 1", "held out compositions r at 1"),
    "concepts": ("retrieval held out concepts 100 generated r at 1", "held out concepts r at 1"),
    "options": ("options mean generated",),
    "style": ("style train generated",),
    "Fréchet": ("frechet generated", "frechet"),
    "distance": ("diversity distance generated", "diversity generated"),
    "precision": ("diversity precision generated",),
    "recall": ("diversity recall generated",),
}

FORMATS = {"images": ",.0f", "minutes": ".1f"}


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown: a line for each variant, a column for each score that any of them has."""
    named = {column: next((name for name in names if any(name in row for row in rows.values())), None) for column, names in COLUMNS.items()}
    shown = {column: name for column, name in named.items() if name}
    lines = [f"| {' | '.join(['variant', *shown])} |", f"|{'---|' * (len(shown) + 1)}"]
    for variant, row in rows.items():
        cells = [f"{row[name]:{FORMATS.get(column, '.3f')}}" for column, name in shown.items()]
        lines.append(f"| {' | '.join([variant, *cells])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_script(main)
