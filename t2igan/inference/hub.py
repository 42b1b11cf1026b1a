"""A folder or a hub id to a local folder; models on the Hugging Face hub are downloaded once and then read from its cache."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from t2igan.errors import UserError

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
    folder = download(str(path_or_hub_id), further)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{path_or_hub_id} on the hub is not a t2igan model: it has no {' and no '.join(missing)}; choose another")
    return folder


def download(hub_id: str, further: Sequence[str] = ()) -> Path:
    """The newest snapshot of a hub repository, or the cached one where the hub cannot be reached. Raises UserError as `resolve`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        FileMetadataError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()  # one of them would be printed there all the same
    absent = f"there is no folder {hub_id}"
    try:
        return Path(snapshot_download(hub_id, allow_patterns=[*ALLOWED, *further]))
    except RepositoryNotFoundError:
        raise UserError(f"{absent}, and the hub has no model of that name that you may read; check the name, or `hf auth login`") from None
    except HFValidationError:
        raise UserError(f"{absent}, and the hub allows no such name; check the name") from None
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, OfflineModeIsEnabled):
            raise UserError(f"{absent}, and HF_HUB_OFFLINE keeps the hub's models from being downloaded; unset it") from None
        reason = _first_line(error.__cause__ or error)
        raise UserError(f"{absent}, and the hub cannot be reached ({reason}); check the name and the network") from None
    except (HTTPError, FileMetadataError) as error:
        raise UserError(f"downloading {hub_id} from the hub failed ({_first_line(error)}); try again") from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
