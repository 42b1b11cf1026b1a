"""StyleGAN-T's step on one thread, against the same networks with a kernel for every sample, alternating in one run.

    python -m benchmarks.stylegan_t

The other formulation is the usual one: styles scale and demodulate a copy of the kernel for each sample, a grouped convolution takes the
batch as channels, maps lie in torch's default memory format, and the filter after an upsampling is a depthwise convolution. Weights are the
same, and the images are compared first. D is a ViT-S at 224 px with random weights. G draws as a loaded model does, its layers folded.
"""

import argparse
import statistics
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from types import MethodType

from t2igan.errors import UserError, run_script

TOWER = "vit_small_patch16_224.dino"
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
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.channel_base, arguments.channel_max, arguments.blocks, arguments.batch, arguments.rounds) < 1:
        raise UserError("--channel-base, --channel-max, --blocks, --batch and --rounds need whole numbers above 0")

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
    import timm
    import torch
    from safetensors.torch import save_file

    from benchmarks.gigagan_ours import our_run, write_noise
    from t2igan.config import Recipe
    from t2igan.layers.folded import fold
    from t2igan.recipe import parse

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        network = timm.create_model(arguments.tower, pretrained=False, num_classes=0)
        tower = Path(folder) / "tower.safetensors"
        save_file(network.state_dict(), tower)
        shards = write_noise(Path(folder) / "shards")
        recipe = recipe_of(arguments, shards, tower, network.embed_dim, len(network.blocks))
        trainers = {}
        for name in ("ours", "grouped"):
            torch.manual_seed(0)
            run = our_run(parse(Recipe, recipe, ""), Path(folder) / name)
            trainers[name] = run.trainer
        batch = run.dataset[0]
    into_groups(trainers["grouped"].generator)
    inputs = trainers["ours"].prepare(batch, "D")
    drawers = {"ours": fold(deepcopy(trainers["ours"].generator)), "grouped": trainers["grouped"].generator}

    def draw(name: str):
        with torch.no_grad():
            return drawers[name](inputs.z, inputs.text).pyramid.finest

    difference = float((draw("ours") - draw("grouped")).abs().max())
    seconds = {(row, name): [] for row in ("G forward", "step") for name in trainers}
    for number in range(arguments.rounds + 1):
        for row, name in seconds:
            start = time.perf_counter()
            draw(name) if row == "G forward" else trainers[name].step(batch)
            if number:  # the first round warms up
                seconds[row, name].append(time.perf_counter() - start)
    rows = {}
    for row in ("G forward", "step"):
        ours, grouped = seconds[row, "ours"], seconds[row, "grouped"]
        rates = {name: arguments.batch / statistics.median(seconds[row, name]) for name in trainers}
        rows[row] = rates | {"ratio": statistics.median(b / a for a, b in zip(ours, grouped, strict=True))}
    facts = {name: value for name, value in vars(arguments).items() if name not in ("out", "debug")}
    parameters = sum(p.numel() for p in trainers["ours"].generator.parameters())
    return facts | {"rows": rows, "difference": difference, "g": parameters}


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
