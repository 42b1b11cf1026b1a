"""A run that begins with another run's weights: the papers' later phases."""

from pathlib import Path

import torch
from torch import nn

from t2igan.config import StartConfig
from t2igan.errors import UserError
from t2igan.training.checkpoint import Checkpoints


def start_from(config: StartConfig, generator: nn.Module, average: nn.Module, discriminator: nn.Module) -> dict[str, int]:
    """Copies the weights of the newest checkpoint of `config.run`, by name, into the parts that the recipe lists.

    What the other run does not have keeps its initial values: a grown network starts with its lower stages. Parameters of G that the recipe
    freezes take the other run's average, on which later stages shall build. Returns the number of tensors copied into each part.

    Raises:
        UserError: no checkpoint there, tensors of other shapes under the same name, or none that fits.
    """
    checkpoints = Checkpoints(Path(config.run).expanduser(), keep=1)
    latest = checkpoints.latest()
    if latest is None:
        raise UserError(f"start.run {config.run} has no checkpoint; give the folder of a run")
    tensors, _ = checkpoints.read(latest)
    copied = {}
    for part in config.parts:
        targets = {"generator": generator, "ema": average} if part == "generator" else {"discriminator": discriminator}
        for name, module in targets.items():
            source = tensors[name]
            if name == "generator":
                fixed = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
                source |= {name: value for name, value in tensors["ema"].items() if name in fixed or config.average}
            copied[name] = copy_matching(source, module, f"start.run {config.run} ({name})")
    return copied


@torch.no_grad()
def copy_matching(source: dict[str, torch.Tensor], module: nn.Module, where: str) -> int:
    """Copies tensors to those of the same name; returns how many."""
    own = module.state_dict()
    common = [name for name in own if name in source]
    if not common:
        raise UserError(f"{where} has no tensor under a name of this network; it is another system")
    for name in common:
        if own[name].shape != source[name].shape:
            shapes = f"{tuple(source[name].shape)} there, {tuple(own[name].shape)} here"
            raise UserError(f"{where} has {name} in another shape ({shapes}); the stages that both have must be equal")
        own[name].copy_(source[name])
    return len(common)
