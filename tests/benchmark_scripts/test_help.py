"""Every benchmark tells what it does without a second of loading."""

import runpy
import subprocess
import sys

import pytest
from tiny import ROOT

SCRIPTS = (
    "ablation",
    "alias_free",
    "checkouts",
    "coco_pipeline",
    "drawings_peers",
    "gigagan",
    "gigagan_peer_training",
    "flow",
    "gpu",
    "lineage",
    "seeds",
    "stylegan_t",
    "systems",
    "text_to_512",
    "training",
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_needs_no_torch(name):
    code = (
        "import runpy, sys\nsys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, str(ROOT / "benchmarks" / f"{name}.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "False\n", done.stderr
    assert runpy.run_path(command[-1])["__doc__"].splitlines()[0] in done.stdout
