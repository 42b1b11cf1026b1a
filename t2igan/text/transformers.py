"""Any Hugging Face text tower (BERT-like, CLIP, T5), from a local folder, an installed package or the hub."""

import hashlib
from bisect import bisect_right
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from torch import nn

from t2igan.errors import UserError
from t2igan.text.encoder import TextEncoder, locate
from t2igan.types import TextDescriptors, Tokens


class TransformersText(TextEncoder):
    """Prompts to token states and one vector each.

    Args:
        model: a folder, `package:NAME/SUB` for a folder inside an installed package, or a hub name.
        pool: `mean` of the token states at unit length (sentence encoders) or the state at the `last` true token (CLIP).
        layer: which hidden states are the local descriptors; -1 the last (after the final norm), -2 the penultimate.
        sha256: if given, the weight file must have this hash.
    """

    def __init__(
        self,
        model: str,
        token_dim: int,
        max_tokens: int,
        pool: Literal["mean", "last"] = "mean",
        layer: int = -1,
        sha256: str | None = None,
    ):
        super().__init__(token_dim, token_dim, max_tokens)
        self.model, self.pool, self.layer, self.sha256 = model, pool, layer, sha256
        self.tower: nn.Module | None = None

    def load_pretrained(self) -> None:
        from transformers import AutoConfig, AutoModelForTextEncoding, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()  # its lists of weights not needed, and its own word on long prompts
        where = locate(self.model)
        if self.sha256:
            verify_hash(Path(where), self.sha256)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(where)
            config = AutoConfig.from_pretrained(where).get_text_config()  # of a whole CLIP, its text half
            tower = AutoModelForTextEncoding.from_pretrained(where, config=config, dtype=torch.float32)
            self.tower = tower.eval().requires_grad_(False)
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"no text encoder at {self.model!r} ({reason}); give text.model a folder made by save_pretrained, or go online"
            ) from None
        width = self.tower.config.hidden_size
        self._check_sizes(width, width)
        positions = getattr(self.tower.config, "max_position_embeddings", None)  # T5 has none
        if positions and self.max_tokens > positions:
            raise UserError(f"text.max_tokens is {self.max_tokens}, {self.model!r} reads at most {positions}; put that in the recipe")

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"transformers {self.pool} {self.layer} {self.max_tokens}".encode())
        for name, weight in self.tower.state_dict().items():
            digest.update(name.encode())
            digest.update(weight.flatten()[:: max(1, weight.numel() // 4096)].contiguous().numpy().tobytes())
        return digest.hexdigest()

    def count_parameters(self) -> int | None:
        from transformers import AutoConfig, AutoModelForTextEncoding

        try:
            config = AutoConfig.from_pretrained(locate(self.model), local_files_only=True).get_text_config()
        except (OSError, ValueError):
            return None
        with torch.device("meta"):
            return sum(p.numel() for p in AutoModelForTextEncoding.from_config(config).parameters())

    def tokenize(self, prompts: list[str]) -> Tokens:
        padded = self.tokenizer(prompts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt")
        return Tokens(padded["input_ids"], padded["attention_mask"].bool())

    def truncated_prompt(self, prompt: str) -> str:
        if len(self.tokenizer(prompt)["input_ids"]) <= self.max_tokens:
            return prompt
        if not self.tokenizer.is_fast:  # it does not tell where its tokens stand
            fits = bisect_right(range(len(prompt)), self.max_tokens, key=lambda n: len(self.tokenizer(prompt[:n])["input_ids"]))
            return prompt[: fits - 1]
        read = self.tokenizer(prompt, truncation=True, max_length=self.max_tokens, return_offsets_mapping=True)
        return prompt[: max(end for _, end in read["offset_mapping"])]

    def forward(self, tokens: Tokens) -> TextDescriptors:
        with torch.no_grad():
            states = self.tower(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=self.layer != -1)
        local = states.last_hidden_state if self.layer == -1 else states.hidden_states[self.layer]
        if self.pool == "mean":
            mask = tokens.mask[..., None].float()
            pooled = nn.functional.normalize((local * mask).sum(1) / mask.sum(1), dim=-1)
        else:
            pooled = local[torch.arange(len(local)), tokens.mask.sum(1) - 1]
        return TextDescriptors(local, pooled, tokens)


def verify_hash(folder: Path, sha256: str) -> None:
    """Raises UserError unless `folder/model.safetensors` has this SHA-256."""
    file = folder / "model.safetensors"
    if not file.is_file():
        raise UserError(f"no weights at {file}: install the package again, or correct text.model")
    with open(file, "rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != sha256:
        raise UserError(
            f"{file} has SHA-256 {got[:16]}..., the recipe asks for {sha256[:16]}...: get the file again, or correct text.sha256"
        )
