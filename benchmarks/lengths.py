"""Recipes for trainings of another length, and how fast a training went."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

from t2igan.schedule import Schedule

IN_IMAGES = ("total_images", "hold", "fade", "warmup", "after", "ramp_images")  # fields of a recipe that stretch with its length
WARM_STEPS = 5  # at the beginning of a run, which do not count for its pace


def scaled(config, factor: float):
    """A recipe, or a section of it, for a training of another length: schedules, growth and warm-ups; half-lives stay."""

    def longer(images: int) -> int:
        return max(1, round(images * factor)) if images else 0

    if isinstance(config, Schedule):
        until = max(longer(config.until), longer(config.begin) + 1)
        return replace(config, begin=longer(config.begin), until=until, later=tuple((longer(at), value) for at, value in config.later))
    if isinstance(config, tuple):
        return tuple(scaled(item, factor) for item in config)
    if not is_dataclass(config):
        return config
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return replace(
        config,
        **{name: longer(value) if name in IN_IMAGES and type(value) is int else scaled(value, factor) for name, value in values.items()},
    )


def of_length(recipe, images: int):
    """The recipe for another number of images, in whole steps; everything that is measured in images stretches with it."""
    images = max(1, round(images / recipe.training.batch)) * recipe.training.batch
    long = scaled(recipe, images / recipe.training.total_images)
    return replace(long, training=replace(long.training, total_images=images))


def logged_often(recipe):
    """The recipe with a line in its log for every step, as `pace` reads it."""
    return replace(recipe, training=replace(recipe.training, log_every=1))


def pace(run: Path) -> float:
    """Images per second of a run that is `logged_often`, without its first steps."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    warm, last = records[min(WARM_STEPS, len(records) - 2)], records[-1]
    return (last["images"] - warm["images"]) / (last["seconds"] - warm["seconds"])
