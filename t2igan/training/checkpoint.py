"""Everything that a run needs to resume exactly, in one folder: safetensors and JSON, no pickle.

A checkpoint appears whole or not at all: it is written beside its place, flushed, and renamed. Since data order, latents and augmentation
are functions of (seed, images seen), the only state besides weights, averages, moments and the buffers of losses and augmentation is the
clock.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from t2igan.errors import UserError
from t2igan.files import write_folder
from t2igan.plain_text import parse_json


@dataclass(frozen=True)
class RunState:
    """The part of a checkpoint that is not tensors."""

    images: int
    steps: int
    dataset_size: int
    fingerprint: str  # of the shards' index: other images of the same count have another one
    replaced: int  # broken samples that others replaced
    skipped_steps: dict  # of G and of D
    clusters: dict | None

    @classmethod
    def from_json(cls, text: str) -> "RunState":
        """Raises ValueError where the text is something else."""
        values = parse_json(text)
        wanted = {field.name: field.type for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != set(wanted):
            raise ValueError(f"state.json needs {', '.join(wanted)}")
        for name, kind in wanted.items():
            if not isinstance(values[name], kind):
                raise ValueError(f"state.json has {values[name]!r:.40} for {name}")
        if not all(isinstance(values["skipped_steps"].get(half), int) for half in "GD"):
            raise ValueError("state.json has no numbers of skipped steps")
        return cls(**values)


class Checkpoints:
    """The newest `keep` checkpoints of a run, `run/checkpoints/IMAGES`."""

    def __init__(self, run: Path, keep: int):
        self.folder, self.keep = run / "checkpoints", keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if (path / "state.json").is_file())

    def latest(self) -> Path | None:
        return next(reversed(self.all()), None)

    def write(self, tensors: dict[str, dict[str, torch.Tensor]], state: RunState) -> Path:
        path = self.folder / f"{state.images:012d}"
        write_folder(path, tensors, {"state.json": json.dumps(asdict(state), indent=2)})
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old)
        return path

    def read(self, path: Path) -> tuple["StoredTensors", RunState]:
        """Raises UserError where state.json is damaged."""
        try:
            return StoredTensors(path), RunState.from_json((path / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise damaged(path, error) from None


class StoredTensors(Mapping):
    """A checkpoint's tensors by file, each read when it is asked for: every process holds one file at a time, not the whole checkpoint."""

    def __init__(self, path: Path):
        self.path = path

    def __getitem__(self, name: str) -> dict[str, torch.Tensor]:
        """Raises KeyError where there is no such file, UserError where it is damaged."""
        file = self.path / f"{name}.safetensors"
        if not file.is_file():
            raise KeyError(name)
        try:
            return load_file(file)
        except (OSError, ValueError, SafetensorError) as error:
            raise damaged(self.path, error) from None

    def __iter__(self) -> Iterator[str]:
        return (file.stem for file in sorted(self.path.glob("*.safetensors")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"the checkpoint {path} cannot be read ({error}); delete that folder to resume from the one before")
