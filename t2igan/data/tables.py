"""A table of captions, .csv or .jsonl, to the captions of each file.

It has a column of FILE_COLUMNS and one of CAPTION_COLUMNS. A row that does not fit is refused with its line: otherwise a comma that nobody
quoted would cut a caption short.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from t2igan.errors import UserError
from t2igan.plain_text import clean_captions, read_text

FILE_COLUMNS = ("file", "file_name", "image")
CAPTION_COLUMNS = ("caption", "captions", "text")


def read_table(path: Path) -> dict[str, list[str]]:
    """{file: captions}; a file may have several rows, and one without a visible caption has an empty list.

    Raises:
        UserError: there is no such file, it is neither .csv nor .jsonl, it is not text, columns are missing, or a row does not fit.
    """
    if not path.is_file():
        raise UserError(f"no caption file {path}; give --captions a .csv or .jsonl, or the word folders or none")
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path.name} is neither .csv nor .jsonl; --captions takes one of the two, or the word folders or none")
    table: dict[str, list[str]] = {}
    for line, row in readers[path.suffix.lower()](path):
        place = f"{path.name}, line {line}"
        file_column = next((column for column in FILE_COLUMNS if row.get(column)), None)
        caption_column = next((column for column in CAPTION_COLUMNS if column in row), None)
        if file_column is None or caption_column is None:
            raise UserError(f"{place}: columns {list(row)}; needs one of {FILE_COLUMNS} and one of {CAPTION_COLUMNS}")
        file, found = row[file_column], row[caption_column]
        captions = found if isinstance(found, list) else [] if found is None else [found]
        if not isinstance(file, str) or not all(isinstance(caption, str) for caption in captions):
            raise UserError(f"{place}: {file_column} needs text, {caption_column} text or a list of texts")
        try:
            table.setdefault(file_name(file), []).extend(clean_captions(captions))
        except ValueError as error:
            raise UserError(f"{place}: {caption_column} holds {error}") from None
    return table


def file_name(written: str) -> str:
    """A file as a table names it to its path below the folder of images; a table of Windows has backslashes."""
    return PurePosixPath(written if "/" in written else written.replace("\\", "/")).as_posix()


def _csv_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """(line, row by column)."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header: list[str] | None = None
    try:
        for values in reader:
            if not values:
                continue
            if header is None:
                header = [name.strip() for name in values]
                if len(set(header)) < len(header):
                    raise UserError(f"{path.name}, line {reader.line_num} names a column twice: {header}; rename one")
            elif len(values) != len(header):
                raise UserError(
                    f"{path.name}, line {reader.line_num} has {len(values)} values, its header {len(header)}; "
                    f"a caption that holds a comma needs double quotes around it"
                )
            else:
                yield reader.line_num, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise UserError(f"{path.name}, line {reader.line_num} is not comma-separated ({error}); save it as csv") from None


def _json_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """(line, object)."""
    for line, written in enumerate(read_text(path).split("\n"), 1):
        if not written.strip():
            continue
        try:
            row = json.loads(written)
        except json.JSONDecodeError as error:
            raise UserError(f"{path.name}, line {line} is not JSON ({error.msg}); each line needs one object") from None
        except RecursionError:
            raise UserError(f"{path.name}, line {line} is nested too deeply; each line needs one flat object") from None
        if not isinstance(row, dict):
            raise UserError(f"{path.name}, line {line} is not a JSON object; each line needs {{'file': ..., 'caption': ...}}")
        yield line, row
