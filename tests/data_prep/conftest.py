"""Runs the data-preparation scripts as a user does, and reads back what they wrote."""

import io
import json
import runpy
import subprocess
import sys
import tarfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parents[2]
# As Python does for a script in data_prep/, but last: data_prep/emoji.py must not hide the `emoji` package
sys.path.append(str(ROOT / "data_prep"))
install_import_hook(["small_clip", "art", "emoji_art", "drawing_set"], "beartype.beartype")


@pytest.fixture(scope="session")
def run_script():
    """run_script("emoji.py", "--out", ...) -> how it ended; it runs in this process, which has imported torch already.

    With options of subprocess.run, such as `env`, it is a process of its own.
    """

    def run(script: str, *arguments, **options) -> subprocess.CompletedProcess:
        command = [str(ROOT / "data_prep" / script), *map(str, arguments)]
        if options:
            return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, **options)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", command), chdir(ROOT):
            try:
                runpy.run_path(command[0], run_name="__main__")
                code = 0
            except SystemExit as end:
                code = end.code or 0
        return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def read_shards():
    """read_shards(folder) -> [(image bytes, .txt, .json record)] in the order of the tars."""

    def read(folder: Path) -> list[tuple[bytes, str, dict]]:
        found: dict[str, dict[str, bytes]] = {}
        for tar in sorted(Path(folder).glob("*.tar")):
            with tarfile.open(tar) as archive:
                for member in archive:
                    key, _, extension = member.name.partition(".")
                    found.setdefault(key, {})[extension] = archive.extractfile(member).read()
        return [(parts["png"], parts["txt"].decode(), json.loads(parts["json"])) for parts in found.values()]

    return read


@pytest.fixture
def refused(run_script):
    """refused(script, ...) runs a script that must end with exit code 2 and one line on stderr; returns that line."""

    def run(script: str, *arguments, **options) -> str:
        done = run_script(script, *arguments, **options)
        assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        return done.stderr

    return run
