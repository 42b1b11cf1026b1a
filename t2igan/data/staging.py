"""A data-set folder that appears complete or not at all."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t2igan.errors import UserError
from t2igan.folders import replace_folder

MARKER = "report.json"  # every data set we write has one; a folder without it is somebody's own


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; on success it takes the place of `out`, on failure it is removed and `out` stays.

    Raises:
        UserError: `out` is a file, or a folder with contents that no data-preparation script wrote.
    """
    check_replaceable(out)
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


def check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).exists():
        raise UserError(f"--out {out} holds files that are no data set of ours (no {MARKER}); give a new or empty folder")


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
