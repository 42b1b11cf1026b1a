"""StyleGAN3's filtered nonlinearity against one that puts zeros between values, on one thread, alternating in one run.

    python -m benchmarks.alias_free

The other one is the formulation in which the paper's operations are usually written without a kernel of their own: zeros between the
values, padding, depthwise filters along rows and columns, the activation, filters at the full rate, every second value; maps in torch's
default memory format. Both forward and backward. The peak memory of each is that of a process of its own, beyond what it holds before.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from t2igan.errors import UserError, run_script

LAYERS = ("equal rates", "up by four", "at the resolution")
GIVEN = ("resolution", "channels", "batch", "precision")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--only", nargs="+", choices=LAYERS, default=list(LAYERS), help="layers to measure")
    parser.add_argument("--memory-of", nargs=2, metavar=("WHO", "LAYER"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.resolution // 16, arguments.channels, arguments.batch, arguments.rounds) < 1:
        raise UserError("--resolution needs 16 or more, --channels, --batch and --rounds whole numbers above 0")
    if arguments.memory_of:
        print(peak(*arguments.memory_of, arguments))
        return

    from benchmarks.training import cpu_name
    from t2igan.files import write_json

    rows = {name: compare(name, arguments) for name in arguments.only}
    sizes = f"{arguments.resolution} px, {arguments.channels} channels, batch {arguments.batch}"
    print(f"{sizes}, {arguments.precision}, one thread of {cpu_name()}")
    print(f"{'layer':20} {'ours, ms':>10} {'zeros, ms':>10} {'ratio':>7} {'ours, MiB':>10} {'zeros, MiB':>11} {'share':>7}")
    for name, row in rows.items():
        times = f"{row['ours_ms']:10.1f} {row['zeros_ms']:10.1f} {row['ratio']:6.1f}x"
        print(f"{name:20} {times} {row['ours_mib']:10.1f} {row['zeros_mib']:11.1f} {row['ours_mib'] / row['zeros_mib']:6.2f}x")
    if arguments.out:
        write_json(arguments.out, {"machine": cpu_name(), "rows": rows} | {key: getattr(arguments, key) for key in GIVEN})


def build(name: str, arguments):
    """(the layer, its input's side, its output's side) of StyleGAN3's table at this resolution."""
    from t2igan.synthesis.stylegan3 import StyleGAN3SynthesisConfig, layer_table

    config = StyleGAN3SynthesisConfig(channel_base=8 * arguments.resolution, channel_max=8)
    layers = list(config.build(arguments.resolution, 8, 0).layers)[:-1]
    four = next((i for i, layer in enumerate(layers) if layer.nonlinearity.up == 4), 1)
    number = {"equal rates": 1, "up by four": four, "at the resolution": len(layers) - 1}[name]
    table = layer_table(config, arguments.resolution)
    return layers[number].nonlinearity, table[max(number - 1, 0)].side + 2, table[number].side


def zeros_between(layer, x, side: int):
    """The other formulation."""
    import torch.nn.functional as F

    up, down, k, m = layer.up, layer.down, len(layer.up_taps), len(layer.down_taps)
    b, c, h, _ = x.shape
    z = F.pad(x.reshape(b, c, h, 1, h, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(b, c, h * up, h * up)
    total = (side - 1) * down + 1 - h * up + k + m - 2
    low = (total + up) // 2
    z = F.pad(z, (low, total - low, low, total - low))
    for taps, stop in ((layer.up_taps.to(x.dtype), False), (layer.down_taps.to(x.dtype) / 2**0.25, True)):
        if stop:
            z = (F.leaky_relu(z, 0.2) * 2**0.5).clamp(-256, 256)
        z = F.conv2d(z, taps.view(1, 1, 1, -1).expand(c, -1, -1, -1), groups=c)
        z = F.conv2d(z, taps.view(1, 1, -1, 1).expand(c, -1, -1, -1), groups=c)
    return z[:, :, ::down, ::down]


def work(who: str, name: str, arguments):
    """A forward and a backward pass, as a function."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer, before, after = build(name, arguments)
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    x, seed = (torch.randn(arguments.batch, arguments.channels, side, side).to(dtype) for side in (before, after))
    if who == "ours":
        x, seed = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, seed))
    x.requires_grad_(True)

    def run():
        y = layer(x) if who == "ours" else zeros_between(layer, x, after)
        x.grad = None
        y.backward(seed)
        return y.detach()

    return run


def compare(name: str, arguments) -> dict:
    import torch

    works = {who: work(who, name, arguments) for who in ("ours", "zeros")}
    made = {who: run() for who, run in works.items()}
    if not torch.allclose(made["ours"], made["zeros"], atol=1e-4 if arguments.precision == "fp32" else 0.1):
        raise UserError("the two formulations differ; their times mean nothing")
    seconds: dict[str, list[float]] = {who: [] for who in works}
    for _ in range(arguments.rounds):
        for who, run in works.items():
            start = time.perf_counter()
            run()
            seconds[who].append(time.perf_counter() - start)
    ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["zeros"], strict=True))
    found = {f"{who}_ms": 1000 * statistics.median(times) for who, times in seconds.items()} | {"ratio": ratio}
    sizes = [f"--{key}={getattr(arguments, key)}" for key in GIVEN]
    for who in works:
        command = [sys.executable, "-m", "benchmarks.alias_free", *sizes, "--memory-of", who, name]
        found[f"{who}_mib"] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def peak(who: str, name: str, arguments) -> float:
    """MiB that a forward and a backward pass need beyond what the process holds."""
    from t2igan.evaluation.speed import peak_resident_kib
    from t2igan.memory import hand_back_freed_memory

    run = work(who, name, arguments)
    hand_back_freed_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = peak_resident_kib()
    run()
    return (peak_resident_kib() - before) / 1024


if __name__ == "__main__":
    run_script(main)
