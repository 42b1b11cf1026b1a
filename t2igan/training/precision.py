"""How exactly a device computes: whether bf16 is a gain there, and whether equal input gives equal bits."""

import os
from pathlib import Path

import torch


def faster_in_bf16(device: torch.device) -> bool:
    """True where the hardware multiplies faster in bf16: recent CUDA devices, CPUs with AMX, AMD's with AVX512-BF16.

    Intel's with AVX512-BF16 alone (virtual machines may hide AMX) take twice fp32's time for a convolution; elsewhere bf16 is emulated.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        cpuinfo = Path("/proc/cpuinfo")
        words = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
        return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words
    return False


def use_deterministic_kernels() -> None:
    """From now on CUDA takes kernels whose result does not change from run to run, at a cost in speed; torch warns where there is none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS begins; the size that torch's documentation gives
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
