"""Class names or class numbers to one-hot descriptors: the class-conditional systems."""

import difflib
import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from t2igan.errors import UserError
from t2igan.ranges import Count
from t2igan.text.encoder import TextConfig, TextEncoder
from t2igan.types import CheckContext, TextDescriptors, Tokens


@dataclass(frozen=True)
class LabelTextConfig(TextConfig):
    num_classes: Count  # numbered from 0
    names: tuple[str, ...] = ()  # of the classes, in the order of their numbers; without names, prompts are class numbers

    def check(self, context: CheckContext) -> None:
        if self.names and len(self.names) != self.num_classes:
            raise ValueError(f"names has {len(self.names)} entries, needs one for each of the {self.num_classes} classes, or none at all")
        seen = set()
        for name in self.names:
            if not normalised(name):
                raise ValueError("names has an empty entry; every class needs a name")
            if normalised(name) in seen:
                raise ValueError(f"names has {name!r} twice (case does not count); give each class its own name")
            seen.add(normalised(name))

    def build(self) -> "LabelText":
        return LabelText(self)


class LabelText(TextEncoder):
    """A prompt is a class name (case and outer whitespace do not count) or a class number in decimal digits.

    Token ids [b 1] are the class numbers; local [b 1 num_classes] and pooled [b num_classes] are the one-hot vector.
    """

    cacheable = False

    def __init__(self, config: LabelTextConfig):
        super().__init__(token_dim=config.num_classes, text_dim=config.num_classes, max_tokens=1)
        self.num_classes, self.names = config.num_classes, config.names
        self.numbers = {normalised(name): number for number, name in enumerate(config.names)}

    def check_caption(self, caption: str) -> None:
        """Raises UserError if it is no class of this system."""
        self.class_number(caption)

    def load_pretrained(self) -> None:
        """Nothing to read."""

    def fingerprint(self) -> str:
        return hashlib.sha256(f"label {self.text_dim} {self.names}".encode()).hexdigest()

    def count_parameters(self) -> int:
        return 0

    def tokenize(self, prompts: list[str]) -> Tokens:
        """Raises UserError if a prompt is no class of this system."""
        ids = torch.tensor([self.class_number(prompt) for prompt in prompts], dtype=torch.long)[:, None]
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))

    def class_number(self, prompt: str) -> int:
        """A name that consists of digits takes precedence over the number. Raises UserError if there is no such class."""
        key, last = normalised(prompt), self.text_dim - 1
        if key in self.numbers:
            return self.numbers[key]
        if key.isascii() and key.isdigit():
            if len(key.lstrip("0")) <= len(str(last)) and int(key) <= last:
                return int(key)
            raise UserError(f"got class number {key[:20]}; class numbers of this system run from 0 to {last}")
        if not self.names:
            raise UserError(f"got the class {prompt!r}, but the classes of this system have no names; give a number from 0 to {last}")
        nearest = difflib.get_close_matches(key, self.numbers, n=3, cutoff=0)
        near = ", ".join(repr(self.names[self.numbers[name]]) for name in nearest)
        raise UserError(f"there is no class {prompt!r}; the nearest of the {len(self.names)} names are {near}")

    def truncated_prompt(self, prompt: str) -> str:
        return prompt  # a class name is read whole

    def describe(self, tokens: Tokens) -> TextDescriptors:
        local = F.one_hot(tokens.ids, self.text_dim).float()
        return TextDescriptors(local, local[:, 0], tokens)


def normalised(name: str) -> str:
    return " ".join(name.split()).casefold()
