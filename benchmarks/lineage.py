"""The whole lineage side by side: every system at emoji size with text, on the same images, encoder, trainer and scores.

    make demo            # data and CLIPs
    python benchmarks/lineage.py --images 120000 --minutes 30 --out runs/lineage

Each system is trained twice: (a) for the same number of images, (b) for the same minutes, whose images are counted by the pace of (a).
Schedules, warm-ups and growth stretch with the length. Beside them stands what a user would take instead, a flow-matching U-Net
(benchmarks/flow.py) of the same minutes, sampled in 1, 4 and 16 steps. The result is OUT/result.json, OUT/table.md and OUT/row.png, a row
of samples for each system. What is finished is kept: an interrupted study goes on where it stopped.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.seeds import figures, launch, launcher, score_command, train_command  # noqa: E402
from t2igan.errors import UserError, run_script  # noqa: E402

SYSTEMS = {  # recipes of configs/, each begun by the one before
    "progan": ("emoji_progan_32",),
    "stylegan": ("emoji_stylegan_32",),
    "stylegan2": ("emoji_stylegan2_32",),
    "stylegan3": ("emoji_stylegan3_32",),
    "stylegan_xl": ("emoji_stylegan_xl_16", "emoji_stylegan_xl_32"),
    "stylegan_t": ("emoji_stylegan_t_32",),
    "gigagan": ("emoji_32",),
    "r3gan": ("emoji_r3gan_32",),
    "aurora": ("emoji_aurora_32",),
}
FLOW = "flow_matching"
FLOW_RECIPE = "emoji_32"  # whose data, text encoder and batch the U-Net takes
STEPS = (1, 4, 16)
IN_IMAGES = ("total_images", "hold", "fade", "warmup", "after", "ramp_images")  # fields of a recipe that stretch with its length
PROMPTS = ("red heart", "green apple", "cat face", "rose", "bus", "airplane", "grinning face", "strawberry, openmoji style")
DRAWN, ROUNDS = 64, 3  # images of a round, to time drawing
COLUMNS = ("system", "run", "images", "minutes", "train img/s", "draw img/s", "G params", "Fréchet", "R@1", "R@5", "comp.", "div.", "cover")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120_000, help="of study (a) (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of study (b) (default: %(default)s)")
    parser.add_argument("--systems", nargs="+", choices=[*SYSTEMS, FLOW], default=[*SYSTEMS, FLOW], help="default: all")
    parser.add_argument("--studies", nargs="+", choices=["a", "b"], default=["a", "b"], help="default: both")
    parser.add_argument("--data", type=Path, default=Path("data/emoji_32"), help="folder made by data_prep/emoji.py (default: %(default)s)")
    parser.add_argument("--scorer", type=Path, default=Path("runs/scorer_32"), help="CLIP that scores (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="of a training (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, result.json, table.md and row.png")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    for path in (arguments.data, arguments.scorer):
        if not path.is_dir():
            raise UserError(f"no folder {path}; make demo makes data and CLIPs")
    study = Study(arguments)
    for name in arguments.systems:
        for part in arguments.studies:
            if name != FLOW:
                study.gan(name, part)
            elif part == "b":
                study.flow()
        study.write()


def scaled(config, factor: float):
    """A recipe, or a section of it, for a training of another length: schedules, growth and warm-ups; half-lives stay."""
    from dataclasses import fields, is_dataclass, replace

    from t2igan.schedule import Schedule

    def longer(images: int) -> int:
        return max(1, round(images * factor)) if images else 0

    if isinstance(config, Schedule):
        until = max(longer(config.until), longer(config.begin) + 1)
        return replace(config, begin=longer(config.begin), until=until, later=tuple((longer(at), value) for at, value in config.later))
    if isinstance(config, tuple):
        return tuple(scaled(item, factor) for item in config)
    if not is_dataclass(config):
        return config
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return replace(
        config,
        **{name: longer(value) if name in IN_IMAGES and type(value) is int else scaled(value, factor) for name, value in values.items()},
    )


def lengths(recipes: list, images: int) -> list[int]:
    """How many images each of a chain of recipes sees, in the proportion of their own lengths; whole steps."""
    total = sum(recipe.training.total_images for recipe in recipes)
    return [
        max(1, round(images * recipe.training.total_images / total / recipe.training.batch)) * recipe.training.batch for recipe in recipes
    ]


def flow_command(recipe: Path, minutes: float, processes: int, run: Path) -> list[str]:
    """Trains the U-Net of benchmarks/flow.py."""
    return [*launcher(processes), str(ROOT / "benchmarks/flow.py"), str(recipe), "--minutes", str(minutes), "--out", str(run)]


class Study:
    """Trainings and their scores in one folder."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments, self.out = arguments, arguments.out
        self.quiet = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}

    def gan(self, name: str, part: str) -> None:
        """Trains a system for one of the studies and scores it."""
        from dataclasses import replace

        from t2igan.recipe import dump_recipe, load_recipe

        folder = self.out / part / name
        if (folder / "figures.json").is_file():
            return
        recipes = [load_recipe(ROOT / f"configs/{recipe}.yaml") for recipe in SYSTEMS[name]]
        images = self.arguments.images if part == "a" else self.images_in_minutes(name)
        runs = []
        for recipe, count in zip(recipes, lengths(recipes, images), strict=True):
            run = folder / recipe.name
            long = scaled(recipe, count / recipe.training.total_images)
            long = replace(long, training=replace(long.training, total_images=count))
            if runs:
                long = replace(long, start=replace(long.start, run=str(runs[-1])))
            if not (run / "model").is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                file = folder / f"{recipe.name}.yaml"
                file.write_text(dump_recipe(long))
                launch(train_command(str(file), [], self.arguments.processes, run), self.quiet)
            runs.append(run)
        launch(score_command(runs[-1], self.arguments.data, self.arguments.scorer), os.environ | {"PYTHONPATH": str(ROOT)})
        self.write_figures(folder, json.loads((runs[-1] / "result.json").read_text()), self.pace(runs), runs[-1])

    def images_in_minutes(self, name: str) -> int:
        """How many images fit into the minutes of study (b) at the pace of study (a)."""
        file = self.out / "a" / name / "figures.json"
        if not file.is_file():
            raise UserError(f"the pace of {name} is not known; run study a first")
        return round(json.loads(file.read_text())["images_per_second"] * 60 * self.arguments.minutes)

    def pace(self, runs: list[Path]) -> dict[str, float]:
        """Images and minutes of a chain of runs, together."""
        from t2igan.inference.run_log import training_facts

        facts = [training_facts(run) for run in runs]
        return {"images": sum(f["images_seen"] for f in facts), "minutes": sum(f["minutes"] for f in facts)}

    def write_figures(self, folder: Path, result: dict, pace: dict, run: Path) -> None:
        from t2igan.inference.pipeline import Pipeline
        from t2igan.text.cache import default_cache

        pipeline = Pipeline.load(run, "cpu", default_cache())
        parameters = sum(p.numel() for p in pipeline.generator.parameters())
        self.save(folder, result, pace, parameters, pipeline)

    def save(self, folder: Path, result: dict, pace: dict, parameters: int, sampler) -> None:
        """Figures of a system, and its samples of PROMPTS."""
        from t2igan.data.images import save_image
        from t2igan.grids import sheet

        found = figures(result)
        found = {
            **{"frechet": found["frechet"], "diversity": found["diversity"]},
            **{"r_at_1": result["train"]["r_at_1"] / result["train"]["real_r_at_1"]},
            **{"r_at_5": result["train"]["r_at_5"] / result["train"]["real_r_at_5"]},
            **{"compositions": result["held_out_compositions"]["r_at_1"], "coverage": result["style_coverage"]["generated"]},
        }
        speed = {"images_per_second": pace["images"] / 60 / pace["minutes"], "drawn_per_second": draw_speed(sampler)}
        folder.mkdir(parents=True, exist_ok=True)
        save_image(sheet(pictures(sampler), list(PROMPTS), columns=len(PROMPTS), scale=2), folder / "row.png")
        (folder / "figures.json").write_text(json.dumps(pace | speed | {"parameters": parameters} | found, indent=2) + "\n")

    def flow(self) -> None:
        """Trains the U-Net for the minutes of study (b) and scores it in 1, 4 and 16 steps."""
        from benchmarks.flow import FlowSampler
        from t2igan.evaluation.splits import SplitScores, read_splits
        from t2igan.features.open_clip import ClipScorer
        from t2igan.recipe import load_recipe
        from t2igan.text.cache import default_cache

        run, file = self.out / "b" / FLOW, ROOT / f"configs/{FLOW_RECIPE}.yaml"
        if not (run / "trained.json").is_file():
            launch(flow_command(file, self.arguments.minutes, self.arguments.processes, run), self.quiet)
        facts, recipe = json.loads((run / "trained.json").read_text()), load_recipe(file)
        clip = ClipScorer(f"local-dir:{self.arguments.scorer}", cache=default_cache())
        clip.load_pretrained()
        for steps in STEPS:
            folder = self.out / "b" / f"{FLOW}_{steps}"
            if (folder / "figures.json").is_file():
                continue
            sampler = FlowSampler.load(recipe, run, steps)
            result = SplitScores(read_splits(self.arguments.data, recipe.resolution), clip, sampler).run()
            pace = {"images": facts["images"], "minutes": facts["minutes"]}
            self.save(folder, result, pace, facts["parameters"], sampler)

    def write(self) -> None:
        """result.json, table.md and row.png of everything that is finished."""
        from PIL import Image

        from t2igan.data.images import save_image

        order = [*SYSTEMS, *(f"{FLOW}_{steps}" for steps in STEPS)]
        found = {(part, name): self.out / part / name for part in "ab" for name in order}
        found = {key: folder for key, folder in found.items() if (folder / "figures.json").is_file()}
        rows = {key: json.loads((folder / "figures.json").read_text()) for key, folder in found.items()}
        result = {part: {name: row for (p, name), row in rows.items() if p == part} for part in "ab"}
        (self.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        (self.out / "table.md").write_text(table(rows))
        print(table(rows), flush=True)
        shown = [Image.open(folder / "row.png") for (part, name), folder in found.items() if part == "a" or name.startswith(FLOW)]
        if shown:
            canvas = Image.new("RGB", (max(image.width for image in shown), sum(image.height for image in shown)), "white")
            top = 0
            for image in shown:
                canvas.paste(image, (0, top))
                top += image.height
            save_image(canvas, self.out / "row.png")


def pictures(sampler) -> list:
    """One image of each prompt."""
    from t2igan.data.images import to_pil

    return [to_pil(image) for image in sampler.sample_tensor(list(PROMPTS), [0])]


def draw_speed(sampler) -> float:
    """Images per second, the median of some rounds after one to warm up."""
    import statistics

    prompts, times = list(PROMPTS), []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        sampler.sample_tensor(prompts, list(range(DRAWN // len(prompts))))
        times.append(time.perf_counter() - began)
    return DRAWN / statistics.median(times[1:])


def table(rows: dict[tuple[str, str], dict]) -> str:
    """Markdown: R@1 and R@5 against those of real images."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for (part, name), row in rows.items():
        cells = [name, part, f"{row['images']:,}", f"{row['minutes']:.1f}", f"{row['images_per_second']:.1f}"]
        cells += [f"{row['drawn_per_second']:.0f}", f"{row['parameters'] / 1e6:.2f}M"]
        cells += [f"{row[key]:.3f}" for key in ("frechet", "r_at_1", "r_at_5", "compositions", "diversity")]
        lines.append("| " + " | ".join([*cells, f"{row['coverage']:.2f}"]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_script(main)
