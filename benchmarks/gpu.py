"""The first minutes on a GPU: what fails first in a first run, found in at most eight minutes and told in one table.

    python benchmarks/gpu.py --out runs/gpu
    python benchmarks/gpu.py --rehearse --out runs/gpu     # the same code on a CPU, at tiny sizes

Nothing is downloaded: weights are random, images are noise. Each step is a process of its own: one that crashes or hangs fails alone. What
a step needs and does not find is named, and the step skipped. Exit code 1 where a step fails.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from t2igan.errors import UserError, run_script

ROOT = Path(__file__).resolve().parent.parent
STEPS = {  # seconds each may take
    "layers": ("every layer against a CPU in float64: forward, gradients, fp32, bf16", 90),
    "training": ("two steps of five systems against the CPU, in fp32 and in bf16", 120),
    "resume": ("train, kill, resume; sample in bf16 with both truncations", 120),
    "processes": ("a launch by torchrun (NCCL on a GPU) with two loader workers", 90),
    "small": ("gigagan_64_small at its micro-batch", 90),
    "base": ("gigagan_64 at 4 and 8 images", 120),
    "upsampler": ("gigagan_upsampler_64_512 at its micro-batch", 90),
    "prompt": ("descriptors to a 512 px image, 1 and 8 at a time", 60),
    "demo": ("the emoji demo's speed, from data/emoji_32 and runs/guide_32", 90),
    "peer": ("gigagan-pytorch beside it", 120),
}
MINUTES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, at tiny sizes")
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP", default=list(STEPS), help=f"of {', '.join(STEPS)}")
    parser.add_argument("--out", type=Path, help="folder for result.json and table.md")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if not arguments.rehearse:
        import torch

        if not torch.cuda.is_available():
            raise UserError("this machine has no GPU that torch can use; --rehearse runs the same steps on the CPU")
    end = time.monotonic() + 60 * MINUTES
    rows = [play(name, arguments.rehearse, end) for name in arguments.only]
    where = device_name(arguments.rehearse)
    print(table(rows, where))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "result.json").write_text(json.dumps({"device": where, "steps": rows}, indent=2) + "\n")
        (arguments.out / "table.md").write_text(table(rows, where) + "\n")
    if any(row["outcome"] == "FAIL" for row in rows):
        raise SystemExit(1)


def play(name: str, rehearse: bool, end: float) -> dict:
    """A step's row, from a process of its own; its traceback goes to stderr."""
    what, limit = STEPS[name]
    start = time.monotonic()
    left = end - start
    if left < 5:
        return {"step": name, "what": what, "outcome": "SKIP", "detail": f"the {MINUTES} minutes are over", "seconds": 0.0}
    command = [sys.executable, str(ROOT / "benchmarks/gpu_steps.py"), name, *(["--rehearse"] if rehearse else [])]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    if rehearse:
        environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        options = {"env": environment, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        process = subprocess.Popen([*command, "--folder", folder], **options)
        try:
            said, _ = process.communicate(timeout=min(limit, left))
            outcome, detail = read_outcome(said, process.returncode)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            outcome, detail = "FAIL", f"not done after {min(limit, left):.0f} s"
    row = {"step": name, "what": what, "outcome": outcome, "detail": detail, "seconds": round(time.monotonic() - start, 1)}
    print(f"{outcome} {name} ({row['seconds']} s): {detail}", file=sys.stderr, flush=True)
    return row


def read_outcome(said: str, code: int) -> tuple[str, str]:
    """The last line of a step, `["PASS", detail]` in JSON."""
    try:
        outcome, detail = json.loads(said.strip().splitlines()[-1])
        return outcome, detail
    except (IndexError, ValueError):
        return "FAIL", f"ended with code {code} and no result"


def device_name(rehearse: bool) -> str:
    if rehearse:
        return f"rehearsal on {os.cpu_count()} CPU cores"
    import torch

    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"


def table(rows: list[dict], where: str) -> str:
    lines = [f"{where}", "", "| step | outcome | seconds | what was found |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {r['what']} | {r['outcome']} | {r['seconds']} | {r['detail']} |" for r in rows)])


if __name__ == "__main__":
    run_script(main)
