"""Runs the scripts of `eval/` as a user does, but in this process."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def script(root, monkeypatch, tmp_path) -> Callable[..., int]:
    """script("speed", "--model", folder, ...) -> the exit code; its cache is a new folder."""
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))

    def run(name: str, *words: str | int | float | Path) -> int:
        path = root / "eval" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, words)])
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            return end.code or 0
        return 0

    return run
