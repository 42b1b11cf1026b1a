"""The steps of benchmarks/gpu.py, each in a process of its own: `python gpu_steps.py STEP --folder FOLDER [--rehearse]`.

A step returns what it found, or raises: Skip where something is missing, anything else where it fails.
"""

import argparse
import contextlib
import copy
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the small random networks and recipes that the tests use

import shrink as shrinking  # noqa: E402
from tiny import (  # noqa: E402
    Kit,
    override,
    run_of,
    take_steps,
    tiny_recipe,
    tiny_upsampler,
    write_bert,
    write_clip,
    write_lpips,
    write_recipe,
)  # fmt: skip

from t2igan.config import Recipe  # noqa: E402
from t2igan.data.images import png_bytes, to_pil  # noqa: E402
from t2igan.data.write import Sample, write_shards  # noqa: E402
from t2igan.recipe import load_recipe, parse  # noqa: E402

GB = 1e9


class Skip(Exception):
    """Something that the step needs is not there."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a step runs, and a folder for what it writes."""

    rehearse: bool
    folder: Path

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.rehearse else "cuda")

    def kit(self) -> Kit:
        """Noise in shards, and random frozen networks."""
        if find_spec("open_clip") is None:
            raise Skip("open_clip_torch is not installed")
        rng = np.random.default_rng(0)
        images = [to_pil(torch.from_numpy(rng.uniform(-1, 1, (3, 16, 16)).astype(np.float32))) for _ in range(24)]
        samples = [Sample(f"{n:05d}", png_bytes(image), [f"thing {n // 3}", f"number {n}"]) for n, image in enumerate(images)]
        write_shards(samples, self.folder / "shards")
        frozen = write_bert(self.folder / "bert"), write_clip(self.folder / "clip")
        return Kit(self.folder / "shards", *frozen, *write_lpips(self.folder / "lpips"))

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


# ------------------------------------------------------------------------------------------------ layers


def layers(place: Place) -> str:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    worst = {False: (0.0, ""), True: (0.0, "")}
    for name, module, inputs in layer_cases():
        for parameter in module.parameters():  # none stays zero, as some begin
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        for bf16, bound in ((False, 2e-4), (True, 0.15)):
            error = deviation(module, inputs, place.device, bf16)
            assert error < bound, f"{name} in {'bf16' if bf16 else 'fp32'}: {error:.1e} of the CPU's float64"
            worst[bf16] = max(worst[bf16], (error, name))
    return "; ".join(f"{'bf16' if bf16 else 'fp32'} {error:.1e} ({name})" for bf16, (error, name) in worst.items())


