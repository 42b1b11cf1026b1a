"""Ours against PyPI's gigagan-pytorch at matched widths, on one thread, alternating in one run: medians of ratios.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/gigagan.py --size small

Both get the same text descriptors, precomputed (the peer's CLIP is a stub that returns them), images of the same size and the same
batch. Widths per resolution, resolutions with attention, banks of two kernels and text layers are equal, and by the number of blocks the
parameters, to a tenth (of the U-Nets ours has a quarter less). What differs shows in the table's FLOPs: the peer's attention is 8 x 64 wide
whatever the map's width, its predictors are 3x3 convolutions where the paper has 1x1, and its matching loss, two more passes of D, does not
depend on the text. Ours generates as a loaded model does, its layers folded. A step is one update of D and of G with every loss of each,
exact gradient penalty in every fourth one, the mean over four. In ours one pass of G serves both halves of a step (training.reuse_fakes);
--fresh-fakes adds the step of the papers and of the peer, where G's half takes a pass of its own with new latents. With the default
allocator, or with the same variables for both.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from t2igan.errors import UserError, run_script

ROOT = Path(__file__).resolve().parent.parent
SIZES = ("small", "base")
PENALTY_EVERY = 4
TUNED = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "20000000000", "MALLOC_TOP_PAD_": "268435456"}
ALONE = ("G forward without attention",)  # measured for ours only, against the machine's ceiling
SLOW = ("step",)  # timed fewer times: a peer's step takes most of a minute
FRESH = "step with fresh fakes"
WORK = {
    "G forward": lambda system: system.g_forward(),
    "G forward without attention": lambda system: system.g_convolutional(),
    "D forward and backward": lambda system: system.d_backward(penalty=False),
    "D with exact penalty": lambda system: system.d_backward(penalty=True),
    "upsampler forward": lambda system: system.upsample(),
    "step": lambda system: [system.step(number) for number in range(PENALTY_EVERY)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="times each is timed (steps: a third of it)")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--only", nargs="+", choices=sorted(WORK), default=list(WORK), help="parts to measure")
    parser.add_argument("--fresh-fakes", action="store_true", help="also the step in which G's half generates images of its own")
    parser.add_argument(
        "--allocators", nargs="+", choices=("default", "tuned"), default=["default"], help="tuned: with its variables, for both"
    )
    parser.add_argument("--memory", action="store_true", help="also the peak memory of a step, each in a process of its own")
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.batch, arguments.rounds) < 1:
        raise UserError("--batch and --rounds need whole numbers above 0")
    result, gflop = {"size": arguments.size, "batch": arguments.batch, "machine": cpu_name(), "runs": []}, {}
    for allocator in arguments.allocators:
        for precision in arguments.precisions:
            job = {"what": "speed", "size": arguments.size, "batch": arguments.batch, "rounds": arguments.rounds}
            job |= {"precision": precision, "only": arguments.only, "reuse_fakes": True, "gflop": gflop}
            rows = spawn(job, allocator)
            if arguments.fresh_fakes:
                fresh = {"only": ["step"], "reuse_fakes": False, "gflop": {"step": gflop.get(FRESH, {})}}
                rows += [row | {"work": FRESH} for row in spawn(job | fresh, allocator)]
            gflop = {row["work"]: {who: row[who]["gflop"] for who in ("ours", "peer") if who in row} for row in rows}
            result["runs"].append({"allocator": allocator, "precision": precision, "rows": rows})
            print(table(result["runs"][-1], result), flush=True)
    if arguments.memory:
        job = {"what": "memory", "size": arguments.size, "batch": arguments.batch, "precision": "fp32", "reuse_fakes": True}
        peaks = {who: spawn(job | {"who": who}, "default") for who in ("ours", "peer")}
        if arguments.fresh_fakes:
            peaks["ours with fresh fakes"] = spawn(job | {"who": "ours", "reuse_fakes": False}, "default")
        result["peak_gib_of_a_step"] = peaks
        print(
            f"peak memory of a step, fp32: {', '.join(f'{who} {peak:.2f} GiB' for who, peak in peaks.items())}, "
            f"ours / peer {peaks['ours'] / peaks['peer']:.2f}x"
        )
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def spawn(job: dict, allocator: str):
    """The result of gigagan_clock.py in a process of its own, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | (TUNED if allocator == "tuned" else {})
    command = [sys.executable, "-m", "benchmarks.gigagan_clock", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise UserError(errors[0].removeprefix("error: ") if errors else f"the measurement broke off:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def figures(row: dict, who: str) -> tuple[str, str, str, str]:
    """Images/s, GFLOPs per image, share of the ceiling, millions of parameters."""
    part, images = row[who], row["images"]
    rate, gflop = images / part["seconds"], part["gflop"] / images
    return f"{rate:.2f}", f"{gflop:.2f}", f"{part['of_ceiling']:.0%}", f"{part['parameters'] / 1e6:.1f}"


def table(run: dict, result: dict) -> str:
    lines = [
        f"{result['size']}, batch {result['batch']}, {run['precision']}, {run['allocator']} allocator, one thread of {result['machine']}"
    ]
    lines.append(
        f"{'':24} {'peer / ours':>11} {'ours img/s':>11} {'peer img/s':>11} {'GF/img':>16} {'of ceiling':>13} {'parameters, M':>16}"
    )
    for row in run["rows"]:
        cells = {who: figures(row, who) if who in row else ("", "", "", "") for who in ("ours", "peer")}
        pairs = [f"{cells['ours'][i]:>9} {cells['peer'][i]:>9}" for i in range(4)]
        ratio = f"{row['ratio']:.2f}x" if "ratio" in row else ""
        lines.append(f"{row['work']:28} {ratio:>11} {'  '.join(pairs)}")
    lines.append(f"ceiling: a 3x3 convolution at {run['rows'][0]['ceiling_gflops']:.0f} GFLOP/s")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
