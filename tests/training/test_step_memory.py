"""`show --memory` against the bytes that torch's allocator hands out in real steps."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from accelerate import Accelerator
from tiny import ROOT

from t2igan.recipe import load_recipe
from t2igan.system import System, build_system
from t2igan.training.step_memory import LiveBytes, count_step_memory
from t2igan.training.trainer import Trainer
from t2igan.types import Batch, PrepareContext, TextDescriptors, Tokens

pytest_plugins = ["kit"]
OVERRIDES = {
    "emoji_32": ["training.cluster_features=null", "objective.generator.1.model=local-dir:{clip}"],
    "emoji_r3gan_32": ["objective.generator.1.model=local-dir:{clip}"],
    "emoji_upsampler_64_256": [],
}


def blank_text(system: System, captions: list[str]) -> TextDescriptors:
    encoder, count = system.text_encoder, len(captions)
    source = Tokens(torch.zeros(count, encoder.max_tokens, dtype=torch.long), torch.ones(count, encoder.max_tokens, dtype=torch.bool))
    return TextDescriptors(torch.zeros(count, encoder.max_tokens, encoder.token_dim), torch.zeros(count, encoder.text_dim), source)


def most_allocated(recipe) -> int:
    """Bytes, over the making of a trainer and two of its steps, the second with every moment and every lazy term."""
    size, r = recipe.training.batch, recipe.resolution
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiled:
        system = build_system(recipe)
        context = PrepareContext(torch.device("cpu"), lambda: [f"thing {i}" for i in range(2000)], None)
        system.objective.prepare(context)
        system.discriminator.prepare(context)
        trainer = Trainer(recipe, system, Accelerator(cpu=True), partial(blank_text, system))
        for _ in range(2):
            names = [f"thing {i}" for i in range(size)]
            batch = Batch(torch.zeros(size, 3, r, r), names, names, list(range(size)), torch.arange(size))
            trainer.steps = 0
            trainer.step(batch, batch if recipe.training.own_reals else None)
    events = sorted((e.start_ns(), e.nbytes()) for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]")
    now = most = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


def with_images(recipe, images: int):
    return replace(recipe, training=replace(recipe.training, batch=images, micro_batch=None, precision="fp32"))


@pytest.mark.parametrize("name", ["emoji_32", *(pytest.param(name, marks=pytest.mark.slow) for name in list(OVERRIDES)[1:])])
def test_the_count_is_what_real_steps_take(name, kit, capsys):
    recipe = load_recipe(ROOT / "configs" / f"{name}.yaml", [text.format(clip=kit.clip) for text in OVERRIDES[name]])
    few, more = 4, 8
    real = [most_allocated(with_images(recipe, images)) / 1e9 for images in (few, more)]
    counted = [count_step_memory(with_images(recipe, images)) for images in (few, more)]
    slope = (real[1] - real[0]) / (more - few)
    with capsys.disabled():
        print(f"\n{name}: {real[1]:.3f} GB with {more} images, counted {counted[1]['gb']:.3f}; ", end="")
        print(f"{1e3 * slope:.1f} MB per image, counted {1e3 * counted[1]['gb_per_image']:.1f}")
    assert [one["gb"] for one in counted] == pytest.approx(real, rel=0.15)
    assert counted[1]["gb_per_image"] == pytest.approx(slope, rel=0.15)


def test_bytes_live_as_long_as_their_tensors():
    with LiveBytes() as live, torch.device("meta"):
        x = torch.empty(100)
        y = x.view(10, 10)
        assert live.now == 400, "a view takes nothing"
        z = x + 1
        assert (live.now, live.peak) == (800, 800)
        del x, z
        assert live.now == 400, "the view holds it"
        del y
    assert (live.now, live.peak) == (0, 800)
