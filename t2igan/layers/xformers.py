"""xformers' memory-efficient attention (optional: pip install 't2igan[xformers]'), where it works: on CUDA, with kernels for the GPU.

Rabe and Staats 2021 (arXiv:2112.05682).
"""

import warnings
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNED = 8  # the kernels want rows of a bias at multiples of this many elements


def memory_efficient_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None) -> Tensor | None:
    """softmax(scale q k^T + bias) v for `b h t d` tensors; None where xformers cannot, with one warning."""
    attention = _attention(q.device.type)
    if attention is None:
        return None
    if bias is not None:
        keys = k.shape[2]
        bias = F.pad(bias, (0, -keys % ALIGNED)).expand(len(q), q.shape[1], q.shape[2], -1).contiguous()[..., :keys]
    try:
        return attention(*(x.transpose(1, 2) for x in (q, k, v)), attn_bias=bias, scale=scale).transpose(1, 2)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:  # it has no kernel for these tensors or this GPU
        _say(f"xformers' attention does not work here ({str(error).strip().splitlines()[0]})")
        return None


@cache
def _attention(device: str):
    if device != "cuda":
        _say(f"xformers' attention is for CUDA, this is {device}")
        return None
    try:
        from xformers.ops import memory_efficient_attention
    except ImportError as error:
        _say(f"xformers is not installed ({error}); pip install 't2igan[xformers]'")
        return None
    return memory_efficient_attention


@cache
def _say(what: str) -> None:
    warnings.warn(f"{what}; torch's scaled_dot_product_attention is used", stacklevel=5)
