"""A trained small CLIP to a folder in open_clip's local-dir layout, and its caption embeddings to the cache."""

import shutil
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from small_clip.config import ClipTraining
from small_clip.model import SmallClip
from small_clip.text import TEXT_MODEL
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.files import write_json
from t2igan.text.cache import default_cache
from t2igan.text.encoder import locate
from t2igan.text.transformers import TransformersText

CLIP_MARKER = "open_clip_config.json"  # beside report.json, in a folder that is a CLIP
TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # the image tower takes [-1, 1]
COMPARED = 16  # captions that both text towers encode
MAX_DIFFERENCE = 5e-3  # of their embeddings; cached sentence features are half precision


def save(model: SmallClip, config: ClipTraining, encoder: TransformersText, folder: Path, final: Path) -> None:
    """Writes config, weights of both towers and tokenizer to `folder`, which will be renamed to `final`."""
    source = Path(locate(TEXT_MODEL))
    for name in TEXT_FILES:
        shutil.copyfile(source / name, folder / name)
    parts = {"visual": model.visual, "text.transformer": encoder.tower, "text.proj": model.proj}
    state = {f"{part}.{name}": weight for part, module in parts.items() for name, weight in module.state_dict().items()}
    state["logit_scale"] = model.logit_scale
    kept = {name: weight.detach().contiguous() for name, weight in state.items() if not name.startswith("text.transformer.pooler.")}
    save_file(kept, folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").chmod(0o644)  # safetensors makes it private
    text = {
        "hf_model_name": str(final),  # read by open_clip itself; load_open_clip takes the folder's present place
        "hf_tokenizer_name": str(final),
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": config.projection,
        "context_length": config.max_tokens,
    }
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    clip = {"embed_dim": config.embed_dim, "vision_cfg": config.vision, "text_cfg": text}
    write_json(folder / CLIP_MARKER, {"model_cfg": clip, "preprocess_cfg": preprocess})


def cache_embeddings(folder: Path, captions: list[str], embeddings: Float[Tensor, "n d"]) -> None:
    """Writes the captions' embeddings to the disk cache, so that training a GAN with this CLIP runs no text tower.

    Raises:
        UserError: the saved text tower gives other embeddings than the trained one.
    """
    scorer = ClipScorer(f"local-dir:{folder}", cache=default_cache())
    scorer.load_pretrained()
    some = slice(None, None, -(-len(captions) // COMPARED))
    with torch.no_grad():
        saved = scorer.clip.encode_text(scorer.tokenizer(captions[some]), normalize=True)
    difference = (saved - embeddings[some]).abs().max().item()
    if not difference < MAX_DIFFERENCE:  # true of NaN, too
        raise UserError(
            f"the saved text tower differs from the trained one by {difference}, more than {MAX_DIFFERENCE}; "
            "the installed open_clip_torch builds it differently: install the version in constraints.txt"
        )
    scorer.remember(captions, embeddings)
