"""A pickle of the StyleGAN releases to tensors, without running anything that it carries.

Such a file holds whole networks with the source code of their classes, which its own reader executes. Here a name that is neither a
tensor's, an array's nor a mapping's is refused, and every other one stands for a function or a class of this module: a network becomes an
Inert, its tensors, its numbers and its parts.
"""

import io
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from t2igan.errors import UserError

DEPTH, MOST, LONGEST = 32, 100_000, 200  # of parts inside each other, of names together, of one of them: more than any release has
SCALARS = {f"{kind}{size}" for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}.items() for size in sizes}


class Fixed:
    """What a pickle cannot change after it has made it."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what it has made")


@dataclass
class Held(Fixed):
    """A tensor, or a tensor's numbers, out of the pickle's reach."""

    value: Tensor | torch.TypedStorage


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
            count += 1 + len(part.tensors) + len(part.parts)
            if depth > DEPTH or count > MOST:
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
    """In place of dnnlib's EasyDict and of OrderedDict, which are made empty."""

    def __init__(self) -> None:
        super().__init__()


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


def tensor(numbers: Held, offset: int, shape: Sequence[int], stride: Sequence[int], *options: Any) -> Held:
    """A view that reads no number beyond its storage, and has no more numbers than that."""
    store, reached = numbers.value, offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    count = store._untyped_storage.nbytes() // store._element_size()
    if min(offset, 0, *shape, *stride) < 0 or reached >= count or math.prod(shape) > count:
        raise pickle.UnpicklingError("it holds a tensor larger than its numbers")
    return Held(torch._utils._rebuild_tensor_v2(store, offset, tuple(shape), tuple(stride), False, None))


class Reader(pickle.Unpickler):
    """An unpickler that knows a few names alone. What these make takes no more memory together than twice `size`, the bytes of the file.

    Twice, because protocol 2 holds bytes as text, which becomes bytes and then numbers.
    """

    def __init__(self, file: BinaryIO, size: int):
        super().__init__(file)
        self.left = 2 * size
        cores = "numpy.core.multiarray", "numpy._core.multiarray"
        self.names = {
            ("torch_utils.persistence", "_reconstruct_persistent_obj"): Function(self.network),
            ("dnnlib.util", "EasyDict"): Mapping,
            ("collections", "OrderedDict"): Mapping,
            **dict.fromkeys([("builtins", "set"), ("__builtin__", "set")], Function(self.made_set)),
            ("_codecs", "encode"): Function(self.encoded),
            ("torch._utils", "_rebuild_tensor_v2"): Function(tensor),
            ("torch._utils", "_rebuild_parameter"): Function(lambda data, requires_grad, hooks: data),
            ("torch.storage", "_load_from_bytes"): Function(self.storage),
            ("numpy", "ndarray"): Array,
            ("numpy", "dtype"): Number,
            **{(core, "_reconstruct"): Function(lambda *_: Array()) for core in cores},
            **{(core, "scalar"): Function(Number.value) for core in cores},
        }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor, mapping or number")
        return self.names[module, name]

    def charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise pickle.UnpicklingError("what it makes is larger than the file")

    def network(self, meta: dict) -> Inert:
        """In place of the function that executes a network's source code."""
        state, class_name = meta["state"], meta["class_name"]
        owned = [state.get(name, {}) for name in ("_parameters", "_buffers", "_modules")]
        self.charge(len(state) + sum(map(len, owned)))
        named = [class_name, *(name for mapping in (state, *owned) for name in mapping)]
        if not all(isinstance(name, str) and len(name) <= LONGEST for name in named):
            raise pickle.UnpicklingError("it holds a name that is none")
        tensors = {name: held.value for mapping in owned[:2] for name, held in mapping.items() if isinstance(held, Held)}
        parts = {name: part for name, part in owned[2].items() if isinstance(part, Inert)}
        return Inert(class_name, tensors, parts, {name: value for name, value in state.items() if isinstance(value, float | int | None)})

    def storage(self, content: bytes) -> Held:
        """The numbers of tensors, which stand in an archive of torch's own, of the kind without compression."""
        self.charge(len(content))
        if content.startswith(b"PK"):
            raise pickle.UnpicklingError("it holds numbers in another archive than a release's")
        return Held(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))

    def made_set(self, items: Sequence = ()) -> set:
        self.charge(len(items))
        return set(items)

    def encoded(self, text: str, coding: str) -> bytes:
        """Bytes, in protocol 2."""
        self.charge(len(text))
        return text.encode("latin1")


def read_pickle(path: Path) -> dict:
    """The mapping in a file, with Inert networks.

    Raises:
        UserError: there is no such file, it is no such pickle, or it asks for anything else; nothing of it was run.
    """
    try:
        with path.open("rb") as file:
            found = Reader(file, path.stat().st_size).load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # whatever a damaged or hostile file makes an unpickler raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} is not a pickle of a StyleGAN release ({reason[:200]}); nothing of it was run") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}, not the mapping of networks that the StyleGAN releases write")
    return found
