"""A data-set folder that appears complete or not at all."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t2igan.errors import UserError
from t2igan.files import replace_folder

REPORT = "report.json"  # every folder that we write has one
DATASET_MARKER = "contact_sheet.png"  # and one of these, which says what it is
CLIP = "open_clip_config.json"


@contextmanager
def atomic_folder(out: Path, marker: str = DATASET_MARKER) -> Iterator[Path]:
    """A folder beside `out` to write into; on success it takes the place of `out`, on failure it is removed and `out` stays.

    Raises:
        UserError: `out` is a file, or a folder with contents other than an earlier one of its kind (report.json and the marker).
    """
    check_replaceable(out, marker)
    out = out.resolve()
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write beside {out} ({error.strerror}); choose another --out") from error
    try:
        yield temporary
        replace_folder(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(out: Path, marker: str = DATASET_MARKER) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not ((out / REPORT).exists() and (out / marker).exists()):
        raise UserError(f"--out {out} holds something else than what this writes (no {REPORT} with {marker}); give a new or empty folder")


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
