"""Everything that a run needs to resume exactly, in one folder: safetensors and JSON, no pickle.

A checkpoint appears whole or not at all: it is written beside its place, flushed, and renamed. Since data order, latents and augmentation
are functions of (seed, images seen), the only state besides weights, averages, moments and the buffers of losses and augmentation is the
clock.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from t2igan.errors import UserError
from t2igan.files import write_folder


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
            return tensors, json.loads((path / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(f"the checkpoint {path} cannot be read ({error}); delete that folder to resume from the one before") from None
