"""Atomic writes: a folder of weights and text, or a JSON file, appears whole or not at all."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file


def write_folder(folder: Path, tensors: dict[str, dict[str, torch.Tensor]], files: dict[str, str]) -> None:
    """`NAME.safetensors` for each state dict and a text file for each of `files`, atomically; an existing folder is replaced."""
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, state in tensors.items():
        save_file({key: value.detach().contiguous().cpu() for key, value in state.items()}, temporary / f"{name}.safetensors")
    for name, content in files.items():
        (temporary / name).write_text(content)
    for path in [*temporary.iterdir(), temporary]:
        _flush(path)
    replace_folder(temporary, folder)
    _flush(folder.parent)


def write_json(path: Path, value: object) -> None:
    """`value` as indented JSON, atomically; missing parent folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    _flush(temporary)
    os.replace(temporary, path)


def replace_folder(new: Path, folder: Path) -> None:
    """Puts `new` in the place of `folder` by renaming: killed at any moment, it leaves one of the two, the old one as `.NAME.old`."""
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
