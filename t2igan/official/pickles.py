"""A pickle of the StyleGAN releases to tensors, without running anything that it carries.

Such a file holds whole networks with the source code of their classes, which its own reader executes. Here a name that is neither a
tensor's, an array's nor a mapping's is refused, and a network becomes an Inert: its tensors, its numbers and its parts.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2igan.errors import UserError


@dataclass
class Inert:
    """A network of a pickle as data."""

    class_name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, "Inert"] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)  # what else it had

    def state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) as in the network's state dict."""
        for name, tensor in self.tensors.items():
            yield prefix + name, tensor
        for name, part in self.parts.items():
            yield from part.state(f"{prefix}{name}.")


class Callee:
    """A function that a pickle may call and not change."""

    __slots__ = ("function",)

    def __init__(self, function: Callable):
        object.__setattr__(self, "function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class Mapping(dict):
    """In place of dnnlib's EasyDict."""


def network(meta: dict) -> Inert:
    """In place of the function that executes a network's source code."""
    state = dict(meta["state"])
    tensors = {**state.pop("_parameters", {}), **state.pop("_buffers", {})}
    parts = {name: part for name, part in state.pop("_modules", {}).items() if isinstance(part, Inert)}
    kept = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    return Inert(str(meta["class_name"]), kept, parts, {name: value for name, value in state.items() if not name.startswith("_")})


def storage(content: bytes) -> Any:
    """The numbers of tensors, which stand in an archive of torch's own."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    return data


NAMES = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Callee(network),
    ("dnnlib.util", "EasyDict"): Mapping,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): Callee(torch._utils._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): Callee(parameter),
    ("torch.storage", "_load_from_bytes"): Callee(storage),
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(module, "_reconstruct"): Callee(np.zeros(1).__reduce__()[0]) for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "scalar"): Callee(np.float64(0).__reduce__()[0]) for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
}


class Reader(pickle.Unpickler):
    """An unpickler that knows NAMES alone."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor, mapping or number")
        return NAMES[module, name]


def read_pickle(path: Path) -> dict:
    """The mapping in a file, with Inert networks.

    Raises:
        UserError: there is no such file, it is no such pickle, or it asks for anything else; nothing of it was run.
    """
    try:
        with path.open("rb") as file:
            found = Reader(file).load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # whatever a damaged or hostile file makes an unpickler raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} is not a pickle of a StyleGAN release ({reason[:200]}); nothing of it was run") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}, not the mapping of networks that the StyleGAN releases write")
    return found
