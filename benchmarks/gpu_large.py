"""A step of a large recipe timed on the device, with random weights and noise: the part of gpu_steps.py that measures speed and memory."""

import dataclasses
import statistics
import time
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from t2igan.config import Recipe
from t2igan.system import build_system
from t2igan.training.processes import accelerator
from t2igan.training.step_memory import count_step_memory
from t2igan.training.trainer import Trainer
from t2igan.types import Batch, PrepareContext, TextDescriptors, Tokens

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}  # dense bf16, as NVIDIA gives them
GB = 1e9


def throughput(device: torch.device, recipe: Recipe, size: int, weights: bool) -> str:
    """Milliseconds of a step and of one with R1; on a GPU also peak memory beside `t2igan show --memory`, and the share of its FLOPs.

    Args:
        size: images of a step, in one pass, without clusters.
        weights: whether frozen networks read theirs.
    """
    training = dataclasses.replace(recipe.training, batch=size, micro_batch=None, cluster_features=None)
    recipe = dataclasses.replace(recipe, training=training)
    system = build_system(recipe)
    context = PrepareContext(device, lambda: [f"thing {n}" for n in range(2000)], None, weights)
    system.objective.prepare(context)
    system.discriminator.prepare(context)
    trainer = Trainer(recipe, system, accelerator(), partial(random_text, system))
    r, names = recipe.resolution, [f"thing {n}" for n in range(size)]
    batch = Batch(torch.rand(size, 3, r, r) * 2 - 1, names, names, list(range(size)), torch.arange(size))
    every = max(term.every for term in system.objective.of_discriminator)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    lazy = [timed_step(trainer, batch, 0) for _ in range(3)][1:]  # the first warms up
    ordinary = [timed_step(trainer, batch, 1) for _ in range(4)][1:]
    peak = torch.cuda.max_memory_allocated() / GB if on_gpu else 0.0
    with FlopCounterMode(display=False) as counter:
        timed_step(trainer, batch, 1)
    usual, seconds = counter.get_total_flops(), statistics.median(ordinary)
    mean = seconds + (statistics.median(lazy) - seconds) / every
    said = f"{size} images: {1e3 * seconds:.0f} ms, {1e3 * statistics.median(lazy):.0f} ms with the penalty, {size / mean:.1f} images/s"
    if on_gpu:
        known = [flops for key, flops in PEAK_FLOPS.items() if key in torch.cuda.get_device_name()]
        said += f", peak {peak:.1f} GB" + (f", {usual / seconds / known[0]:.0%} of its FLOPs" if known else "")
    return f"{said}, show --memory counts {count_step_memory(recipe)['gb']:.1f} GB in fp32"


def timed_step(trainer: Trainer, batch: Batch, step: int) -> float:
    """Seconds of a step that is the `step`-th of a period of lazy terms."""
    trainer.steps = step
    wait(trainer.device)
    start = time.perf_counter()
    values = trainer.step(batch, batch if trainer.config.own_reals else None)
    wait(trainer.device)
    took = time.perf_counter() - start
    bad = [name for name, value in values.items() if not bool(torch.as_tensor(value).isfinite().all())]
    assert not bad, f"{bad[0]} is not finite"
    return took


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def random_text(system, captions: list[str]) -> TextDescriptors:
    """Descriptors of full length in place of the text tower's."""
    encoder, n = system.text_encoder, len(captions)
    source = Tokens(torch.zeros(n, encoder.max_tokens, dtype=torch.long), torch.ones(n, encoder.max_tokens, dtype=torch.bool))
    return TextDescriptors(torch.randn(n, encoder.max_tokens, encoder.token_dim), torch.randn(n, encoder.text_dim), source)
