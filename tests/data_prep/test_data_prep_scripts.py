"""What all scripts of data_prep/ share."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "data_prep"
HEAVY = {"torch", "numpy", "PIL", "webdataset", "yaml", "open_clip"}
CODE = """
import runpy, sys
sys.path.insert(0, {folder!r})  # as Python does for a script
sys.argv = ["x", "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as done:
    assert done.code == 0
print("loaded:", sorted({heavy!r} & set(sys.modules)))
"""


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.py")))
def test_help_imports_nothing_heavy(script):
    code = CODE.format(folder=str(FOLDER), script=str(FOLDER / script), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "--debug" in done.stdout and done.stdout.endswith("loaded: []\n"), done.stdout + done.stderr
