"""How the process asks the operating system for memory."""

import ctypes
import gc
import os
import platform

# mallopt's numbers and values: blocks up to 2 GiB come from the heap, it grows by 256 MiB, and its end is never handed back
MMAP_THRESHOLD, TOP_PAD, TRIM_THRESHOLD = (-3, 2**31 - 1), (-2, 2**28), (-1, -1)
VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def reuse_freed_memory() -> None:
    """Keeps freed memory for the next tensor, on Linux with glibc; elsewhere, and where the user has set the allocator, nothing changes.

    glibc hands every large block back to the kernel as it is freed, and takes it again zeroed and page by page: on a CPU that is up to half
    of the time of a forward pass (benchmarks/gigagan.py --allocators default tuned). PyTorch keeps a GPU's memory by itself.
    """
    if not glibc() or any(name in os.environ for name in VARIABLES):
        return
    mallopt = ctypes.CDLL(None).mallopt
    if mallopt(*MMAP_THRESHOLD):  # an old glibc refuses, and the others alone would make it worse
        mallopt(*TOP_PAD)
        mallopt(*TRIM_THRESHOLD)


def hand_back_freed_memory() -> None:
    """Frees what only refers to itself, as a network that holds its own method; with glibc, what is resident afterwards is in use."""
    gc.collect()
    if glibc():
        ctypes.CDLL(None).malloc_trim(0)


def glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
