"""A trained model of either kind, opened by the one function that reads its config to see which it is."""

from pathlib import Path

import torch

from t2igan.inference.hub import resolve
from t2igan.inference.model_folder import model_folder, read_config
from t2igan.inference.pipeline import Pipeline
from t2igan.inference.upsampler import Upsampler
from t2igan.synthesis.base import SynthesisConfig


def open_model(path_or_hub_id: Path | str, device: str | torch.device | None = None, cache: Path | None = None) -> Pipeline | Upsampler:
    """A run folder, its `model` folder or a hub id ORG/NAME to the class that runs it: an Upsampler where it starts from images.

    Args:
        device: None means CUDA where there is one, else the CPU.
        cache: the folder of the cache of text features; None keeps them in memory.

    Raises:
        UserError: there is no model, its weights do not load, or its text encoder is missing.
    """
    folder = model_folder(resolve(path_or_hub_id))
    config = read_config(folder)
    return runner_class(config.generator.synthesis).from_folder(folder, config, device, cache)


def runner_class(config: SynthesisConfig) -> type[Pipeline] | type[Upsampler]:
    """The class that runs a generator with this synthesis network."""
    return Upsampler if config.starts_from_image else Pipeline
