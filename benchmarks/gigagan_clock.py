"""What benchmarks/gigagan.py measures, in a process of its own: `python -m benchmarks.gigagan_clock JOB`, where JOB is a JSON object.

The allocator reads its variables once, when a process starts, and the memory of the first system must not count as the second one's.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.gigagan import ALONE, PENALTY_EVERY, SLOW, WORK
from benchmarks.gigagan_ours import Ours
from t2igan.errors import UserError
from t2igan.evaluation.speed import peak_resident_kib
from t2igan.memory import hand_back_freed_memory


def measure(job: dict):
    """Rows of `compare`, or the GiB that a step of one system needs besides the system itself."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the peer makes folders in the current one
        if job["what"] == "memory":
            system = build(job["who"], job)
            hand_back_freed_memory()
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
            before = peak_resident_kib()
            for number in (0, 1):
                system.step(number)
            return (peak_resident_kib() - before) / 2**20
        return compare({who: build(who, job) for who in ("ours", "peer")}, job)


def build(who: str, job: dict):
    if who == "ours":
        return Ours(job["size"], job["batch"], job["precision"], job["reuse_fakes"])
    from benchmarks.gigagan_peer import Peer

    return Peer(job["size"], job["batch"], job["precision"])


def compare(systems: dict, job: dict) -> list[dict]:
    """A row per kind of work: seconds of each, the median of the ratios of neighbours in time, FLOPs, share of the ceiling."""
    peak, rows = ceiling(job["precision"]), []
    for name in job["only"]:
        known = job["gflop"].get(name, {})  # from an earlier run, which had another precision or allocator
        work, rounds = WORK[name], max(1, job["rounds"] // 3) if name in SLOW else job["rounds"]
        compared = {who: system for who, system in systems.items() if who == "ours" or name not in ALONE}
        seconds = {who: [] for who in compared}
        for number in range(rounds + 1):
            for who, system in compared.items():
                start = time.perf_counter()
                work(system)
                if number or name in SLOW:  # the first one warms up, unless it takes too long
                    seconds[who].append(time.perf_counter() - start)
        row = {"work": name, "images": job["batch"] * (PENALTY_EVERY if name == "step" else 1), "ceiling_gflops": peak}
        if name not in ALONE:
            row["ratio"] = statistics.median(peer / ours for ours, peer in zip(seconds["ours"], seconds["peer"], strict=True))
        for who, system in compared.items():
            took, gflop = statistics.median(seconds[who]), known.get(who) or counted(work, system)
            row[who] = {"seconds": took, "gflop": gflop, "of_ceiling": gflop / took / peak, "parameters": system.size(name)}
        rows.append(row)
    return rows


def ceiling(precision: str) -> float:
    """GFLOP/s of the best 3x3 convolution, channels last."""
    dtype, best = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], 0.0
    for channels, side, batch in ((256, 64, 4), (128, 64, 8), (512, 16, 8)):
        x = torch.randn(batch, channels, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(5):
            start = time.perf_counter()
            F.conv2d(x, w, padding=1)
            best = max(best, 2 * 9 * channels**2 * side**2 * batch / (time.perf_counter() - start) / 1e9)
    return best


def counted(work, system) -> float:
    """GFLOPs. torch's own counter follows modules too, which the peer's beartype-wrapped ones break."""

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            formula = flop_registry.get(function._overloadpacket)
            self.total += 0 if formula is None else formula(*args, **(kwargs or {}), out_val=out)
            return out

    with sdpa_kernel(SDPBackend.MATH), Counter() as counter:  # not every fused attention has a formula
        work(system)
    return counter.total / 1e9


if __name__ == "__main__":
    try:
        print("RESULT " + json.dumps(measure(json.loads(sys.argv[1]))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
