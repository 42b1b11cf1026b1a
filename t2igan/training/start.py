"""A run that begins with another run's weights: the papers' later phases, and a warm start with a model on other images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from t2igan.config import StartConfig
from t2igan.errors import UserError
from t2igan.inference.hub import resolve
from t2igan.inference.model_folder import DISCRIMINATOR, WEIGHTS, model_folder
from t2igan.recipe import load_recipe
from t2igan.synthesis.base import SynthesisConfig
from t2igan.text.projection import ClipProjection
from t2igan.training.checkpoint import Checkpoints

Tensors = dict[str, torch.Tensor]
NAMED = 3  # tensors that are named of those that a network does not take


@dataclass(frozen=True)
class Copied:
    """What a network took: names of its own tensors."""

    taken: tuple[str, ...]
    left: tuple[str, ...]  # which keep their initial values

    def __str__(self) -> str:
        if not self.taken:
            return "nothing; it is new"
        named = ", ".join(self.left[:NAMED]) + (f" and {len(self.left) - NAMED} more" if len(self.left) > NAMED else "")
        return f"{len(self.taken)} of {len(self.taken) + len(self.left)} tensors" + (f"; new are {named}" if self.left else "")


def start_from(config: StartConfig, generator: nn.Module, average: nn.Module, discriminator: nn.Module) -> dict[str, Copied]:
    """Copies weights, by name, into the parts that the recipe lists; returns what each network took.

    What the other run does not have keeps its initial values: a grown network starts with its lower stages. Parameters of G that the recipe
    freezes take the other run's average, on which later stages shall build. With `config.fitting`, tensors of other shapes are left, too,
    and G begins with the average: a warm start with a model.

    Raises:
        UserError: no checkpoint there, tensors of other shapes under the same name, none that fits, or none for what the recipe freezes.
    """
    tensors = read_model(config.run) if config.fitting else read_checkpoint(config.run, "start.run")
    copied = {}
    for part in config.parts:
        targets = {"generator": generator, "ema": average} if part == "generator" else {"discriminator": discriminator}
        for name, module in targets.items():
            source = tensors.get(name)
            if source is None:  # a model may come without its discriminator
                copied[name] = Copied((), tuple(module.state_dict()))
                continue
            if name == "generator":
                fixed = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
                source = source | {name: value for name, value in tensors["ema"].items() if name in fixed or config.average}
            copied[name] = copy_matching(source, module, f"start.run {config.run} ({name})", config.fitting)
            if module is not average:
                check_frozen(module, copied[name], f"start.run {config.run} ({name})")
    return copied


def check_frozen(module: nn.Module, copied: Copied, where: str) -> None:
    """Raises UserError where a parameter that the recipe freezes has not been taken: it would stay random.

    A CLIP's projection of text has been loaded from its folder; that of a model with one of the same widths takes its place.
    """
    loaded = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, ClipProjection))
    fixed = [name for name, parameter in module.named_parameters() if not (parameter.requires_grad or name.startswith(loaded))]
    random = [name for name in fixed if name not in copied.taken]
    if random:
        raise UserError(f"{where} has no {random[0]}, which the recipe freezes; start from a run that has trained it")


def check_meaning(config: StartConfig, synthesis: SynthesisConfig) -> None:
    """Raises UserError where the other run's layers, under the names and shapes of this one's, compute something else."""
    if config.fitting or "generator" not in config.parts or not (Path(config.run).expanduser() / "recipe.yaml").is_file():
        return
    try:
        synthesis.check_start(load_recipe(Path(config.run).expanduser()).generator.synthesis)
    except ValueError as error:
        raise UserError(f"generator.synthesis: {error}") from None


def read_checkpoint(run: str, named: str) -> Mapping[str, Tensors]:
    """The state dicts of the newest checkpoint of a run. Raises UserError, which says what `named` the run, where there is none."""
    checkpoints = Checkpoints(Path(run).expanduser(), keep=1)
    latest = checkpoints.latest()
    if latest is None:
        raise UserError(f"{named} {run} has no checkpoint; give the folder of a run")
    return checkpoints.read(latest)[0]


def read_model(run: str) -> Mapping[str, Tensors]:
    """G and, where it is there, D of a run, of a model folder or of a model on the hub; G is its average.

    Raises:
        UserError: there is no model, or its weights cannot be read.
    """
    path = resolve(Path(run).expanduser() if Path(run).expanduser().exists() else run, further=[DISCRIMINATOR])
    folder = model_folder(path)
    try:
        weights = load_file(folder / WEIGHTS)
        found = {"generator": weights, "ema": weights}
        if (folder / DISCRIMINATOR).is_file():
            found["discriminator"] = load_file(folder / DISCRIMINATOR)
        elif Checkpoints(path, keep=1).latest() is not None:
            found["discriminator"] = read_checkpoint(str(path), "start.run")["discriminator"]
    except (OSError, SafetensorError) as error:
        raise UserError(f"the weights in {folder} cannot be read ({' '.join(str(error).split())[:200]}); get the folder again") from None
    return found


@torch.no_grad()
def copy_matching(source: Tensors, module: nn.Module, where: str, fitting: bool = False) -> Copied:
    """Copies tensors to those of the same name; with `fitting`, to those of the same name and shape."""
    own = module.state_dict()
    common = [name for name in own if name in source and (not fitting or own[name].shape == source[name].shape)]
    if not common:
        raise UserError(
            f"{where} has no tensor {'of the shape and name' if fitting else 'under a name'} of this network; it is another system"
        )
    for name in common:
        if own[name].shape != source[name].shape:
            shapes = f"{tuple(source[name].shape)} there, {tuple(own[name].shape)} here"
            raise UserError(f"{where} has {name} in another shape ({shapes}); the stages that both have must be equal")
        own[name].copy_(source[name])
    return Copied(tuple(common), tuple(name for name in own if name not in common))
