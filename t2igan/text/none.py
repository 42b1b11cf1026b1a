"""Any prompt to descriptors of width 0: the unconditional systems, whose papers have no text."""

from dataclasses import dataclass

import torch

from t2igan.text.encoder import TextConfig, TextEncoder
from t2igan.types import TextDescriptors, Tokens


@dataclass(frozen=True)
class NoTextConfig(TextConfig):
    """Unconditional."""

    def build(self) -> "NoText":
        return NoText()


class NoText(TextEncoder):
    """Any prompt to local [b 1 0] and pooled [b 0]: modules that concatenate the pooled vector to another get nothing more."""

    conditional = False
    cacheable = False

    def __init__(self):
        super().__init__(token_dim=0, text_dim=0, max_tokens=1)

    def load_pretrained(self) -> None:
        """Nothing to read."""

    def fingerprint(self) -> str:
        return "none"

    def count_parameters(self) -> int:
        return 0

    def tokenize(self, prompts: list[str]) -> Tokens:
        return Tokens(torch.zeros(len(prompts), 1, dtype=torch.long), torch.ones(len(prompts), 1, dtype=torch.bool))

    def truncated_prompt(self, prompt: str) -> str:
        return prompt  # no part of it is lost by truncation

    def describe(self, tokens: Tokens) -> TextDescriptors:
        local = torch.zeros(tokens.ids.shape[0], 1, 0, device=tokens.ids.device)
        return TextDescriptors(local, local[:, 0], tokens)
