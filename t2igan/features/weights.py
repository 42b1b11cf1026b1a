"""Published weight files: found where the user put them, checked, read without running anything that they may carry."""

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from t2igan.errors import UserError

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.\w+$")  # torch hub's rule: a name ends in the first digits of the file's SHA-256


@dataclass(frozen=True)
class WeightFile:
    """A file somebody published, and where it is looked for: the path given, else torch hub's cache. Nothing is downloaded."""

    name: str
    url: str

    def find(self, given: Path | None = None) -> Path:
        """Raises UserError, naming what to get and where to put it, where the file is not there."""
        path = given or Path(torch.hub.get_dir()) / "checkpoints" / self.name
        if not path.is_file():
            where = f"no weights at {given}" if given else f"{self.name} is not in {path.parent}"
            raise UserError(f"{where}; get {self.url}{self.name} and put it there, or give its path with --weights")
        return path


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """(tensors by name, SHA-256 of the file) of a .safetensors or of a state dict that torch saved.

    Raises:
        UserError: the file does not have the hash that its name ends in, or holds something else than tensors.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = HASH_IN_NAME.search(path.name)
    if named and not digest.startswith(named[1]):
        raise UserError(
            f"{path} has SHA-256 {digest[:8]}..., its name says {named[1]}: the file is broken or another one; get it again "
            "(or rename it, where these digits mean something else)"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # what it has to say of a file it cannot read is said below
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, UnpicklingError) as error:
        raise UserError(
            f"{path} is no file of weights ({type(error).__name__}); it needs a state dict, as .safetensors or saved by torch"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds something else than tensors by name; give a state dict")
    return state, digest


def load_into(module: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Raises UserError where the tensors are those of another network."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        detail = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise UserError(f"{path} holds the weights of another network ({detail[:120]}); give the file that belongs to this one") from None
