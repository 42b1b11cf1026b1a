"""A recipe's networks on one thread: images per second, GFLOPs per image, and the share of the machine's best convolution.

    python -m benchmarks.systems configs/stylegan2_256.yaml --batch 8 resolution=64 \\
        generator.synthesis.channels=[256,256,256,128,64] discriminator.network.channels=[256,256,256,128,64]

G draws as a loaded model does, its layers folded. D's rows are its half of a step, backward passes included, without and with the penalties
that are not due at every step. A step is one update of D and of G with every loss of each, the mean over a period of the lazy ones. Text
descriptors are random; images are noise. The rounds of all rows alternate in one run; figures are medians.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from copy import deepcopy
from pathlib import Path

from t2igan.errors import UserError, run_script

TOO_LONG = 10**9  # images, so that no schedule ends while the clock runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5, help="times each is timed (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_intermixed_args()
    if min(arguments.batch, arguments.rounds) < 1:
        raise UserError("--batch and --rounds need whole numbers above 0")

    from benchmarks.training import cpu_name
    from t2igan.files import write_json

    result = {"machine": cpu_name()} | measure(
        arguments.recipe, arguments.overrides, arguments.batch, arguments.precision, arguments.rounds
    )
    print(f"{result['recipe']}, batch {arguments.batch}, {arguments.precision}, one thread of {result['machine']}")
    print(f"{'':24} {'images/s':>10} {'GFLOP/image':>12} {'of ceiling':>11}")
    for name, row in result["rows"].items():
        print(f"{name:24} {row['images_per_second']:10.2f} {row['gflop_per_image']:12.2f} {row['of_ceiling']:11.0%}")
    print(f"ceiling: a 3x3 convolution at {result['ceiling_gflops']:.0f} GFLOP/s; G {result['g']:,} and D {result['d']:,} parameters")
    if arguments.out:
        write_json(arguments.out, result)


def measure(path: str, overrides: list[str], batch: int, precision: str, rounds: int) -> dict:
    """The rows by name, and the facts that they depend on."""
    import torch

    from benchmarks.gigagan_clock import ceiling, counted
    from benchmarks.gigagan_ours import our_run, write_noise
    from t2igan.recipe import load_recipe
    from t2igan.system import num_clusters
    from t2igan.training.clusters import Clusters

    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        shards = write_noise(Path(folder) / "shards")
        own = [f"data.shards={json.dumps(str(shards))}", f"training.batch={batch}", "training.micro_batch=null", "data.workers=0"]
        own += [f"training.total_images={TOO_LONG}", f"training.precision={precision}"]
        recipe = load_recipe(path, [*overrides, *own])
        run = our_run(recipe, Path(folder) / "run")
        if num_clusters(recipe):  # noise has none
            run.trainer.clusters = Clusters((0,) * len(run.dataset.shards), frozenset())
        works = Works(run.trainer, run.dataset[0])
        rows, peak = works.rows(), ceiling(precision)
        seconds: dict[str, list[float]] = {name: [] for name in rows}
        for number in range(rounds + 1):
            for name, (work, _) in rows.items():
                start = time.perf_counter()
                work()
                if number:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
        found = {}
        for name, (work, images) in rows.items():
            took, gflop = statistics.median(seconds[name]), counted(lambda _, work=work: work(), None)
            found[name] = {"images_per_second": images / took, "gflop_per_image": gflop / images, "of_ceiling": gflop / took / peak}
    sizes = [sum(p.numel() for p in module.parameters()) for module in (run.trainer.generator, run.trainer.discriminator)]
    facts = {"recipe": path, "overrides": overrides, "batch": batch, "precision": precision, "rounds": rounds}
    return facts | {"rows": found, "ceiling_gflops": peak, "g": sizes[0], "d": sizes[1]}


class Works:
    """What is timed of one trainer, on one batch of it."""

    def __init__(self, trainer, batch):
        import torch

        from t2igan.layers.folded import fold
        from t2igan.pyramid import build_pyramid
        from t2igan.types import Fake

        self.trainer, self.batch = trainer, batch
        self.micro_batch = trainer.prepare(batch, "D")
        self.fake = Fake(build_pyramid(self.micro_batch.images, trainer.critic.levels), self.micro_batch.z[:, None])
        self.generator = fold(deepcopy(trainer.generator))
        self.period = math.lcm(
            *(entry.every for half in (trainer.objective.of_discriminator, trainer.objective.of_generator) for entry in half)
        )
        self.no_grad = torch.no_grad

    def rows(self) -> dict:
        """(what to do, of how many images) by name."""
        count = len(self.micro_batch)
        found = {"G forward": (self.draw, count), "D": (lambda: self.judge(1), count)}
        if self.period > 1:
            found["D with lazy penalties"] = (lambda: self.judge(0), count)
        return found | {"step": (self.steps, count * self.period)}

    def draw(self) -> None:
        with self.no_grad(), self.trainer.autocast():
            self.generator(self.micro_batch.z, self.micro_batch.text, condition=self.micro_batch.condition)

    def judge(self, number: int) -> None:
        """D's half of the step of this number, on given images for the generated ones, without its optimizer."""
        from t2igan.types import TrainingTime

        with self.trainer.autocast():
            losses = self.trainer.objective.discriminator(self.trainer.critic, self.micro_batch, self.fake, TrainingTime(0, number))
        losses.total.backward()
        self.trainer.discriminator.zero_grad()

    def steps(self) -> None:
        for number in range(self.period):
            self.trainer.images, self.trainer.steps = number * len(self.batch), number
            self.trainer.step(self.batch)


if __name__ == "__main__":
    run_script(main)
