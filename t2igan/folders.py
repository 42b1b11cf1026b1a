"""Folders of weights and text that appear whole or not at all."""

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
    if folder.exists():
        # two renames, so that at no moment the old content is gone and the new one not yet there
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
        os.replace(temporary, folder)
        shutil.rmtree(old)
    else:
        os.replace(temporary, folder)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
