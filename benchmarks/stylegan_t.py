"""StyleGAN-T's step on one thread, against the same networks with a kernel for every sample, alternating in one run.

    python -m benchmarks.stylegan_t

The other formulation is the usual one: styles scale and demodulate a copy of the kernel for each sample, a grouped convolution takes the
batch as channels, and maps lie in torch's default memory format. Weights are the same, and the images are compared first. D is a ViT-S at
224 px with random weights. G draws as a loaded model does, its layers folded.

Each formulation has a process of its own: ours asks for memory as the library does, the other one as PyTorch's users do who set nothing;
--allocator tuned gives it the library's way too.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from types import MethodType

from t2igan.errors import UserError, run_script

ROOT = Path(__file__).resolve().parent.parent
TOWER = "vit_small_patch16_224.dino"
ROWS = ("G forward", "step")
TOO_LONG = 10**9  # images, so that no schedule ends while the clock runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channel-base", type=int, default=4096)
    parser.add_argument("--channel-max", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=2, help="residual blocks of every stage (default: %(default)s)")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5, help="times each is timed (default: %(default)s)")
    parser.add_argument("--tower", default=TOWER, help="a vision transformer of timm (default: %(default)s)")
    parser.add_argument("--allocator", choices=("default", "tuned"), default="default", help="of the other one (default: %(default)s)")
    parser.add_argument("--serve", choices=("ours", "grouped"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.channel_base, arguments.channel_max, arguments.blocks, arguments.batch, arguments.rounds) < 1:
        raise UserError("--channel-base, --channel-max, --blocks, --batch and --rounds need whole numbers above 0")

    if arguments.serve:
        return serve(arguments.serve, arguments)

    from benchmarks.training import cpu_name
    from t2igan.files import write_json

    result = {"machine": cpu_name()} | compare(arguments)
    print(f"{arguments.resolution} px, batch {arguments.batch}, fp32, one thread of {result['machine']}")
    print(f"G {result['g']:,} parameters; the two generators' images differ by at most {result['difference']:.1e}")
    print(f"{'':12} {'ours, images/s':>15} {'grouped, images/s':>18} {'ratio':>7}")
    for name, row in result["rows"].items():
        print(f"{name:12} {row['ours']:15.2f} {row['grouped']:18.2f} {row['ratio']:6.2f}x")
    if arguments.out:
        write_json(arguments.out, result)


def recipe_of(arguments, shards: Path, tower: Path, width: int, depth: int) -> dict:
    layers = sorted({depth * (i + 1) // 4 - 1 for i in range(4)} - {-1})
    optimizer = {"lr": 0.002, "betas": [0.0, 0.99]}
    return {
        "name": "stylegan_t",
        "resolution": arguments.resolution,
        "data": {"shards": str(shards)},
        "text": {"kind": "open_clip", "model": "ViT-L-14-quickgelu", "pretrained": "openai", "token_dim": 768, "text_dim": 768},
        "generator": {
            "adapter": None,
            "style": {"kind": "stylegan_t"},
            "synthesis": {
                "kind": "stylegan_t",
                **{"channel_base": arguments.channel_base, "channel_max": arguments.channel_max, "blocks": arguments.blocks},
            },
        },
        "discriminator": {
            "adapter": None,
            "network": {"kind": "stylegan_t", "model": arguments.tower, "weights": str(tower), "layers": layers, "widths": [width]},
        },
        "augment": {"kind": "diffaugment", "cutout": 0.2},
        "objective": {"discriminator": [{"kind": "hinge"}], "generator": [{"kind": "hinge"}]},
        "training": {
            **{"total_images": TOO_LONG, "batch": arguments.batch, "precision": "fp32"},
            **{"generator_optimizer": optimizer, "discriminator_optimizer": optimizer},
        },
    }


def compare(arguments) -> dict:
    """Both in turn, round by round."""
    names = ("ours", "grouped")
    workers = {name: Worker(name, arguments) for name in names}
    seconds = {(row, name): [] for row in ROWS for name in names}
    for number in range(arguments.rounds + 1):
        for row, name in seconds:
            took = workers[name].ask(row)
            if number:  # the first round warms up
                seconds[row, name].append(took)
    rows = {}
    for row in ROWS:
        ours, grouped = seconds[row, "ours"], seconds[row, "grouped"]
        rates = {name: arguments.batch / statistics.median(seconds[row, name]) for name in names}
        rows[row] = rates | {"ratio": statistics.median(b / a for a, b in zip(ours, grouped, strict=True))}
    facts = {name: value for name, value in vars(arguments).items() if name not in ("out", "debug", "serve")}
    found = facts | {"rows": rows, "difference": workers["grouped"].difference, "g": workers["ours"].parameters}
    for worker in workers.values():
        worker.close()
    return found


class Worker:
    """A process with one of the formulations, which does what it is asked for and says how long it took."""

    def __init__(self, name: str, arguments):
        sizes = ("channel_base", "channel_max", "blocks", "resolution", "batch", "tower")
        options = [text for size in sizes for text in (f"--{size.replace('_', '-')}", str(getattr(arguments, size)))]
        plain = {"MALLOC_TRIM_THRESHOLD_": "131072"} if name == "grouped" and arguments.allocator == "default" else {}  # glibc's own value
        command = [sys.executable, "-m", "benchmarks.stylegan_t", "--serve", name, *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | plain
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.difference, self.parameters = json.loads(self.answer())

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise UserError("a process of the benchmark died; its message is above")
        return line

    def ask(self, row: str) -> float:
        self.process.stdin.write(f"{row}\n")
        self.process.stdin.flush()
        return float(self.answer())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(name: str, arguments) -> None:
    """Builds one formulation, then answers every line with the seconds that it took."""
    import timm
    import torch
    from safetensors.torch import save_file

    from benchmarks.gigagan_ours import our_run, write_noise
    from t2igan.config import Recipe
    from t2igan.layers.folded import fold
    from t2igan.memory import reuse_freed_memory
    from t2igan.recipe import parse

    reuse_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        network = timm.create_model(arguments.tower, pretrained=False, num_classes=0)
        tower = Path(folder) / "tower.safetensors"
        save_file(network.state_dict(), tower)
        shards = write_noise(Path(folder) / "shards")
        recipe = recipe_of(arguments, shards, tower, network.embed_dim, len(network.blocks))
        run = our_run(parse(Recipe, recipe, ""), Path(folder) / "run")
        trainer, batch = run.trainer, run.dataset[0]
    inputs, generator = trainer.prepare(batch, "D"), fold(deepcopy(trainer.generator))

    def draw(network):
        with torch.no_grad():
            return network(inputs.z, inputs.text).pyramid.finest

    difference = 0.0
    if name == "grouped":
        before = draw(generator)
        generator = trainer.generator
        into_groups(generator)
        difference = float((draw(generator) - before).abs().max())
    print(json.dumps([difference, sum(p.numel() for p in trainer.generator.parameters())]), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        draw(generator) if line.strip() == ROWS[0] else trainer.step(batch)
        print(time.perf_counter() - start, flush=True)


def into_groups(generator) -> None:
    """Gives every modulated convolution the other formulation, and every kernel torch's default memory format."""
    import torch

    from t2igan.layers.modulation import AdaptiveConv2d

    generator.to(memory_format=torch.contiguous_format)
    for module in generator.modules():
        if isinstance(module, AdaptiveConv2d):
            module.forward = MethodType(grouped_forward, module)


def grouped_forward(layer, x, style):
    """A modulated convolution with a kernel for every sample."""
    import torch
    import torch.nn.functional as F

    from t2igan.layers.blur import upsampling_conv

    if layer.output_gain != 1:
        raise ValueError("the reference knows no output_gain")
    (kernel,), (b, i, h, w) = layer.kernel_bank(), x.shape
    kernels = kernel[None] * layer.modulate(style)[:, None, :, None, None]
    if layer.demodulate:
        kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x, o, k = x.contiguous().reshape(1, b * i, h, w), kernels.shape[1], kernels.shape[3]
    if layer.conv is upsampling_conv:
        y = F.conv_transpose2d(x, kernels.transpose(1, 2).reshape(b * i, o, k, k), stride=2, groups=b)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        taps = 4 * torch.outer(taps, taps) / 64
        y = F.conv2d(F.pad(y, (1, 1, 1, 1)), taps.expand(b * o, 1, 4, 4), groups=b * o)
    else:
        y = F.conv2d(x, kernels.reshape(b * o, i, k, k), padding=k // 2, groups=b)
    y = y.reshape(b, o, *y.shape[2:])
    return y if layer.bias is None else y + layer.bias


if __name__ == "__main__":
    run_script(main)
