"""How the process asks the operating system for memory."""

import ctypes
import os
import platform

# mallopt's numbers and values: blocks up to 2 GiB come from the heap, it grows by 256 MiB, and its end is never handed back
MMAP_THRESHOLD, TOP_PAD, TRIM_THRESHOLD = (-3, 2**31 - 1), (-2, 2**28), (-1, -1)


def reuse_freed_memory() -> None:
    """Keeps freed memory for the next tensor, on Linux with glibc; elsewhere, and where MALLOC_ variables say otherwise, nothing changes.

    glibc hands every large block back to the kernel as it is freed, and takes it again zeroed and page by page: on a CPU that is up to half
    of the time of a forward pass (benchmarks/gigagan.py --tuned). PyTorch keeps a GPU's memory by itself.
    """
    if not glibc() or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in (MMAP_THRESHOLD, TOP_PAD, TRIM_THRESHOLD):
        mallopt(option, value)


def hand_back_freed_memory() -> None:
    """What is resident afterwards is in use; the same places."""
    if glibc():
        ctypes.CDLL(None).malloc_trim(0)


def glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