class Function(nn.Module):
    """A function of maps as a module."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def layer_cases() -> Iterator[tuple[str, nn.Module, list[Tensor]]]:
    """(name, module, inputs) of every layer that a kernel computes."""
    from t2igan.layers.attention import Backend, CrossAttentionBlock, SelfAttentionBlock
    from t2igan.layers.blur import DownsamplingConv2d, UpsamplingAdaptiveConv2d
    from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear
    from t2igan.layers.fir import binomial, downsample_binomial, upsample_binomial
    from t2igan.layers.minibatch import MinibatchStd
    from t2igan.layers.modulation import AdaptiveConv2d, Strategy
    from t2igan.layers.resample import downsample, resize_bicubic, upsample
    from t2igan.layers.residual_grouped import GroupedResidualBlock

    torch.manual_seed(0)
    x, style, tokens, words = torch.randn(4, 16, 8, 8), torch.randn(4, 12), torch.randn(4, 64, 16), torch.randn(4, 7, 20)
    mask = torch.arange(7) < torch.tensor([7, 3, 1, 5])[:, None]
    for strategy in get_args(Strategy):
        kernels = 1 if strategy == "dense" else 3
        yield f"AdaptiveConv2d {strategy}", AdaptiveConv2d(16, 24, 12, 3, kernels, strategy=strategy), [x, style]
    for backend in get_args(Backend):
        if backend != "xformers" or find_spec("xformers"):
            yield f"self-attention {backend}", SelfAttentionBlock(16, 8, 0.3, backend), [tokens]
            yield f"cross-attention {backend}", CrossAttentionBlock(16, 20, 8, 0.3, backend), [tokens, words, mask]
    yield "EqualizedConv2d", EqualizedConv2d(16, 8), [x]
    yield "DownsamplingConv2d", DownsamplingConv2d(16, 8), [x]
    yield "UpsamplingAdaptiveConv2d", UpsamplingAdaptiveConv2d(16, 8, 12, 3, 1), [x, style]
    yield "binomial", Function(partial(binomial, length=3, padding=1)), [x]
    yield "EqualizedLinear", EqualizedLinear(12, 8), [style]
    yield "MinibatchStd", MinibatchStd(2), [x]
    yield "GroupedResidualBlock", GroupedResidualBlock(16, 4, 4), [x]
    for function in (upsample, downsample, upsample_binomial, downsample_binomial):
        yield function.__name__, Function(function), [x]
    yield "resize_bicubic", Function(partial(resize_bicubic, side=24)), [torch.randn(2, 3, 8, 8)]


def deviation(module: nn.Module, inputs: list[Tensor], device: torch.device, bf16: bool) -> float:
    """Greatest relative error of the output and of all gradients against float64 on the CPU."""
    exact = outputs_and_gradients(module, inputs, torch.device("cpu"), torch.float64, False)
    found = exact, outputs_and_gradients(module, inputs, device, torch.float32, bf16)
    return max(float((a.cpu().double() - b).norm() / b.norm().clamp(min=1e-12)) for b, a in zip(*found, strict=True) if b.any())


def outputs_and_gradients(module: nn.Module, inputs: list[Tensor], device: torch.device, dtype: torch.dtype, bf16: bool) -> list[Tensor]:
    module = copy.deepcopy(module).to(device, dtype)
    given = [x.to(device, dtype).requires_grad_() if x.is_floating_point() else x.to(device) for x in inputs]
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        out = module(*given)
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    leaves = [x for x in [*given, *module.parameters()] if x.requires_grad]
    return [out.detach(), *torch.autograd.grad(out, leaves, cotangent)]


# ------------------------------------------------------------------------------------------------ training


def training(place: Place) -> str:
    """Losses of two steps: on the CPU, on the device in fp32, and there in bf16."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    found = []
    for name, recipe in systems(place.kit()).items():
        expected = losses(place, recipe, on_cpu=True)
        for precision, bound in (("fp32", 0.02), ("bf16", 0.3)):
            got = losses(place, dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, precision=precision)))
            assert np.isfinite(got).all(), f"{name} in {precision}: a loss is not finite"
            error = float(np.abs(got - expected).max() / np.abs(expected).max())
            assert error < bound, f"{name} in {precision}: losses differ by {error:.1e} from the CPU's"
            found.append(f"{name} {precision} {error:.0e}")
    return ", ".join(found)


def systems(kit: Kit) -> dict[str, Recipe]:
    base = tiny_recipe(kit)
    recompute = {f"{part}__activation_checkpointing": True for part in ("generator__synthesis", "discriminator__network")}
    finite = tiny_upsampler(kit)
    finite["objective"]["discriminator"][2] |= {"kind": "r1_finite"}
    network = base["discriminator"]["network"]
    tower = {"model": f"local-dir:{kit.clip}", "width": shrinking.TOWER_WIDTH, "layers": [0, 1], "channels": 8}
    aided = {"kind": "vision_aided", "network": network, **tower}
    recipes = {
        "every term": base,
        "micro-batches": override(base, training__micro_batch=4, **recompute),
        "vision-aided": override(base, discriminator__network=aided),
        "upsampler": finite,
    }
    parsed = {name: parse(Recipe, recipe, "") for name, recipe in recipes.items()}
    return parsed | {"R3GAN": shrinking.shrink(load_recipe(ROOT / "configs/emoji_r3gan_32.yaml"), kit)}


