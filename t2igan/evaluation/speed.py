"""Models to seconds, FLOPs and memory per image, by batch size, with and without the text encoder.

All models are timed alternately in one process; a figure is the median of the rounds. Speed depends on sizes, not on weights, so
random weights serve. Float32 is float32: TF32 is off.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from t2igan.inference.pipeline import Pipeline, model_folder, read_config
from t2igan.layers.folded import fold
from t2igan.memory import hand_back_freed_memory
from t2igan.recipe import load_recipe
from t2igan.synthesis.generator import Generator
from t2igan.system import build_generator
from t2igan.text.encoder import TextEncoder
from t2igan.types import TextDims

PROMPT = "a red apple on a wooden table"


@dataclass(frozen=True)
class TimedModel:
    """Something that generates images."""

    name: str
    resolution: int  # px; 0 where it is unknown
    parameters: int  # of all networks that take part
    weights_gib: float  # of their parameters and buffers
    generate: Callable[[int], object]  # generates a batch of this size


@dataclass(frozen=True)
class Row:
    """Figures of one model at one batch size; all but memory are per image."""

    system: str
    resolution: int
    batch: int
    seconds: float
    gflops: float
    memory_gib: float | None  # weights, and the most that a call needs besides them
    parameters: int


def measure_speed(models: Sequence[TimedModel], batches: Sequence[int], rounds: int, device: torch.device, bf16: bool = False) -> dict:
    """`{"device", "precision", "rows"}`, a row per batch size and model; each is timed `rounds` times, after one to warm up."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    rows, times = [], {}
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for batch in batches:
            for round in range(rounds + 1):
                for place, model in enumerate(models):
                    seconds = timed(partial(model.generate, batch), device)
                    if round:  # the first one warms up
                        times.setdefault((place, batch), []).append(seconds)
            for place, model in enumerate(models):
                seconds = statistics.median(times[place, batch]) / batch
                gflops, extra = count_gflops(model, batch) / batch, memory_of_call(model, batch, device)
                memory = None if extra is None else model.weights_gib + extra
                rows.append(Row(model.name, model.resolution, batch, seconds, gflops, memory, model.parameters))
    threads = torch.get_num_threads()
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {threads} thread{'s' * (threads > 1)}"
    return {"device": where, "precision": "bf16" if bf16 else "fp32", "rows": [asdict(row) for row in rows]}


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def count_gflops(model: TimedModel, batch: int) -> float:
    """GFLOPs of one call, two per multiply-add."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the counter does not know every fused attention
        model.generate(batch)
    return counter.get_total_flops() / 1e9


def memory_of_call(model: TimedModel, batch: int, device: torch.device) -> float | None:
    """The most GiB that a call holds besides what was there before it; None where the operating system does not report it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        model.generate(batch)
        return (torch.cuda.max_memory_allocated() - before) / 2**30
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():  # not Linux
        return None
    hand_back_freed_memory()
    reset.write_text("5")  # sets the peak to what is resident now
    before = peak_resident_kib()
    model.generate(batch)
    return max(peak_resident_kib() - before, 0) / 2**20


def peak_resident_kib() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def size_of(*modules: nn.Module) -> tuple[int, float]:
    """(number of parameters, GiB of parameters and buffers)."""
    parameters = [p for module in modules for p in module.parameters()]
    buffers = [b for module in modules for b in module.buffers()]
    return sum(p.numel() for p in parameters), sum(t.nbytes for t in parameters + buffers) / 2**30


# ------------------------------------------------------------------------------------------------ models of this library


def run_models(folder: Path, device: torch.device) -> list[TimedModel]:
    """The trained model of a run. Raises UserError where there is none."""
    pipeline = Pipeline.load(folder)
    name = read_config(model_folder(folder)).name
    return timed_models(pipeline.generator, pipeline.encode_text.encoder, name, pipeline.resolution, device)


def recipe_models(path: str, device: torch.device) -> list[TimedModel]:
    """A recipe with random weights."""
    recipe = load_recipe(path)
    encoder = recipe.text.build()
    encoder.load_pretrained()
    generator = build_generator(recipe.generator, recipe.resolution, TextDims(encoder.token_dim, encoder.text_dim, recipe.text))
    return timed_models(generator, encoder, recipe.name, recipe.resolution, device)


def timed_models(generator: Generator, encoder: TextEncoder, name: str, resolution: int, device: torch.device) -> list[TimedModel]:
    """The generator alone, for a prompt that is already encoded, and with the text encoder before it."""
    generator = fold(generator.to(device, memory_format=torch.channels_last).eval().requires_grad_(False))
    encoder.to(device)
    tokens = encoder.tokenize([PROMPT]).to(device)
    text = encoder(tokens)

    def latents(batch: int) -> torch.Tensor:
        return torch.zeros(batch, generator.mapper.z_dim, device=device)

    def from_descriptors(batch: int) -> None:
        generator(latents(batch), text.repeat(batch))

    def from_tokens(batch: int) -> None:
        generator(latents(batch), encoder(tokens[torch.zeros(batch, dtype=torch.long, device=device)]))

    return [
        TimedModel(f"{name}, text given", resolution, *size_of(generator), from_descriptors),
        TimedModel(f"{name} with text tower", resolution, *size_of(generator, encoder), from_tokens),
    ]


def table(result: dict) -> str:
    width = max(len(row["system"]) for row in result["rows"])
    lines = [f"{result['device']}, {result['precision']}; per image, memory in all"]
    lines.append(f"{'':{width}} {'px':>5} {'batch':>5} {'seconds':>9} {'GFLOP':>10} {'GFLOP/s':>8} {'GiB':>6} {'parameters':>13}")
    for row in result["rows"]:
        rate = row["gflops"] / row["seconds"]
        memory = "" if row["memory_gib"] is None else f"{row['memory_gib']:.2f}"
        figures = f"{row['seconds']:9.4f} {row['gflops']:10.2f} {rate:8.0f} {memory:>6} {row['parameters']:13,}"
        lines.append(f"{row['system']:{width}} {row['resolution'] or '':>5} {row['batch']:>5} {figures}")
    return "\n".join(lines)
