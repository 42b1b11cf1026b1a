"""Published weight files: found where the user put them, checked, and read without running code that they may contain."""

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
    """A published file, looked for at the given path, else in torch hub's cache. Nothing is downloaded."""

    name: str
    url: str

    def find(self, given: Path | None = None) -> Path:
        """Raises UserError if the file is not there; the message states what to get and where to put it."""
        path = given or Path(torch.hub.get_dir()) / "checkpoints" / self.name
        if not path.is_file():
            where = f"no weights at {given}" if given else f"{self.name} is not in {path.parent}"
            there = "put it there, or give its path (the option that --help names, or the recipe's field)"
            raise UserError(f"{where}; get {self.url}{self.name} and {there}")
        return path


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """(tensors by name, SHA-256 of the file) of a .safetensors file or a state dict saved by torch.

    Raises:
        UserError: the file does not have the hash that its name ends in, or does not hold tensors by name.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = HASH_IN_NAME.search(path.name)
    if named and not digest.startswith(named[1]):
        raise UserError(
            f"{path} has SHA-256 {digest[:8]}..., its name says {named[1]}: the file is broken or another one; get it again "
            "(or rename it, if these digits mean something else)"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # an unreadable file is reported by the error below
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, UnpicklingError) as error:
        raise UserError(
            f"{path} is not a weight file ({type(error).__name__}); it needs a state dict, as .safetensors or saved by torch"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} does not hold tensors by name; give a state dict")
    return state, digest


def load_into(module: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Raises UserError if the tensors belong to another network."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        detail = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise UserError(f"{path} holds the weights of another network ({detail[:120]}); give the file that belongs to this one") from None