def losses(place: Place, recipe: Recipe, on_cpu: bool = False) -> np.ndarray:
    """[2 steps, losses] on the device, or on the CPU."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    with patch("torch.cuda.is_available", return_value=False) if on_cpu else contextlib.nullcontext():
        run = run_of(recipe, place.folder / "unused")
        run.begin()
        steps = take_steps(run, 2)
    names = sorted(name for name in steps[0] if name[:2] in ("D/", "G/") and "gradient" not in name)
    return np.array([[float(step.get(name, 0.0)) for name in names] for step in steps])


# ------------------------------------------------------------------------------------------------ whole runs


def environment(place: Place) -> dict[str, str]:
    return os.environ | {"T2IGAN_CACHE": str(place.folder / "cache"), "TOKENIZERS_PARALLELISM": "false"}


def call(place: Place, *words: object, launch: tuple[str, ...] = ()) -> str:
    command = [sys.executable, *launch, "-m", "t2igan", *map(str, words)]
    done = subprocess.run(command, env=environment(place), cwd=place.folder, capture_output=True, text=True)
    assert done.returncode == 0, f"t2igan {words[0]} ended with {done.returncode}: {last_line(done.stderr)}"
    return done.stdout


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word"])[-1][:300]


def resume(place: Place) -> str:
    changes = {"training__total_images": 96, "training__checkpoint_every": 16, "training__precision": "fp32" if place.rehearse else "bf16"}
    changes["training__deterministic"] = True
    recipe = write_recipe(place.folder / "tiny.yaml", override(tiny_recipe(place.kit()), **changes))
    command = [sys.executable, "-m", "t2igan", "train", str(recipe), "--out", str(place.folder / "run")]
    process = subprocess.Popen(command, env=environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(place.folder.glob("run/checkpoints/0*/state.json")):
        assert process.poll() is None, f"training ended before its first checkpoint: {last_line(process.stderr.read())}"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (place.folder / "run/model").exists(), "it was over before it could be killed"
    call(place, "train", recipe, "--out", "run", "--resume")
    call(place, "train", recipe, "--out", "whole")
    same = len({(place.folder / run / "model/model.safetensors").read_bytes() for run in ("run", "whole")}) == 1
    sample = ["sample", "run", "thing 1", "thing 2", "--seeds", "0-3", "--bf16", "--out"]
    call(place, *sample, "x.png", "--truncation", "0.7", "--global-truncation", "0.7")
    record = json.loads((place.folder / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert record["images"] == 96 and record["skipped_steps"] == 0
    bits = "the bits" if same else "NOT the bits"
    return f"killed after its first checkpoint, resumed to {record['images']} images: {bits} of a run without a kill; sampled in bf16"


def processes(place: Place) -> str:
    changes = {"training__total_images": 48, "data__workers": 2, "training__precision": "fp32"}
    recipe = write_recipe(place.folder / "tiny.yaml", override(tiny_recipe(place.kit()), **changes))
    number = 2 if place.rehearse else torch.cuda.device_count()
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number))
    said = call(place, "train", recipe, "--out", "run", launch=launch)
    assert f"{number} process(es) on {place.device.type}" in said, said
    return f"{number} process(es), {'gloo' if place.rehearse else 'NCCL'}"


# ------------------------------------------------------------------------------------------------ the large recipes


def small(place: Place) -> str:
    return large(place, "gigagan_64_small", (32,))


def base(place: Place) -> str:
    return large(place, "gigagan_64", (4, 8))


def upsampler(place: Place) -> str:
    return large(place, "emoji_upsampler_64_256" if place.rehearse else "gigagan_upsampler_64_512", (4,))


def large(place: Place, name: str, sizes: tuple[int, ...]) -> str:
    from gpu_large import throughput

    if find_spec("open_clip") is None:
        raise Skip("open_clip_torch is not installed")
    recipe = load_recipe(ROOT / f"configs/{name}.yaml")
    if place.rehearse:
        recipe, sizes = shrinking.shrink(recipe, place.kit()), (2,)
    return "; ".join(throughput(place.device, recipe, size, weights=place.rehearse) for size in sizes)


def prompt(place: Place) -> str:
    """Milliseconds from text descriptors to a 512 px image, by the base and the upsampler, in bf16."""
    from gpu_large import random_text

    from t2igan.layers.folded import fold
    from t2igan.system import build_system

    recipes = [load_recipe(ROOT / f"configs/{name}.yaml") for name in ("gigagan_64", "gigagan_upsampler_64_512")]
    if place.rehearse:
        kit = place.kit()
        recipes = [shrinking.shrink(recipe, kit) for recipe in recipes]
    built = [build_system(recipe) for recipe in recipes]
    generators = [fold(system.generator.to(place.device).eval()) for system in built]
    found = []
    for n in (1, 2) if place.rehearse else (1, 8):
        texts = [random_text(system, ["a"] * n).to(place.device) for system in built]
        latents = [torch.randn(n, generator.mapper.z_dim, device=place.device) for generator in generators]

        def draw(texts=texts, latents=latents) -> Tensor:
            image = generators[0](latents[0], texts[0]).pyramid.finest
            return generators[1](latents[1], texts[1], condition=image).pyramid.finest

        took = []
        with torch.inference_mode(), torch.autocast(place.device.type, torch.bfloat16, enabled=not place.rehearse):
            for _ in range(2 if place.rehearse else 8):
                place.wait()
                start = time.perf_counter()
                image = draw()
                place.wait()
                took.append(time.perf_counter() - start)
        assert image.shape == (n, 3, 512, 512) and bool(image.isfinite().all())
        found.append(f"{n} in {1e3 * statistics.median(took[1:]):.0f} ms")
    return ", ".join(found)


# ------------------------------------------------------------------------------------------------ the demo, and the peer


def demo(place: Place) -> str:
    """The demo's speed over a few hundred steps, and how long the whole takes."""
    if not (ROOT / "data/emoji_32/train").is_dir() or not (ROOT / "runs/guide_32").is_dir():
        raise Skip("data/emoji_32 or runs/guide_32 is not there: make them by `make demo`, and carry them")
    steps = 2 if place.rehearse else 300
    length = [f"training.{name}={24 * steps}" for name in ("total_images", "checkpoint_every", "sample_every")]
    paths = [f"data.shards={ROOT / 'data/emoji_32/train'}", f"training.cluster_features=local-dir:{ROOT / 'runs/guide_32'}"]
    paths.append(f"objective.generator.1.model=local-dir:{ROOT / 'runs/guide_32'}")
    quick = ["training.prompts=[]", "training.log_every=2"]
    call(place, "train", ROOT / "configs/emoji_32.yaml", *length, *paths, *quick, "--out", "demo")
    records = [json.loads(line) for line in (place.folder / "demo/metrics.jsonl").read_text().splitlines()]
    speed = statistics.median(record["images_per_second"] for record in records)
    return f"{speed:.0f} images/s: its 118,000 images take {118_000 / speed / 60:.0f} minutes"


def peer(place: Place) -> str:
    if place.rehearse:
        raise Skip("minutes on a CPU: benchmarks/gigagan.py")
    if find_spec("gigagan_pytorch") is None:
        raise Skip("gigagan-pytorch is not installed")
    command = [sys.executable, ROOT / "benchmarks/gigagan.py", "--size", "small", "--only", "step", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, last_line(done.stderr)
    return last_line(done.stdout)


STEPS = {step.__name__: step for step in (layers, training, resume, processes, small, base, upsampler, prompt, demo, peer)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--folder", type=Path, required=True, help="for what the step writes")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at tiny sizes")
    arguments = parser.parse_args()
    try:
        outcome = "PASS", STEPS[arguments.step](Place(arguments.rehearse, arguments.folder))
    except Skip as why:
        outcome = "SKIP", str(why)
    except Exception as error:
        traceback.print_exc()
        outcome = "FAIL", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
