"""A small CLIP's folder: its projection of text, and where its text tower is.

A published one leaves out the tower, a frozen encoder of an installed package, which open_clip_config.json names:

    {"model_cfg": ..., "preprocess_cfg": ..., "text_tower": {"model": "package:NAME/SUB", "sha256": ...}}

The folder then holds the image tower and the projection only, which open_clip itself does not read. data_prep/publish_clip.py makes one.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from t2igan.errors import UserError
from t2igan.files import file_hash
from t2igan.plain_text import parse_json
from t2igan.text.encoder import locate

CONFIG, WEIGHTS, TOWER_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors", "model.safetensors"
TEXT_TOWER = "text_tower"  # the key of the configuration, beside open_clip's own
PROJECTION = "text.proj."
TOWER = "text.transformer."  # where the tower's weights are in open_clip's names


def read_config(folder: Path) -> dict:
    """The whole of a folder's `open_clip_config.json`. Raises OSError or ValueError."""
    return parse_json((folder / CONFIG).read_text(encoding="utf-8"))


def has_no_tower(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and TEXT_TOWER in read_config(folder)


def load_over_tower(folder: Path, weights: bool) -> tuple[nn.Module, object]:
    """(CLIP, its tokenizer) of a folder without its text tower; without `weights`, they are random.

    Raises:
        UserError: the package is not installed, or its encoder is not the one that the folder's CLIP was trained on.
        OSError, RuntimeError, ValueError: as open_clip, for a folder that is broken.
    """
    import open_clip

    config = read_config(folder)
    named, text = config[TEXT_TOWER], config["model_cfg"]["text_cfg"]
    if not isinstance(named, dict) or set(named) != {"model", "sha256"}:
        raise UserError(f"{folder / CONFIG}: {TEXT_TOWER} needs model and sha256")
    where = Path(locate(named["model"]))
    if weights and (found := file_hash(where / TOWER_WEIGHTS)) != named["sha256"]:
        got = "is missing" if found is None else f"has SHA-256 {found[:16]}..., it needs {named['sha256'][:16]}..."
        raise UserError(f"the text tower of {folder} is {named['model']}, whose {TOWER_WEIGHTS} {got}; install that package again")
    own = text | {"hf_model_name": str(where), "hf_model_pretrained": False}
    device = "cpu" if weights else torch.get_default_device()
    clip = open_clip.create_model(f"local-dir:{folder}", force_custom_text=True, load_weights=False, device=device, text_cfg=own)
    if weights:
        encoder = {TOWER + name: value for name, value in load_file(where / TOWER_WEIGHTS).items()}
        clip.load_state_dict({name: value for name, value in encoder.items() if name in clip.state_dict()} | load_file(folder / WEIGHTS))
    return clip, open_clip.tokenizer.HFTokenizer(str(where), context_length=text["context_length"])


def has_tower(folder: Path, encoder: Path) -> bool:
    """Whether a file of weights is the text tower of the folder's CLIP. Raises OSError, SafetensorError or ValueError for broken files."""
    named = read_config(folder).get(TEXT_TOWER)
    if named is not None:
        return isinstance(named, dict) and named.get("sha256") == file_hash(encoder)
    return encoder.is_file() and holds_tower(load_file(folder / WEIGHTS), load_file(encoder))


def holds_tower(clip: dict[str, Tensor], encoder: dict[str, Tensor]) -> bool:
    """Whether the text tower among a CLIP's tensors is that encoder."""
    own = {name.removeprefix(TOWER): value for name, value in clip.items() if name.startswith(TOWER)}
    return bool(own) and all(name in encoder and torch.equal(value, encoder[name].to(value.dtype)) for name, value in own.items())


def projection_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of the projection of mean token states, by their names in it, as fp32.

    Raises:
        OSError, SafetensorError: the folder is broken.
        ValueError: its CLIP projects something else than the mean.
    """
    try:
        pooler = read_config(folder)["model_cfg"]["text_cfg"]["hf_pooler_type"]
    except (KeyError, TypeError):
        raise ValueError(f"{CONFIG} names no hf_pooler_type") from None
    if pooler != "mean_pooler":
        raise ValueError(f"its hf_pooler_type is {pooler}, needs mean_pooler")
    weights = load_file(folder / WEIGHTS)
    return {name.removeprefix(PROJECTION): value.float() for name, value in weights.items() if name.startswith(PROJECTION)}
