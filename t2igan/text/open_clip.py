"""A CLIP text tower through open_clip: by name and tag, from a local folder, or from the hub.

GigaGAN takes the penultimate layer's states of ViT-L/14 (Kang et al. 2023, arXiv:2303.05511, section 3.1).
"""

import logging
from bisect import bisect_right
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from t2igan.errors import UserError
from t2igan.plain_text import beginning, parse_json
from t2igan.ranges import Count
from t2igan.text.clip_folder import has_no_tower, load_over_tower, read_config
from t2igan.text.encoder import TextConfig, TextEncoder, locate
from t2igan.text.fingerprint import weights_fingerprint
from t2igan.types import TextDescriptors, Tokens


@dataclass(frozen=True)
class OpenClipTextConfig(TextConfig):
    model: str  # a name that open_clip knows (ViT-L-14), local-dir:FOLDER or hf-hub:ORG/REPO
    token_dim: Count  # the tower's width
    text_dim: Count  # of CLIP's embedding
    max_tokens: Count = 77  # longer prompts are cut
    pretrained: str | None = None  # open_clip's tag (openai) or a weight file, for a model given by name
    layer: int = -2  # the block whose token states are the local descriptors; -2 is the penultimate one

    def build(self) -> "OpenClipText":
        return OpenClipText(self)


class OpenClipText(TextEncoder):
    """Prompts to the token states of one block and CLIP's text embedding."""

    def __init__(self, config: OpenClipTextConfig):
        super().__init__(config.token_dim, config.text_dim, config.max_tokens)
        self.config = config
        self.tower: nn.Module | None = None

    def load_pretrained(self) -> None:
        self._take(*load_open_clip(self.config.model, self.config.pretrained))

    def load_architecture(self) -> None:
        self._take(*load_open_clip(self.config.model, self.config.pretrained, weights=False))

    def _take(self, clip: nn.Module, tokenizer: object) -> None:
        import open_clip

        self.tokenizer = tokenizer
        if isinstance(clip.text, open_clip.hf_model.HFTextEncoder):
            raise UserError(
                f"the text tower of {self.config.model!r} is a Hugging Face one; in the recipe, write kind: transformers and its folder"
            )
        self.tower = clip.text  # the image tower is dropped
        if self.tokenizer.context_length != self.max_tokens:
            raise UserError(
                f"the recipe has text.max_tokens {self.max_tokens}, this CLIP reads {self.tokenizer.context_length}; write that"
            )
        self._check_sizes(self.tower.width, self.tower.output_dim)

    def fingerprint(self) -> str:
        return weights_fingerprint(f"open_clip {self.config.layer} {self.tower}", self.tower)  # weights do not show the activation

    def count_parameters(self) -> int | None:
        """Computed from open_clip's table of sizes: importing the library would take longer than the rest of `show`."""
        package = find_spec("open_clip")
        config = Path(package.submodule_search_locations[0]) / "model_configs" / f"{self.config.model}.json" if package else None
        if config is None or not config.is_file():
            return None
        sizes = parse_json(config.read_text(encoding="utf-8"))
        text = sizes["text_cfg"]
        if not {"width", "layers", "vocab_size", "context_length"} <= set(text) or "hf_model_name" in text:
            return None
        width = text["width"]
        layer = 12 * width**2 + 13 * width  # attention 4w^2 + 4w, pointwise network 8w^2 + 5w, two norms 4w
        tables = (text["vocab_size"] + text["context_length"]) * width
        return tables + text["layers"] * layer + 2 * width + width * sizes["embed_dim"]

    def tokenize(self, prompts: list[str]) -> Tokens:
        ids = self.tokenizer([beginning(prompt, self.max_tokens, self._count) for prompt in prompts])
        assert (ids.max(1).values == self.tokenizer.eot_token_id).all()
        end = ids.argmax(-1, keepdim=True)  # the end token has the highest id; padding is 0 or the end token again
        return Tokens(ids, torch.arange(ids.shape[1]) <= end)

    def _count(self, prompt: str) -> int:
        return len(self.tokenizer.encode(prompt))

    def truncated_prompt(self, prompt: str) -> str:
        limit = self.max_tokens - 2  # the start and the end token take one place each
        prompt = beginning(prompt, self.max_tokens, self._count)
        if self._count(prompt) <= limit:
            return prompt
        return prompt[: bisect_right(range(len(prompt) + 1), limit, key=lambda n: self._count(prompt[:n])) - 1]

    def describe(self, tokens: Tokens) -> TextDescriptors:
        states = self.tower.forward_intermediates(tokens.ids, indices=[self.config.layer], output_fmt="NLC")
        return TextDescriptors(states["text_intermediates"][0], states["text_features"], tokens)


