"""Everything a run needs to go on exactly, in one folder: safetensors and JSON, no pickle.

A checkpoint appears whole or not at all: it is written beside its place, flushed, and renamed. Since data order, latents and views are
functions of (seed, step), the only state besides weights, averages and optimizer moments is the number of pictures seen.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from t2igan.errors import UserError
from t2igan.files import write_folder


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, torch.Tensor]:
    """Adam's moments under the names of the parameters they belong to."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{names[parameter]}/{key}": value.detach().clone() if torch.is_tensor(value) else torch.tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    parameters = dict(module.named_parameters())
    for name, value in tensors.items():
        parameter, _, key = name.rpartition("/")
        target = parameters[parameter]
        # moments keep their parameter's memory layout, on which the speed of the fused step depends
        optimizer.state[target][key] = value.clone() if key == "step" else torch.empty_like(target).copy_(value)


class Checkpoints:
    """The newest `keep` checkpoints of a run, `run/checkpoints/IMAGES`."""

    def __init__(self, run: Path, keep: int):
        self.folder, self.keep = run / "checkpoints", keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if (path / "state.json").is_file())

    def latest(self) -> Path | None:
        return next(reversed(self.all()), None)

    def write(self, images: int, tensors: dict[str, dict[str, torch.Tensor]], state: dict) -> Path:
        path = self.folder / f"{images:012d}"
        write_folder(path, tensors, {"state.json": json.dumps(state, indent=2)})
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old)
        return path

    def read(self, path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict]:
        try:
            tensors = {file.stem: load_file(file) for file in path.glob("*.safetensors")}
            return tensors, json.loads((path / "state.json").read_text())
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(f"the checkpoint {path} cannot be read ({error}); delete that folder to go on from the one before") from None
