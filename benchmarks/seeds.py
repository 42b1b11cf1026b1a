"""How far scores differ from seed to seed: a recipe trained several times, each time scored by eval/emoji.py.

    python benchmarks/seeds.py configs/emoji_32.yaml --seeds 0 1 2 --data data/emoji_32 --scorer runs/scorer_32 --out runs/seeds
    python benchmarks/seeds.py configs/emoji_32.yaml training.precision=bf16 ... --out runs/seeds_bf16

Two studies whose ranges do not overlap differ by more than the seed. Each training is a launch of its own, with a process per core as in
`make demo`, in OUT/SEED. An interrupted study continues where it stopped: finished seeds are kept, a broken training is resumed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from t2igan.errors import UserError, run_script

ROOT = Path(__file__).resolve().parent.parent
SPLITS = ("train", "held_out_pairs", "held_out_compositions", "held_out_concepts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, required=True, help="folder made by data_prep/emoji.py")
    parser.add_argument("--scorer", type=Path, required=True, help="CLIP folder made by data_prep/train_clip.py")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="of a training (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and result.json")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        raise UserError("--processes needs a whole number above 0")
    rows = {}
    for seed in dict.fromkeys(arguments.seeds):
        run = arguments.out / str(seed)
        if not (run / "result.json").is_file():
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
            launch(train_command(arguments.recipe, [*arguments.overrides, f"seed={seed}"], arguments.processes, run), environment)
            launch(score_command(run, arguments.data, arguments.scorer), os.environ | {"PYTHONPATH": str(ROOT)})
        rows[seed] = figures(json.loads((run / "result.json").read_text()))
    (arguments.out / "result.json").write_text(json.dumps({"recipe": arguments.recipe, "seeds": rows}, indent=2) + "\n")
    print(table(rows))


def launcher(processes: int) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]


def train_command(recipe: str, overrides: list[str], processes: int, run: Path) -> list[str]:
    """The training, launched as the Makefile does."""
    resume = ["--resume"] if any((run / "checkpoints").glob("*/state.json")) else []
    return [*launcher(processes), "-m", "t2igan", "train", recipe, *overrides, "--out", str(run), *resume]


def score_command(run: Path, data: Path, scorer: Path) -> list[str]:
    command = [sys.executable, str(ROOT / "eval/emoji.py"), "--model", str(run), "--data", str(data), "--scorer", str(scorer)]
    return [*command, "--out", str(run / "result.json"), "--picture", str(run / "grid.png")]


class LaunchError(UserError):
    """A command that failed."""


def launch(command: list[str], environment: dict[str, str]) -> None:
    """Raises LaunchError where the command failed; it has said why."""
    code = subprocess.run(command, env=environment).returncode
    if code:
        raise LaunchError(f"{' '.join(command)} ended with {code}")


def figures(result: dict) -> dict[str, float]:
    """Of a result of eval/emoji.py: R@1 of each split, the Fréchet distance, and diversity as a share of the real styles'."""
    found = {split: result[split]["r_at_1"] for split in SPLITS}
    return found | {"frechet": result["frechet"], "diversity": result["diversity"]["generated"] / result["diversity"]["real"]}


def table(rows: dict[int, dict[str, float]]) -> str:
    """A row per seed, then the least, the median and the greatest of each figure."""
    columns = list(next(iter(rows.values())))
    widths = [max(len(name), 6) for name in columns]
    lines = ["  ".join([f"{'seed':8}", *(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True))])]
    over_seeds = {name: [row[name] for row in rows.values()] for name in columns}
    shown = {str(seed): [row[name] for name in columns] for seed, row in rows.items()}
    for name, statistic in (("least", min), ("median", statistics.median), ("most", max)):
        shown[name] = [statistic(values) for values in over_seeds.values()]
    for name, values in shown.items():
        lines.append("  ".join([f"{name:8}", *(f"{value:{width}.3f}" for value, width in zip(values, widths, strict=True))]))
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
