"""Attention over the pixels of a map and over the words of a prompt.

Self-attention scores by L2 distance, -tau |q_i - k_j|^2, with tied W_q = W_k: unlike the dot product it is Lipschitz (Kim et al. 2021,
arXiv:2006.04710; Kang et al. 2023, arXiv:2303.05511, section 3.1, Eq. 5). Because a row's softmax ignores |q_i|^2,

    softmax_j(-tau |q_i - k_j|^2) = softmax_j(2 tau q_i.k_j - tau |k_j|^2),

it is an ordinary attention with one more feature, so the fused kernels apply. Tokens are rows: `b t c`, heads contiguous.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from t2igan.layers.equalized import EqualizedLinear
from t2igan.layers.normalize import RMSNorm
from t2igan.layers.precision import widen
from t2igan.layers.xformers import memory_efficient_attention

Backend = Literal["auto", "sdpa", "math", "xformers"]
FUSED_WIDTH = 8  # fused kernels want head widths that are multiples of 8


def choose_backend(backend: Backend, device: torch.device, twice_differentiable: bool = False) -> Backend:
    """The kernels to use: fused ones have no second derivative, so what is differentiated twice takes `math`.

    `auto` is `math` on a CPU while gradients are recorded, where the fused backward pass is the slower one, else `sdpa`.
    """
    if twice_differentiable:
        return "math"
    if backend != "auto":
        return backend
    return "math" if device.type == "cpu" and torch.is_grad_enabled() else "sdpa"


def attend(
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b h s d"],
    v: Float[Tensor, "b h s e"],
    scale: float,
    bias: Tensor | None = None,
    mask: Bool[Tensor, "b s"] | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "b h t e"]:
    """softmax(scale q k^T + bias) v over the keys where `mask` is True.

    `math` can be differentiated twice, which gradient penalties need. `xformers` takes that library's kernels where they work, else `sdpa`;
    for `auto` see `choose_backend`.
    """
    keep = None if mask is None else mask[:, None, None, :]
    backend = choose_backend(backend, q.device)
    if backend != "math":
        if bias is not None:
            keep = bias.to(q.dtype) if keep is None else bias.to(q.dtype).masked_fill(~keep, -math.inf)
        if backend == "xformers":
            added = (
                keep if keep is None or keep.dtype != torch.bool else torch.zeros_like(keep, dtype=q.dtype).masked_fill(~keep, -math.inf)
            )
            found = memory_efficient_attention(q, k, v, scale, added)
            if found is not None:
                return found
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep, scale=scale)
    logits = (q * scale) @ k.transpose(-1, -2)
    if bias is not None:
        logits = logits + bias
    if keep is not None:
        logits = logits.masked_fill(~keep, -math.inf)
    return widen(logits).softmax(-1).to(v.dtype) @ v


def l2_attend(
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b h s d"],
    v: Float[Tensor, "b h s d"],
    tau: float,
    backend: Backend = "auto",
    twice_differentiable: bool = False,
) -> Float[Tensor, "b h t d"]:
    """softmax_j(-tau |q_i - k_j|^2) v_j without ever forming the distances.

    The key term c_j = -tau |k_j|^2 is centred (free: it cancels in the softmax) and, in half precision, split in two features so that
    no digit is lost. Augmented q, k and v share one width, a multiple of 8, so that the flash kernels take them.
    """
    backend = choose_backend(backend, q.device, twice_differentiable)
    c = -tau * widen(k).square().sum(-1, keepdim=True)
    c = c - c.mean(-2, keepdim=True)
    high = c.to(k.dtype)
    extra = [high] if k.dtype in (torch.float32, torch.float64) else [high, (c - high).to(k.dtype)]
    ones = torch.ones_like(q[..., :1])
    width = v.shape[-1]
    pad = -(q.shape[-1] + len(extra)) % FUSED_WIDTH
    q = F.pad(torch.cat([2 * tau * q] + [ones] * len(extra), -1), (0, pad))
    k = F.pad(torch.cat([k, *extra], -1), (0, pad))
    if backend != "math":
        v = F.pad(v, (0, q.shape[-1] - width))
    return attend(q, k, v, scale=1.0, backend=backend)[..., :width]


def _heads(x: Tensor, head_dim: int) -> Tensor:
    return rearrange(x, "b t (h d) -> b h t d", d=head_dim)


def _merge(x: Tensor) -> Tensor:
    return rearrange(x, "b h t d -> b t (h d)")


class L2SelfAttention(nn.Module):
    """Tokens to tokens: each attends to those near it, and to extra tokens (the style) where given. Three projections, W_q = W_k."""

    def __init__(self, dim: int, head_dim: int = 32, backend: Backend = "auto", out_init: float = 0.0):
        super().__init__()
        self.to_qk = EqualizedLinear(dim, dim, bias=False)
        self.to_v = EqualizedLinear(dim, dim, bias=False)
        self.to_out = EqualizedLinear(dim, dim, bias=False, weight_init=out_init)
        self.head_dim = head_dim
        self.tau = 1 / math.sqrt(8 * head_dim)  # Ours: unit-variance logits, since |q - k|^2 has variance 8 d for unit-variance q, k
        self.backend = backend

    def forward(
        self, x: Float[Tensor, "b t c"], extra: Float[Tensor, "b s c"] | None = None, twice_differentiable: bool = False
    ) -> Float[Tensor, "b t c"]:
        context = x if extra is None else torch.cat([x, extra], 1)
        k, v = _heads(self.to_qk(context), self.head_dim), _heads(self.to_v(context), self.head_dim)
        q = k[:, :, : x.shape[1]]
        return self.to_out(_merge(l2_attend(q, k, v, self.tau, self.backend, twice_differentiable)))


class CrossAttention(nn.Module):
    """Tokens to tokens: each attends, by dot product, to a prompt's tokens up to its true end; the logits take `attention_bias`."""

    def __init__(self, dim: int, context_dim: int, head_dim: int = 32, backend: Backend = "auto", out_init: float = 0.0):
        super().__init__()
        self.to_q = EqualizedLinear(dim, dim, bias=False)
        self.to_k = EqualizedLinear(context_dim, dim, bias=False)
        self.to_v = EqualizedLinear(context_dim, dim, bias=False)
        self.to_out = EqualizedLinear(dim, dim, bias=False, weight_init=out_init)
        self.head_dim = head_dim
        self.backend = backend

    def forward(
        self,
        x: Float[Tensor, "b t c"],
        context: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"] | None = None,
        attention_bias: Float[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b t c"]:
        q, k, v = (_heads(y, self.head_dim) for y in (self.to_q(x), self.to_k(context), self.to_v(context)))
        bias = None if attention_bias is None else attention_bias[:, None, None]
        return self.to_out(_merge(attend(q, k, v, scale=self.head_dim**-0.5, bias=bias, mask=mask, backend=self.backend)))


class FeedForward(nn.Module):
    """Tokens to tokens, each by itself: two layers, `ratio` times as wide between them."""

    def __init__(self, dim: int, ratio: int = 4, out_init: float = 0.0):
        super().__init__()
        self.inner = EqualizedLinear(dim, ratio * dim)
        self.outer = EqualizedLinear(ratio * dim, dim, weight_init=out_init)

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        return self.outer(F.gelu(self.inner(x)))


class SelfAttentionBlock(nn.Module):
    """A map's tokens through L2 self-attention and a pointwise network, each a residual with gain `gain`."""

    def __init__(self, dim: int, head_dim: int, gain: float, backend: Backend = "auto", mlp_ratio: int = 4):
        super().__init__()
        self.norm = RMSNorm(dim)
        self.attention = L2SelfAttention(dim, head_dim, backend)
        self.norm_ff = RMSNorm(dim)
        self.feed_forward = FeedForward(dim, mlp_ratio)
        self.gain = gain

    def forward(
        self, x: Float[Tensor, "b t c"], extra: Float[Tensor, "b s c"] | None = None, twice_differentiable: bool = False
    ) -> Float[Tensor, "b t c"]:
        x = torch.add(x, self.attention(self.norm(x), extra, twice_differentiable), alpha=self.gain)
        return torch.add(x, self.feed_forward(self.norm_ff(x)), alpha=self.gain)


class CrossAttentionBlock(nn.Module):
    """A map's tokens through cross-attention to the words and a pointwise network, each a residual with gain `gain`."""

    def __init__(self, dim: int, context_dim: int, head_dim: int, gain: float, backend: Backend = "auto", mlp_ratio: int = 4):
        super().__init__()
        self.norm = RMSNorm(dim)
        self.attention = CrossAttention(dim, context_dim, head_dim, backend)
        self.norm_ff = RMSNorm(dim)
        self.feed_forward = FeedForward(dim, mlp_ratio)
        self.gain = gain

    def forward(
        self,
        x: Float[Tensor, "b t c"],
        context: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"],
        attention_bias: Float[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b t c"]:
        x = torch.add(x, self.attention(self.norm(x), context, mask, attention_bias), alpha=self.gain)
        return torch.add(x, self.feed_forward(self.norm_ff(x)), alpha=self.gain)