MAX_WORDS = 100_000  # about 20 MB


class WordCache(dict):
    """Words to their pieces, as open_clip's tokenizer keeps them for every word it ever met; this one begins again when it is full."""

    def __init__(self, special: dict[str, str]):
        super().__init__(special)
        self.special = dict(special)

    def __setitem__(self, word: str, pieces: str) -> None:
        if len(self) >= MAX_WORDS:
            self.clear()
            self.update(self.special)
        super().__setitem__(word, pieces)


def load_open_clip(model: str, pretrained: str | None = None, weights: bool = True) -> tuple[nn.Module, object]:
    """(frozen CLIP in eval mode, its tokenizer); the text tower is one module, `clip.text`.

    Without `weights` they are random, and nothing is read but a folder's configuration.

    Raises:
        UserError: unknown name or missing weights, naming what to get.
    """
    import open_clip

    name = f"local-dir:{locate(model.removeprefix('local-dir:'))}" if model.startswith("local-dir:") else model
    known = name.startswith(("local-dir:", "hf-hub:")) or name in open_clip.list_models()
    if not known:
        raise UserError(f"open_clip has no model {model!r}; give a name such as ViT-L-14, local-dir:FOLDER or hf-hub:ORG/REPO")
    if not name.startswith(("local-dir:", "hf-hub:")) and not pretrained:
        raise UserError(f"{model} is a name without weights: add pretrained (a tag such as openai, or a weight file) beside it")
    if not weights and name.startswith("hf-hub:"):
        raise UserError(f"the architecture of {model} is in its repository alone; download it and give local-dir:FOLDER")
    trained_quick = open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu") if pretrained else None
    if trained_quick is not None and trained_quick != open_clip.get_model_config(name).get("quick_gelu", False):
        other = name.removesuffix("-quickgelu") if not trained_quick else f"{name}-quickgelu"
        raise UserError(f"the weights {pretrained!r} were trained with another activation than {name} has; the model is {other}")
    folder = Path(name.removeprefix("local-dir:")) if name.startswith("local-dir:") else None
    try:
        towerless = folder is not None and has_no_tower(folder)
        if towerless or not weights:
            logging.disable(logging.WARNING)  # open_clip warns that weights are random
        if towerless:
            clip, tokenizer = load_over_tower(folder, weights)
        else:
            options = (
                {"pretrained": pretrained, "device": "cpu"} if weights else {"load_weights": False, "device": torch.get_default_device()}
            )
            clip = open_clip.create_model(name, force_custom_text=True, **options, **_own_text_tower(name))
            tokenizer = open_clip.get_tokenizer(name)
        if isinstance(tokenizer, open_clip.SimpleTokenizer):
            tokenizer.cache = WordCache(tokenizer.cache)
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"no CLIP weights for {model!r} ({reason}); give local-dir:FOLDER with open_clip_config.json and weights") from None
    finally:
        logging.disable(logging.NOTSET)
    return clip.eval().requires_grad_(False), tokenizer


def _own_text_tower(name: str) -> dict:
    """Options that point a local folder's Hugging Face text tower to the folder's present path, as the folder may have been moved."""
    folder = Path(name.removeprefix("local-dir:"))
    if not name.startswith("local-dir:") or not (folder / "config.json").is_file():
        return {}
    text = read_config(folder)["model_cfg"].get("text_cfg", {})
    return {"text_cfg": text | {"hf_model_name": str(folder.resolve()), "hf_model_pretrained": False}} if "hf_model_name" in text else {}
