"""A folder or a hub id to a local folder; models on the Hugging Face hub are downloaded once and then read from its cache."""

import re
from collections.abc import Sequence
from pathlib import Path

from t2igan.errors import UserError
from t2igan.hub import download_folder

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)  # ORG/NAME
NEEDED = ("config.json", "model.safetensors")
# What save_model writes. The text encoder is not among them: config.json refers to it, and the encoder finds itself.
ALLOWED = (*NEEDED, "README.md")


def resolve(path_or_hub_id: Path | str, further: Sequence[str] = ()) -> Path:
    """An existing folder as it is, ORG/NAME as a downloaded folder; anything else comes back as a path, for `model_folder` to refuse.

    Args:
        further: files that are downloaded, too, where the model has them.

    Raises:
        UserError: the hub has no such model, the model lacks a file, or the hub cannot be reached and the model is not in its cache.
    """
    path = Path(path_or_hub_id)
    if path.exists() or not HUB_ID.fullmatch(str(path_or_hub_id)):
        return path
    folder = download_folder(str(path_or_hub_id), [*ALLOWED, *further])
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{path_or_hub_id} on the hub is not a t2igan model: it has no {' and no '.join(missing)}; choose another")
    return folder
