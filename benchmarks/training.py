"""Training speed of a recipe, on one and on two cores, and where the time goes.

    python benchmarks/training.py configs/emoji_32.yaml --processes 1 2

Each process computes on one core and takes its share of the recipe's batch, as in `make demo`; the figures are the first process's.
The penalty's and the guidance's shares are differences: the same step with and without the term, alternating in one run. Data and text are
timed by themselves (text from a warm cache, as in training), D's half as a whole; the rest is G: its pass, its way back, its optimizer.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=6, help="periods of the lazy penalty to time")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.inside:
        result = measure(arguments.recipe, arguments.overrides, arguments.rounds)
        if os.environ["RANK"] == "0":
            print(json.dumps(result))
        return
    print(f"{arguments.recipe} on {platform.processor() or platform.machine()}, {cpu_name()}")
    for processes in arguments.processes:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        inside = [__file__, arguments.recipe, *arguments.overrides, "--inside", "--rounds", str(arguments.rounds)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(launch + inside, env=environment, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            raise UserError(said[0].removeprefix("error: ") if said else f"the training broke off:\n{done.stderr[-4000:]}")
        result = json.loads(done.stdout.splitlines()[-1])
        shares = "  ".join(f"{name} {share:.1%}" for name, share in result["shares"].items())
        print(f"{processes} process(es): {result['images_per_second']:.1f} images/s   {shares}")


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def measure(path: str, overrides: list[str], rounds: int) -> dict:
    """Images/s over all processes, and each part's share of the time."""
    import torch

    from t2igan.data.shards import batches
    from t2igan.recipe import load_recipe
    from t2igan.system import build_system
    from t2igan.text.cache import default_cache
    from t2igan.training.trainer import Trainer

    torch.manual_seed(0)
    recipe = load_recipe(path, overrides)
    penalties = [term for term in recipe.objective.discriminator if term.kind == "r1"]
    period = max([term.every for term in penalties], default=1)
    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(recipe, build_system(recipe, default_cache()), Path(out), default_cache())
    whole = trainer.objective
    plain = replace_terms(whole, discriminator={"r1"})
    unguided = replace_terms(plain, generator={"clip_contrastive", "clip_spherical"})
    half = HalfTimer(trainer)
    times = {"whole": [], "no penalty": [], "no guidance": [], "data": [], "text": [], "D": []}
    loader = iter(batches(trainer.dataset, 0, 10**6))
    for round in range(rounds + 1):
        for name, objective in (("whole", whole), ("no penalty", plain), ("no guidance", unguided)):
            trainer.objective = objective
            steps, halves = [], []
            for _ in range(period):
                start = time.perf_counter()
                batch = next(loader)
                data = time.perf_counter() - start
                trainer.describe(batch.captions)  # a caption not seen before is not what is timed here
                start = time.perf_counter()
                trainer.describe(batch.captions)
                text = time.perf_counter() - start
                half.seconds = 0.0
                start = time.perf_counter()
                trainer.step(batch)
                steps.append(time.perf_counter() - start)
                halves.append(half.seconds)
                if round:
                    times["data"].append(data)
                    times["text"].append(text)
            if round:  # the first round warms up
                times[name].append(sum(steps) / period)
                if name == "no penalty":
                    times["D"].append(sum(halves) / period)
    median = {name: statistics.median(values) for name, values in times.items()}
    penalty = statistics.median(a - b for a, b in zip(times["whole"], times["no penalty"], strict=True))
    guidance = statistics.median(a - b for a, b in zip(times["no penalty"], times["no guidance"], strict=True))
    total = median["whole"] + median["data"]
    parts = {"data": median["data"], "text": median["text"], "D": median["D"], "penalty": penalty, "guidance": guidance}
    parts["G"] = total - sum(parts.values())
    return {"images_per_second": recipe.training.batch / total, "shares": {name: value / total for name, value in parts.items()}}


def replace_terms(objective, discriminator: set[str] = frozenset(), generator: set[str] = frozenset()):
    """The objective without some of its terms."""
    from t2igan.objective.objective import Objective

    return Objective(
        [replace(term) for term in objective.discriminator if term.name.partition(".")[0] not in discriminator],
        [replace(term) for term in objective.generator if term.name.partition(".")[0] not in generator],
    )


class HalfTimer:
    """Seconds spent in D's half of a step: its losses, their way back and its optimizer."""

    def __init__(self, trainer):
        self.seconds, self.started = 0.0, 0.0
        losses, update = trainer.discriminator_losses, trainer._update

        def timed_losses(*arguments):
            self.started = time.perf_counter()
            return losses(*arguments)

        def timed_update(*arguments):
            update(*arguments)
            if arguments[-1] == "D":
                self.seconds += time.perf_counter() - self.started

        trainer.discriminator_losses, trainer._update = timed_losses, timed_update


if __name__ == "__main__":
    run_script(main)
