"""A pickle of the StyleGAN releases to tensors, without running anything that it carries.

Such a file holds whole networks with the source code of their classes, which its own reader executes. Here a name that is neither a
tensor's, an array's nor a mapping's is refused, and every other one stands for a function or a class of this module: a network becomes an
Inert, its tensors, its numbers and its parts.
"""

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2igan.errors import UserError

DEPTH, PARTS = 32, 10_000  # of a network's parts inside each other, and together, far more than any release has
SCALARS = {f"{kind}{size}" for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}.items() for size in sizes}


class Fixed:
    """What a pickle cannot change after it has made it."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what it has made")


@dataclass
class Inert(Fixed):
    """A network of a pickle as data."""

    class_name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, "Inert"] = field(default_factory=dict)
    numbers: dict[str, int | float | None] = field(default_factory=dict)  # what else it had

    def state(self) -> dict[str, Tensor]:
        """Its tensors and those of its parts, named as in the network's state dict.

        Raises:
            ValueError: its parts lie inside each other, or are more than a network has.
        """
        found, waiting, count = {}, [("", 0, self)], 0
        while waiting:
            prefix, depth, part = waiting.pop()
            count += 1
            if depth > DEPTH or count > PARTS:
                raise ValueError("its parts lie inside each other")
            found |= {prefix + name: tensor for name, tensor in part.tensors.items()}
            waiting += [(f"{prefix}{name}.", depth + 1, inner) for name, inner in part.parts.items()]
        return found


class Function(Fixed):
    """A function that a pickle may call and not change."""

    __slots__ = ("function",)

    def __init__(self, function: Callable):
        object.__setattr__(self, "function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class Mapping(Fixed, dict):
    """In place of dnnlib's EasyDict and of OrderedDict."""


class Array:
    """In place of numpy's array, whose content nobody reads."""

    def __setstate__(self, state: Any) -> None:
        pass


class Number:
    """In place of numpy's dtype."""

    def __init__(self, name: str, *options: Any):
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def value(self, content: bytes) -> int | float:
        if self.name not in SCALARS or self.order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("it holds a number of unknown kind")
        return np.frombuffer(content, self.order + self.name, count=1)[0].item()


def network(meta: dict) -> Inert:
    """In place of the function that executes a network's source code."""
    state, class_name = dict(meta["state"]), meta["class_name"]
    if not isinstance(class_name, str):
        raise pickle.UnpicklingError("it holds a class whose name is no text")
    tensors = {**state.pop("_parameters", {}), **state.pop("_buffers", {})}
    parts = {name: part for name, part in state.pop("_modules", {}).items() if isinstance(part, Inert)}
    kept = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    return Inert(class_name, kept, parts, {name: value for name, value in state.items() if isinstance(value, float | int | None)})


def storage(content: bytes) -> Any:
    """The numbers of tensors, which stand in an archive of torch's own."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def tensor(numbers: torch.TypedStorage, offset: int, shape: Sequence[int], stride: Sequence[int], *options: Any) -> Tensor:
    """A view that has no number twice, so that a tensor takes no more memory than its file."""
    made = torch._utils._rebuild_tensor_v2(numbers, offset, shape, stride, False, None)
    if made.nbytes > made.untyped_storage().nbytes():
        raise pickle.UnpicklingError("it holds a tensor larger than its numbers")
    return made


def parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    return data


NAMES = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Function(network),
    ("dnnlib.util", "EasyDict"): Mapping,
    ("collections", "OrderedDict"): Mapping,
    **dict.fromkeys([("builtins", "set"), ("__builtin__", "set")], Function(set)),
    ("_codecs", "encode"): Function(lambda text, coding: text.encode("latin1")),  # bytes, in protocol 2
    ("torch._utils", "_rebuild_tensor_v2"): Function(tensor),
    ("torch._utils", "_rebuild_parameter"): Function(parameter),
    ("torch.storage", "_load_from_bytes"): Function(storage),
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): Number,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Function(lambda *_: Array()) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Function(Number.value) for core in ("core", "_core")},
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
