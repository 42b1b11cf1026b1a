"""Whether bf16 is a gain on this device."""

from pathlib import Path

import torch


def computes_in_bf16(device: torch.device) -> bool:
    """True where the hardware multiplies in bf16: recent CUDA devices, CPUs with AVX512-BF16 or AMX. Elsewhere it is emulated, slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        cpuinfo = Path("/proc/cpuinfo")
        flags = cpuinfo.read_text().split() if cpuinfo.is_file() else []
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False
