"""Any Hugging Face text tower (BERT-like, CLIP, T5), from a local folder, an installed package or the hub."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from torch import nn

from t2igan.errors import UserError
from t2igan.files import file_hash
from t2igan.plain_text import beginning
from t2igan.ranges import Count
from t2igan.text.encoder import TextConfig, TextEncoder, locate
from t2igan.text.fingerprint import weights_fingerprint
from t2igan.types import TextDescriptors, Tokens


@dataclass(frozen=True)
class TransformersTextConfig(TextConfig):
    model: str  # a folder, package:NAME/SUB for a folder inside an installed package, or a hub name
    token_dim: Count  # the tower's width
    max_tokens: Count  # longer prompts are cut
    pool: Literal["mean", "last"] = "mean"  # mean of the token states at unit length (sentence encoders), or the last true token (CLIP)
    layer: int = -1  # whose hidden states are the local descriptors; -1 the last (after the final norm), -2 the penultimate
    sha256: str | None = None  # of model.safetensors, checked on load

    def build(self) -> "TransformersText":
        return TransformersText(self)


class TransformersText(TextEncoder):
    """Prompts to token states and one vector per prompt."""

    def __init__(self, config: TransformersTextConfig):
        super().__init__(config.token_dim, config.token_dim, config.max_tokens)
        self.config = config
        self.tower: nn.Module | None = None

    def load_pretrained(self) -> None:
        from transformers import AutoConfig, AutoModelForTextEncoding, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()  # it would list unused weights, and warn about long prompts as CaptionEncoder does
        where = locate(self.config.model)
        if self.config.sha256:
            verify_hash(Path(where), self.config.sha256)
        with self._told_where_it_is_missing():
            self.tokenizer = AutoTokenizer.from_pretrained(where)
            config = AutoConfig.from_pretrained(where).get_text_config()  # the text half of a whole CLIP
            self._take(AutoModelForTextEncoding.from_pretrained(where, config=config, dtype=torch.float32))

    def load_architecture(self) -> None:
        from transformers import AutoConfig, AutoModelForTextEncoding

        with self._told_where_it_is_missing():
            config = AutoConfig.from_pretrained(locate(self.config.model)).get_text_config()
            self._take(AutoModelForTextEncoding.from_config(config, dtype=torch.float32))

    @contextmanager
    def _told_where_it_is_missing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"no text encoder at {self.config.model!r} ({reason}); give text.model a folder made by save_pretrained, or go online"
            ) from None

    def _take(self, tower: nn.Module) -> None:
        self.tower = tower.eval().requires_grad_(False)
        width = self.tower.config.hidden_size
        self._check_sizes(width, width)
        positions = getattr(self.tower.config, "max_position_embeddings", None)  # T5 has none
        if positions and self.max_tokens > positions:
            raise UserError(f"text.max_tokens is {self.max_tokens}, {self.config.model!r} reads at most {positions}; write that")

    def train_tower(self) -> None:
        if self.config.layer != -1:
            raise UserError("a tower that trains is read at its last layer; set text.layer to -1")
        if hasattr(self.tower, "pooler"):
            self.tower.pooler = None  # BERT's, after the states
        super().train_tower()

    def fingerprint(self) -> str:
        return weights_fingerprint(f"transformers {self.config.pool} {self.config.layer} {self.max_tokens}", self.tower)

    def count_parameters(self) -> int | None:
        from transformers import AutoConfig, AutoModelForTextEncoding

        try:
            config = AutoConfig.from_pretrained(locate(self.config.model), local_files_only=True).get_text_config()
        except (OSError, ValueError):
            return None
        with torch.device("meta"):
            return sum(p.numel() for p in AutoModelForTextEncoding.from_config(config).parameters())

    def tokenize(self, prompts: list[str]) -> Tokens:
        read = [beginning(prompt, self.max_tokens, self._count) for prompt in prompts]
        padded = self.tokenizer(read, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt")
        return Tokens(padded["input_ids"], padded["attention_mask"].bool())

    def _count(self, prompt: str) -> int:
        return len(self.tokenizer(prompt)["input_ids"])

    def truncated_prompt(self, prompt: str) -> str:
        prompt = beginning(prompt, self.max_tokens + 1, self._count)
        if self._count(prompt) <= self.max_tokens:
            return prompt
        if not self.tokenizer.is_fast:  # a slow tokenizer has no offsets
            fits = bisect_right(range(len(prompt)), self.max_tokens, key=lambda n: self._count(prompt[:n]))
            return prompt[: fits - 1]
        read = self.tokenizer(prompt, truncation=True, max_length=self.max_tokens, return_offsets_mapping=True)
        return prompt[: max(end for _, end in read["offset_mapping"])]

    def describe(self, tokens: Tokens) -> TextDescriptors:
        mask = None if tokens.mask.is_meta else tokens.mask.long()  # the library reads a mask's values, which are not there on that device
        states = self.tower(input_ids=tokens.ids, attention_mask=mask, output_hidden_states=self.config.layer != -1)
        local = states.last_hidden_state if self.config.layer == -1 else states.hidden_states[self.config.layer]
        if self.config.pool == "mean":
            mask = tokens.mask[..., None].float()
            pooled = nn.functional.normalize((local * mask).sum(1) / mask.sum(1), dim=-1)
        else:
            pooled = local[torch.arange(len(local)), tokens.mask.sum(1) - 1]
        return TextDescriptors(local, pooled, tokens)


def verify_hash(folder: Path, sha256: str) -> None:
    """Raises UserError unless `folder/model.safetensors` has this SHA-256."""
    file = folder / "model.safetensors"
    got = file_hash(file)
    if got is None:
        raise UserError(f"no weights at {file}: install the package again, or correct text.model")
    if got != sha256:
        raise UserError(f"{file} has SHA-256 {got[:16]}..., the recipe has {sha256[:16]}...: get the file again, or correct text.sha256")
