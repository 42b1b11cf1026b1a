"""The whole lineage side by side: every system at emoji size with text, on the same images, encoder, trainer and scores.

    make demo            # data and CLIPs
    python benchmarks/lineage.py --images 120000 --minutes 15 --processes 1 --out runs/lineage

A short training measures each system's pace and draws with it, all in one go on one machine: run that study with nothing beside it
(`--studies pace`). Then each system is trained twice: (a) for the same number of images, (b) for the same minutes, whose images are counted
by the pace. Schedules, warm-ups and growth stretch with the length. Beside them stands what a user would take instead, a flow-matching
U-Net (benchmarks/flow.py), sampled in 1, 4 and 16 steps; its minutes are the clock's, so train it, too, with nothing beside it. The result
is OUT/result.json, OUT/table.md, and OUT/rows_a.png and OUT/rows_b.png, a row of samples for each system. What is finished is kept: an
interrupted study goes on where it stopped.
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
STUDIES = ("pace", "a", "b")
FLOW = "flow_matching"
FLOW_RECIPE = "emoji_32"  # whose data, text encoder and batch the U-Net takes
STEPS = (1, 4, 16)
ORDER = (*SYSTEMS, *(f"{FLOW}_{steps}" for steps in STEPS))
PACE_IMAGES = 4800  # of the trainings that measure a pace
PROMPTS = ("red heart", "green apple", "cat face", "rose", "bus", "airplane", "grinning face", "strawberry, openmoji style")
DRAWN, ROUNDS = 64, 3  # images of a round, to time drawing
NAME_WIDTH = 110  # px, of a system's name beside its row
COLUMNS = ("system", "run", "images", "minutes", "train img/s", "draw img/s", "G params", "Fréchet", "R@1", "R@5", "comp.", "div.", "cover")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120_000, help="of study (a) (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=15.0, help="of study (b) (default: %(default)s)")
    parser.add_argument("--systems", nargs="+", choices=[*SYSTEMS, FLOW], default=[*SYSTEMS, FLOW], help="default: all")
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES, help="default: all")
    parser.add_argument("--data", type=Path, default=Path("data/emoji_32"), help="folder made by data_prep/emoji.py (default: %(default)s)")
    parser.add_argument("--scorer", type=Path, default=Path("runs/scorer_32"), help="CLIP that scores (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="of a training (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, result.json, table.md and pictures")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    for path in (arguments.data, arguments.scorer):
        if not path.is_dir():
            raise UserError(f"no folder {path}; make demo makes data and CLIPs")
    study = Study(arguments)
    for part in arguments.studies:
        for name in arguments.systems:
            study.run(name, part)
            study.write()


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

    def has(self, part: str, name: str) -> bool:
        return (self.out / part / name / "figures.json").is_file()

    def row(self, part: str, name: str) -> dict:
        return json.loads((self.out / part / name / "figures.json").read_text())

    def run(self, name: str, part: str) -> None:
        """One study of one system, once."""
        if part == "pace":
            self.pace(name)
        elif name != FLOW:
            self.gan(name, part)
        elif part == "b":
            self.flow()

    def pace(self, name: str) -> None:
        """Images per second of training and of drawing; parameters. The U-Net's training has a clock of its own."""
        from benchmarks.flow import FlowSampler
        from benchmarks.lengths import pace
        from t2igan.inference.pipeline import Pipeline
        from t2igan.recipe import load_recipe
        from t2igan.text.cache import default_cache

        if name == FLOW:
            for steps in STEPS:
                if not self.has("pace", f"{FLOW}_{steps}"):
                    sampler = FlowSampler.load(load_recipe(ROOT / f"configs/{FLOW_RECIPE}.yaml"), None, steps)
                    self.write_pace(f"{FLOW}_{steps}", sampler.network, sampler)
        elif not self.has("pace", name):
            runs, counts = self.train(name, self.out / "pace" / name, PACE_IMAGES, often=True)
            seconds = sum(count / pace(run) for run, count in zip(runs, counts, strict=True))
            pipeline = Pipeline.load(runs[-1], "cpu", default_cache())
            self.write_pace(name, pipeline.generator, pipeline, images_per_second=sum(counts) / seconds)

    def write_pace(self, name: str, network, sampler, **found) -> None:
        from benchmarks.training import cpu_name
        from t2igan.files import write_json

        found |= {"drawn_per_second": draw_speed(sampler), "parameters": sum(p.numel() for p in network.parameters())}
        write_json(self.out / "pace" / name / "figures.json", {"machine": cpu_name()} | found)

    def gan(self, name: str, part: str) -> None:
        """Trains a system for one of the studies and scores it."""
        from t2igan.inference.pipeline import Pipeline
        from t2igan.text.cache import default_cache

        folder = self.out / part / name
        if self.has(part, name):
            return
        images = self.arguments.images if part == "a" else self.images_in_minutes(name)
        runs, _ = self.train(name, folder, images)
        launch(score_command(runs[-1], self.arguments.data, self.arguments.scorer), os.environ | {"PYTHONPATH": str(ROOT)})
        result = json.loads((runs[-1] / "result.json").read_text())
        self.save(folder, result, self.facts(runs), Pipeline.load(runs[-1], "cpu", default_cache()))

    def train(self, name: str, folder: Path, images: int, often: bool = False) -> tuple[list[Path], list[int]]:
        """The runs of a system's recipes in `folder`, each begun by the one before, and the images of each.

        Args:
            images: of all runs together.
            often: a line in the log for every step.
        """
        from dataclasses import replace

        from benchmarks.lengths import logged_often, of_length
        from t2igan.files import write_text
        from t2igan.recipe import dump_recipe, load_recipe

        recipes = [load_recipe(ROOT / f"configs/{recipe}.yaml") for recipe in SYSTEMS[name]]
        runs, counts = [], lengths(recipes, images)
        for recipe, count in zip(recipes, counts, strict=True):
            run = folder / recipe.name
            long = of_length(recipe, count)
            if often:
                long = logged_often(long)
            if runs:
                long = replace(long, start=replace(long.start, run=str(runs[-1])))
            if not (run / "model").is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                write_text(folder / f"{recipe.name}.yaml", dump_recipe(long))
                launch(train_command(str(folder / f"{recipe.name}.yaml"), [], self.arguments.processes, run), self.quiet)
            runs.append(run)
        return runs, counts

    def images_in_minutes(self, name: str) -> int:
        """How many images fit into the minutes of study (b)."""
        if not self.has("pace", name):
            raise UserError(f"the pace of {name} is not known; run --studies pace first")
        return round(self.row("pace", name)["images_per_second"] * 60 * self.arguments.minutes)

    def facts(self, runs: list[Path]) -> dict[str, float]:
        """Images and minutes of a chain of runs, together."""
        from t2igan.inference.run_log import training_facts

        facts = [training_facts(run) for run in runs]
        return {"images": sum(f["images_seen"] for f in facts), "minutes": round(sum(f["minutes"] for f in facts), 2)}

    def save(self, folder: Path, result: dict, facts: dict, sampler) -> None:
        """Figures of a system, and its samples of PROMPTS."""
        from t2igan.data.images import save_image
        from t2igan.files import write_json
        from t2igan.grids import sheet

        found = figures(result)
        found = {
            **{"frechet": found["frechet"], "diversity": found["diversity"]},
            **{"r_at_1": result["train"]["r_at_1"] / result["train"]["real_r_at_1"]},
            **{"r_at_5": result["train"]["r_at_5"] / result["train"]["real_r_at_5"]},
            **{"compositions": result["held_out_compositions"]["r_at_1"], "coverage": result["style_coverage"]["generated"]},
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_image(sheet(pictures(sampler), list(PROMPTS), columns=len(PROMPTS), scale=2), folder / "row.png")
        write_json(folder / "figures.json", facts | found)

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
            if not self.has("b", f"{FLOW}_{steps}"):
                sampler = FlowSampler.load(recipe, run, steps)
                result = SplitScores(read_splits(self.arguments.data, recipe.resolution), clip, sampler).run()
                self.save(self.out / "b" / f"{FLOW}_{steps}", result, {"images": facts["images"], "minutes": facts["minutes"]}, sampler)

    def write(self) -> None:
        """result.json, table.md and the pictures of everything that is finished."""
        from t2igan.data.images import save_image
        from t2igan.files import write_json

        found = {part: {name: self.row(part, name) for name in ORDER if self.has(part, name)} for part in STUDIES}
        write_json(self.out / "result.json", found)
        rows = {(part, name): at_pace(row, found["pace"].get(name)) for part in "ab" for name, row in found[part].items()}
        rows = {key: row for key, row in rows.items() if row}
        (self.out / "table.md").write_text(table(rows))
        print(table(rows), flush=True)
        for part in "ab":
            files = {name: self.out / part / name / "row.png" for of, name in rows if of == part}
            if files:
                save_image(side_by_side(files), self.out / f"rows_{part}.png")


def side_by_side(files: dict[str, Path]):
    """Rows of samples below each other, each after its system's name."""
    from PIL import Image

    from t2igan.grids import MARGIN, Block, draw_blocks

    rows = {name: Image.open(file) for name, file in files.items()}
    width, height = next(iter(rows.values())).size
    block = Block(NAME_WIDTH + width, height, (MARGIN, height // 2), NAME_WIDTH - MARGIN, (NAME_WIDTH, 0), 0)
    return draw_blocks(((name, [row]) for name, row in rows.items()), block, 1, (block.width, len(rows) * height), 0, font_size=11)


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


def at_pace(row: dict, pace: dict | None) -> dict | None:
    """A row with the speeds of the study of paces, and the minutes that its training takes at that pace; None: not known yet."""
    if pace is None:
        return None
    speeds = {name: pace[name] for name in ("drawn_per_second", "parameters")}
    images_per_second = pace.get("images_per_second", row["images"] / 60 / row["minutes"])
    return row | speeds | {"images_per_second": images_per_second, "minutes": row["images"] / 60 / images_per_second}


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
