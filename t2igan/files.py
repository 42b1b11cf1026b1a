"""Atomic writes: a folder or a file appears complete under its name, or not at all; a folder has one writer at a time."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from t2igan.errors import UserError

HASHES = "SHA256SUMS"  # which `sha256sum -c` reads


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` to write into. It replaces `folder` on success; on failure it is removed and `folder` stays.

    Raises:
        UserError: the hidden folder cannot be made, or another process is writing `folder`.
    """
    folder = folder.resolve()
    with one_writer(folder) as alone:
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.????????.partial") if alone else ():  # by a killed process
            shutil.rmtree(left, ignore_errors=True)
        temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
        temporary.mkdir()
        try:
            yield temporary
            replace_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def one_writer(folder: Path) -> Iterator[bool]:
    """Keeps other processes from writing `folder` meanwhile. The lock, `.NAME.lock` beside it, ends with this process, however that ends.

    Yields False, after a warning, where the file system has no locks.

    Raises:
        UserError: another process is writing `folder`, or nothing can be written beside it.
    """
    folder = folder.resolve()
    if not folder.name:
        raise UserError(f"{folder} is no place for a folder of files; choose another one")
    path = folder.with_name(f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        descriptor, alone = _lock(path)
    except BlockingIOError:
        raise UserError(f"another process is writing {folder}; wait for its end, or choose another place") from None
    except OSError as error:
        raise UserError(f"cannot write beside {folder} ({error.strerror}); choose another place") from error
    try:
        yield alone
    finally:
        path.unlink(missing_ok=True)  # while it is locked: whoever opened it meanwhile sees that it has gone
        os.close(descriptor)


def _lock(path: Path) -> tuple[int, bool]:
    """A descriptor of the file at `path`, and whether it is locked. Raises BlockingIOError where another process has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor, True
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                warnings.warn(f"the file system of {path.parent} has no locks: let no other command write there meanwhile", stacklevel=2)
                return descriptor, False
            if not isinstance(error, FileNotFoundError):
                os.close(descriptor)
                raise
        os.close(descriptor)  # its last owner has removed the file


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to. It is renamed to `path` on success and removed on failure.

    Its name holds the host and the process, so that two processes may write the same file at the same time: the last one wins.
    A link or a device, such as /dev/stdout, is written directly.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        yield path
        return
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether this is what an `atomic_file` or `atomic_folder` writes into, or its lock, perhaps left by a killed process."""
    return path.name.startswith(".") and path.name.endswith((".partial", ".lock"))


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes strict JSON atomically: keys sorted, one space of indentation. Missing parent folders are made.

    Raises:
        ValueError: `value` holds NaN or an infinity, which JSON does not have.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_folder(folder: Path, tensors: dict[str, dict[str, torch.Tensor]], files: dict[str, str]) -> None:
    """Writes `NAME.safetensors` for each state dict and a text file for each of `files`, atomically and flushed to the disk."""
    with atomic_folder(folder) as temporary:
        for name, state in tensors.items():
            write_tensors(temporary / f"{name}.safetensors", state)
        for name, content in files.items():
            (temporary / name).write_text(content, encoding="utf-8")
        for path in [*temporary.iterdir(), temporary]:
            _flush(path)
    _flush(folder.parent)


def write_tensors(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Raises OSError, as other writers do, where the disk refuses: safetensors says it in an error of its own."""
    try:
        save_file({key: value.detach().contiguous().cpu() for key, value in state.items()}, path)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None
    mask = os.umask(0)  # there is no other way to read it
    os.umask(mask)
    path.chmod(0o666 & ~mask)  # safetensors makes files that their owner alone reads


def replace_folder(new: Path, folder: Path) -> None:
    """Renames `new` to `folder`. A kill at any moment leaves one of the two complete, the old one perhaps as `.NAME.old`."""
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def file_hash(file: Path) -> str | None:
    """The SHA-256 of a file; None where there is none."""
    if not file.is_file():
        return None
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_hashes(folder: Path) -> None:
    """The hashes of a folder's files, beside them."""
    files = sorted(path for path in folder.iterdir() if path.name != HASHES)
    write_text(folder / HASHES, "".join(f"{file_hash(path)}  {path.name}\n" for path in files))
