"""Training speed and memory of a recipe in this checkout beside another one, such as the commit before a change.

    git worktree add ../before COMMIT
    python benchmarks/checkouts.py ../before configs/emoji_32.yaml --steps 48 --rounds 5
    python benchmarks/checkouts.py ../before configs/emoji_32.yaml --set-there "training.images={images}" --set-here training.micro_batch=6

Each checkout trains its own file of that name with its own code: the two take turns, and every training is a launch of its own, with a
process per core as in `make demo`. The recipe's paths (data/, runs/) are relative to each checkout; links will do. A training before the
first round fills the cache of text features, a temporary one for each checkout.

Both get training.log_every, training.checkpoint_every and training.sample_every, so that nothing but training falls between two lines of
metrics.jsonl. Images per second are the median of a training's later lines, memory is the peak of its largest process, and the last line
printed has the medians over the rounds of the ratios of neighbours in time.

--set-here and --set-there are overrides, section.key=value, of one checkout's recipe. In their values {images} stands for the number of
images of all steps. An override with {images} sets the length of the training in place of training.total_images={images}: for a checkout
where that field has another name, as training.images before it was renamed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from t2igan.errors import UserError, run_script

HERE = Path(__file__).resolve().parent.parent
LINES = 6  # of metrics.jsonl in a training; the first third of them are warm-up
LENGTH = "training.total_images={images}"
BYTES_PER_MAXRSS = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Checkout:
    """A clone of the project, and what is measured in it."""

    name: str
    folder: Path
    recipe: str
    overrides: tuple[str, ...]
    cache: Path

    def command(self, processes: int, out: Path) -> list[str]:
        """The training, launched as the Makefile does."""
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        return [*launch, "-m", "t2igan", "train", self.recipe, *self.overrides, "--out", str(out)]

    def environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.folder), "T2IGAN_CACHE": str(self.cache), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return os.environ | own


@dataclass(frozen=True)
class Training:
    """What one training took."""

    images_per_second: float
    peak_gib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, metavar="OTHER_CHECKOUT")
    parser.add_argument("recipe", help="YAML file, relative to each checkout")
    parser.add_argument("--steps", type=int, default=48, help=f"of a training, {LINES} or more (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="trainings of each checkout (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="of a training (default: %(default)s)")
    parser.add_argument("--set-here", nargs="+", default=[], metavar="section.key=value", help="overrides in this checkout")
    parser.add_argument("--set-there", nargs="+", default=[], metavar="section.key=value", help="overrides in the other one")
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.processes) < 1 or arguments.steps < LINES:
        raise UserError(f"--rounds and --processes need whole numbers above 0, --steps {LINES} or more")
    with tempfile.TemporaryDirectory() as folder:
        chosen = (("here", HERE, arguments.set_here), ("there", arguments.other.resolve(), arguments.set_there))
        checkouts = []
        for name, root, given in chosen:
            overrides = recipe_overrides(root / arguments.recipe, arguments.steps, given)
            checkouts.append(Checkout(name, root, arguments.recipe, overrides, Path(folder) / f"cache_{name}"))
        for checkout in checkouts:
            train(checkout, arguments.processes, Path(folder) / f"{checkout.name}_warm_up")
        found: dict[str, list[Training]] = {checkout.name: [] for checkout in checkouts}
        for number in range(arguments.rounds):
            for checkout in checkouts if number % 2 == 0 else checkouts[::-1]:  # who comes first changes: neither gains from a drift
                found[checkout.name].append(train(checkout, arguments.processes, Path(folder) / f"{checkout.name}_{number}"))
            print(f"round {number + 1}: {beside(*(found[name][-1] for name in ('here', 'there')))}", flush=True)
    result = summary(found["here"], found["there"])
    print(table(result))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result | {"recipe": arguments.recipe, "steps": arguments.steps}, indent=2) + "\n")


def recipe_overrides(recipe: Path, steps: int, given: list[str]) -> tuple[str, ...]:
    """What a checkout's recipe is trained with. `given` comes last, and so has the last word."""
    import yaml

    if not recipe.is_file():
        raise UserError(f"no recipe at {recipe}; give a file that both checkouts have, such as configs/emoji_32.yaml")
    batches = [value for key, _, value in (override.partition("=") for override in given) if key == "training.batch"]
    images = steps * int(batches[-1] if batches else yaml.safe_load(recipe.read_text())["training"]["batch"])
    length = [] if any("{images}" in override for override in given) else [LENGTH]
    lines = [f"training.log_every={steps // LINES}", "training.checkpoint_every={images}", "training.sample_every={images}"]
    return tuple(override.replace("{images}", str(images)) for override in [*length, *lines, *given])


def train(checkout: Checkout, processes: int, out: Path) -> Training:
    """One training, from its launch to its end.

    Raises:
        UserError: it failed; the message is the checkout's own, where it has one.
    """
    log = out.with_suffix(".log")
    with log.open("w") as stream:
        command, environment = checkout.command(processes, out), checkout.environment()
        launched = subprocess.Popen(command, cwd=checkout.folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(launched.pid, 0)  # of the launcher and of the processes that it waited for: the largest of them
    launched.returncode = os.waitstatus_to_exitcode(status)
    if launched.returncode:
        lines = log.read_text().splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise UserError(f"{checkout.folder}: {errors[0] if errors else 'the training broke off: ' + ' / '.join(lines[-20:])}")
    return Training(later_speed((out / "metrics.jsonl").read_text()), usage.ru_maxrss * BYTES_PER_MAXRSS / 2**30)


def later_speed(metrics: str) -> float:
    """The median of `images_per_second`, without the first third of the lines.

    Raises:
        UserError: too few lines.
    """
    speeds = [json.loads(line)["images_per_second"] for line in metrics.splitlines()]
    if len(speeds) < 3:
        raise UserError(f"the training wrote {len(speeds)} lines of metrics.jsonl, 3 or more are needed; leave training.log_every alone")
    return statistics.median(speeds[-(-len(speeds) // 3) :])


def summary(here: list[Training], there: list[Training]) -> dict:
    """Medians over the rounds of each, and of the ratios of neighbours in time."""
    result = {}
    for figure in ("images_per_second", "peak_gib"):
        own, other = ([getattr(training, figure) for training in trainings] for trainings in (here, there))
        ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
        result[figure] = {"here": statistics.median(own), "there": statistics.median(other), "ratio": ratio}
    return result


def beside(here: Training, there: Training) -> str:
    ratio = here.images_per_second / there.images_per_second
    return f"here {here.images_per_second:.1f} images/s, there {there.images_per_second:.1f} images/s, {ratio:.2f}x"


def table(result: dict) -> str:
    speed, memory = result["images_per_second"], result["peak_gib"]
    lines = [f"{'':14} {'images/s':>9} {'peak GiB':>9}"]
    lines += [f"{name:14} {speed[name]:9.1f} {memory[name]:9.2f}" for name in ("here", "there")]
    return "\n".join([*lines, f"{'here / there':14} {speed['ratio']:8.2f}x {memory['ratio']:8.2f}x"])


if __name__ == "__main__":
    run_script(main)
