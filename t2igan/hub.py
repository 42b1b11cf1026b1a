"""Downloads from the Hugging Face hub, once: afterwards its cache serves."""

import sys
from collections.abc import Sequence
from pathlib import Path

from t2igan.errors import UserError

PREFIX = "hf-hub:"  # of a repository on the hub, where a path may stand too


def download_folder(hub_id: str, patterns: Sequence[str], absent: str | None = None) -> Path:
    """Of the newest snapshot of a repository, or the cached one where the hub cannot be reached, the files of these patterns.

    Args:
        absent: how a message begins; None: that there is no folder of that name.

    Raises:
        UserError: there is no such repository, it may not be read, or the hub cannot be reached and its cache has nothing.
    """
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
    absent = absent or f"there is no folder {hub_id}"
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns)))
    except RepositoryNotFoundError:
        raise UserError(f"{absent}, and the hub has no model of that name that you may read; check the name, or `hf auth login`") from None
    except HFValidationError:
        raise UserError(f"{absent}, and the hub allows no such name; check the name") from None
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, OfflineModeIsEnabled):
            raise UserError(f"{absent}, and HF_HUB_OFFLINE keeps the hub's models from being downloaded; unset it") from None
        reason = first_line(error.__cause__ or error)
        raise UserError(f"{absent}, and the hub cannot be reached ({reason}); check the name and the network") from None
    except (HTTPError, FileMetadataError) as error:
        raise UserError(f"downloading {hub_id} from the hub failed ({first_line(error)}); try again") from None


def download_file(hub_id: str, name: str) -> Path:
    """One file of a repository. Raises UserError as `download_folder`, and where the repository has no such file."""
    path = download_folder(hub_id, [name, "README.md"], f"{name} of {hub_id} is not in the hub's cache") / name
    if not path.is_file():
        raise UserError(f"{hub_id} on the hub has no {name}; choose another repository")
    return path


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
