"""Freed memory is kept: counted by the pages that the kernel hands out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2igan.memory import hand_back_freed_memory, reuse_freed_memory

ROOT = Path(__file__).resolve().parents[1]
COUNT = """
import resource, sys
from t2igan.memory import reuse_freed_memory
if sys.argv[1] == "reuse":
    reuse_freed_memory()
def round():
    for _ in range(8):
        block = bytearray(64 * 2**20)
        block[::4096] = b"1" * len(block[::4096])
        del block
round()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults of glibc's allocator")


def faults(how: str, **variables: str) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | variables
    done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    return int(done.stdout or pytest.fail(done.stderr))


@linux
def test_freed_memory_is_not_handed_back():
    pages = 8 * 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    assert faults("reuse") < pages / 10


@linux
def test_memory_handed_back_is_no_longer_resident():
    reuse_freed_memory()
    block = bytearray(64 * 2**20)
    block[::4096] = b"1" * len(block[::4096])
    held = resident()
    del block
    hand_back_freed_memory()
    assert held - resident() > 48 * 2**20


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux
def test_who_sets_the_allocators_variables_is_left_alone():
    assert faults("reuse", MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072") > 10 * (faults("reuse") + 1)
