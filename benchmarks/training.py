"""Training speed of a recipe, on one and on two cores, and where the time goes.

    python benchmarks/training.py configs/emoji_32.yaml --processes 1 2
    python benchmarks/training.py configs/emoji_32.yaml --without D/r1 G/clip_contrastive

Each process computes on one core and takes its share of the recipe's batch, as in `make demo`; the figures are the first process's.
A loss's share is a difference: the same step with and without it, alternating in one run. By default that is done for every loss except
one of each half, so that both networks always have something to train on; --without chooses. Data and text are timed by themselves (text
from a warm cache, as in training), and D's half (losses, backward passes, optimizer) as a whole. "D" is what its losses' shares leave of
it; "G" is the rest of the step: its passes, forward and backward, its other losses, its optimizer and its average.
"""

import argparse
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=6, help="times each is timed, each for a period of the losses' `every`")
    parser.add_argument("--without", nargs="+", metavar="LOSS", help="losses to time the step without, named as in metrics.jsonl")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(*arguments.processes, arguments.rounds) < 1:
        raise UserError("--processes and --rounds need whole numbers above 0")
    if arguments.inside:
        result = measure(arguments.recipe, arguments.overrides, arguments.rounds, arguments.without)
        if os.environ["RANK"] == "0":
            print(json.dumps(result))
        return
    print(f"{arguments.recipe} on {platform.processor() or platform.machine()}, {cpu_name()}")
    for processes in arguments.processes:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        inside = [__file__, arguments.recipe, *arguments.overrides, "--inside", "--rounds", str(arguments.rounds)]
        inside += ["--without", *arguments.without] if arguments.without else []
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(launch + inside, env=environment, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            raise UserError(errors[0].removeprefix("error: ") if errors else f"the training broke off:\n{done.stderr[-4000:]}")
        result = json.loads(done.stdout.splitlines()[-1])
        shares = "  ".join(f"{name} {share:.1%}" for name, share in result["shares"].items())
        print(f"{processes} process(es): {result['images_per_second']:.1f} images/s   {shares}")


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def measure(path: str, overrides: list[str], rounds: int, without: list[str] | None) -> dict:
    """Images/s over all processes, and each part's share of the time."""
    import torch

    from t2igan.data.batches import batches
    from t2igan.recipe import load_recipe
    from t2igan.system import build_system
    from t2igan.text.cache import default_cache
    from t2igan.training.run import Run

    torch.manual_seed(0)
    recipe = load_recipe(path, overrides)
    system = build_system(recipe)
    variants = {"": system.objective} | {name: leave_out(system.objective, name) for name in without or optional(system.objective)}
    with tempfile.TemporaryDirectory() as out:
        run = Run(recipe, system, Path(out), default_cache())
        run.begin()
    trainer, batch = run.trainer, recipe.training.batch
    half = HalfTimer(trainer, list(variants.values()))
    times: dict[str, list[float]] = {name: [] for name in ("data", "text", "D half", *variants)}
    period = math.lcm(*(entry.every for entry in system.objective.of_discriminator + system.objective.of_generator))
    steps = (rounds + 1) * len(variants) * period
    loader = batches(run.dataset, range(0, steps * batch, batch))
    for round in range(rounds + 1):
        sums = dict.fromkeys(times, 0.0)
        for step, (name, objective) in itertools.product(range(period), variants.items()):
            start = time.perf_counter()
            found = next(loader)
            sums["data"] += (time.perf_counter() - start) / len(variants)
            given = found if isinstance(found, tuple) else (found,)
            sums["text"] += sum(timed_encoding(trainer.encode_text, part.captions) for part in given) / len(variants)
            trainer.objective, trainer.steps = objective, step  # neighbours in time have the same losses due, but for the one left out
            half.seconds = 0.0
            start = time.perf_counter()
            trainer.step(*given)
            sums[name] += time.perf_counter() - start
            sums["D half"] += 0.0 if name else half.seconds
        if round:  # the first round warms up
            for name, seconds in sums.items():
                times[name].append(seconds / period)
    losses = {name: statistics.median(a - b for a, b in zip(times[""], times[name], strict=True)) for name in variants if name}
    median = {name: statistics.median(values) for name, values in times.items()}
    total = median[""] + median["data"]
    d_half = median["D half"] - sum(value for name, value in losses.items() if name.startswith("D/"))
    parts = {"data": median["data"], "text": median["text"], "D": d_half} | losses
    parts["G"] = total - sum(parts.values())
    return {"images_per_second": batch / total, "shares": {name: value / total for name, value in parts.items()}}


def timed_encoding(encode_text, captions: list[str]) -> float:
    """Seconds for captions that the cache holds."""
    encode_text(captions)
    start = time.perf_counter()
    encode_text(captions)
    return time.perf_counter() - start


def named(objective) -> dict:
    """The losses by their names in metrics.jsonl."""
    halves = {"D": objective.of_discriminator, "G": objective.of_generator}
    return {f"{half}/{entry.name}": entry for half, entries in halves.items() for entry in entries}


def optional(objective) -> list[str]:
    """Every loss, except the first of each half that is due at every step."""
    always = [name for name, entry in named(objective).items() if entry.every == 1 and entry.after == 0]
    kept = {next(name for name in always if name.startswith(half)) for half in ("D/", "G/")}
    return [name for name in named(objective) if name not in kept]


def leave_out(objective, name: str):
    """The objective without one of its losses.

    Raises:
        UserError: there is no such loss, or its half would have none at some steps.
    """
    from t2igan.objective.objective import Objective

    losses = named(objective)
    if name not in losses:
        raise UserError(f"--without {name}: the recipe has no such loss; it has {', '.join(losses)}")
    left = {key: entry for key, entry in losses.items() if key != name}
    if not any(key.startswith(name[:2]) and entry.every == 1 and entry.after == 0 for key, entry in left.items()):
        raise UserError(f"--without {name}: {name[0]} would have no loss at some steps; choose another one")
    return Objective(*([entry for key, entry in left.items() if key.startswith(half)] for half in ("D/", "G/")))


class HalfTimer:
    """Seconds spent in D's half of a step: its losses, their backward passes and its optimizer, without G's passes."""

    def __init__(self, trainer, objectives: list):
        self.seconds, self.started = 0.0, None
        for objective in objectives:
            objective.discriminator = self.before(objective.discriminator, self.start)
        trainer.generate = self.before(trainer.generate, self.stop)
        step = trainer.d_optimizer.step

        def step_and_stop(*arguments):
            norm = step(*arguments)
            self.stop()
            return norm

        trainer.d_optimizer.step = step_and_stop

    def start(self) -> None:
        self.started = time.perf_counter()

    def stop(self) -> None:
        if self.started is not None:
            self.seconds, self.started = self.seconds + time.perf_counter() - self.started, None

    @staticmethod
    def before(function, action):
        """`function`, with `action` before each call."""

        def wrapped(*arguments):
            action()
            return function(*arguments)

        return wrapped


if __name__ == "__main__":
    run_script(main)
