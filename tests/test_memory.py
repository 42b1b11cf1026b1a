"""Freed memory is kept, or handed back: counted by the pages that the kernel gives and by what is resident."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from t2igan.memory import VARIABLES, hand_back_freed_memory, reuse_freed_memory

ROOT = Path(__file__).resolve().parents[1]
START = """
import os, platform, resource, sys
from pathlib import Path
from t2igan.memory import hand_back_freed_memory, reuse_freed_memory
if sys.argv[1] == "elsewhere":
    platform.libc_ver = lambda: ("", "")
if sys.argv[1] != "leave":
    reuse_freed_memory()
def use(mib):
    block = bytearray(mib * 2**20)
    block[::4096] = b"1" * len(block[::4096])
"""
FAULTS = """
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    use(64)
before = faults()
for _ in range(8):
    use(64)
print(faults() - before)
"""
RESIDENT = """
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
before = resident()
use(64)
kept = resident() - before
hand_back_freed_memory()
print(kept, resident() - before)
"""


def c_library() -> str:
    """As the C library says itself, so that a t2igan that does not recognise glibc fails here."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # no such call, or no such question, on this system
        return ""


measured = pytest.mark.skipif("glibc" not in c_library(), reason="measures glibc's allocator")


def run(code: str, how: str, **variables: str) -> list[int]:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | variables
    command = [sys.executable, "-c", START + code, how]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize(("library", "variables"), [("", {}), ("glibc", {"MALLOC_TOP_PAD_": "0"})])
def test_the_allocator_is_not_touched_elsewhere_nor_where_the_user_has_set_it(library, variables, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platform.libc_ver", lambda: (library, ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("asked the C library"))
    reuse_freed_memory()
    if not library:
        hand_back_freed_memory()


@measured
def test_freed_memory_is_not_handed_back():
    (kept,), (left_alone,) = run(FAULTS, "reuse"), run(FAULTS, "leave")
    assert 10 * kept < left_alone


@measured
def test_whoever_sets_the_allocators_variables_is_left_alone():
    (kept,) = run(FAULTS, "reuse")
    (faults,) = run(FAULTS, "reuse", MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")
    assert 10 * kept < faults


@measured
def test_other_c_libraries_are_left_alone():
    (kept,), (faults,) = run(FAULTS, "reuse"), run(FAULTS, "elsewhere")
    assert 10 * kept < faults


@measured
def test_memory_handed_back_is_no_longer_resident():
    kept, left = run(RESIDENT, "reuse")
    assert kept > 48 and left < 16


class Network:
    """Holds its own method, as a CLIP's cache of captions does."""

    def __init__(self):
        self.encode = self.forward

    def forward(self):
        return None


def test_what_refers_to_itself_is_freed():
    gc.disable()
    try:
        alive = weakref.ref(Network())
        assert alive() is not None
        hand_back_freed_memory()
        assert alive() is None
    finally:
        gc.enable()
