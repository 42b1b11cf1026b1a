"""Attention through fused kernels against its definition, with first and second derivatives."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from t2igan.layers import attention, xformers
from t2igan.layers.attention import (
    CrossAttention,
    CrossAttentionBlock,
    L2SelfAttention,
    SelfAttentionBlock,
    attend,
    choose_backend,
    l2_attend,
)

TAU = 0.3


def by_distances(q, k, v, tau=TAU):
    """softmax_j(-tau |q_i - k_j|^2) v_j, every distance formed explicitly."""
    distances = (q[:, :, :, None] - k[:, :, None]).square().sum(-1)
    return (-tau * distances).softmax(-1) @ v


def qkv(tokens=7, keys=9, width=6, batch=2, heads=3, dtype=torch.float64):
    shapes = ((tokens, width), (keys, width), (keys, width))
    return [torch.randn(batch, heads, *shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("backend", ["sdpa", "math", "auto"])
@pytest.mark.parametrize("width", [6, 8, 7])  # 7: with the key's term exactly a multiple of 8
def test_l2_attention_equals_explicit_distances(backend, width):
    inputs = qkv(width=width)
    got, expected = l2_attend(*inputs, TAU, backend), by_distances(*inputs)
    assert (got - expected).abs().max() < 1e-10
    weights = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (got, expected)), strict=True):
        assert b.abs().max() > 1e-3
        assert (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_l2_attention_of_keys_far_from_the_origin(backend):
    q, k, v = (x.detach() for x in qkv())
    assert (l2_attend(q + 30, k + 30, v, TAU, backend) - by_distances(q, k, v)).abs().max() < 1e-8  # distances ignore a common shift


def test_second_derivatives_through_math():
    inputs = qkv()
    values = l2_attend(*inputs, TAU, "math"), by_distances(*inputs)
    first = [torch.autograd.grad(value.square().sum(), inputs, create_graph=True) for value in values]
    second = [torch.autograd.grad(sum(g.square().sum() for g in gradients), inputs) for gradients in first]
    for a, b in zip(*second, strict=True):
        assert b.abs().max() > 1e-3
        assert (a - b).abs().max() < 1e-8 * b.abs().max()


def count_fused(monkeypatch) -> list:
    """Records every call of the fused kernel."""
    calls, fused = [], F.scaled_dot_product_attention
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k))
    return calls


def test_which_backend_takes_fused_kernels(monkeypatch):
    calls, inputs = count_fused(monkeypatch), qkv()
    l2_attend(*inputs, TAU, "math")
    l2_attend(*inputs, TAU, "auto")  # on a CPU, with gradients recorded
    assert not calls
    l2_attend(*inputs, TAU, "sdpa")
    assert len(calls) == 1
    with torch.no_grad():
        l2_attend(*inputs, TAU, "auto")
    assert len(calls) == 2


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("backend", ["auto", "sdpa", "math", "xformers"])
def test_what_is_differentiated_twice_takes_math_whatever_the_backend(backend, device, grad):
    """Everything else takes the backend of the recipe; `auto` is math where gradients are recorded on a CPU."""
    device = torch.device(device)
    with torch.set_grad_enabled(grad):
        assert choose_backend(backend, device, twice_differentiable=True) == "math"
        expected = backend if backend != "auto" else "math" if device.type == "cpu" and grad else "sdpa"
        assert choose_backend(backend, device) == expected


@pytest.mark.parametrize("backend", ["auto", "sdpa", "xformers"])
def test_an_attention_block_that_is_differentiated_twice_calls_no_fused_kernel(backend, monkeypatch, randomised):
    """The argument reaches the kernels through every layer, and changes nothing but the kernels."""
    calls, block = count_fused(monkeypatch), randomised(SelfAttentionBlock(8, 4, 0.3, backend)).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    with torch.no_grad():  # where `auto` would take the fused kernel
        twice = block(x, twice_differentiable=True)
        assert not calls
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # xformers is for CUDA
            once = block(x)
    assert len(calls) == 1
    assert (twice - once).abs().max() < 1e-12


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_masked_keys_have_no_influence(backend):
    q, k, v = (x.detach() for x in qkv())
    mask = torch.tensor([[True] * 9, [True] * 4 + [False] * 5])
    bias = torch.randn(2, 1, 7, 9, dtype=torch.float64)
    got = attend(q, k, v, 0.5, bias, mask, backend)
    k2, v2 = k.clone(), v.clone()
    k2[1, :, 4:], v2[1, :, 4:] = 100, -100
    assert torch.equal(attend(q, k2, v2, 0.5, bias, mask, backend), got)
    alone = attend(q[1:], k[1:, :, :4], v[1:, :, :4], 0.5, bias[1:, :, :, :4], None, backend)
    assert (got[1:] - alone).abs().max() < 1e-12
    k2[0, :, 3] += 1
    assert not torch.equal(attend(q, k2, v2, 0.5, bias, mask, backend)[0], got[0]), "keys that are not masked must matter"


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_attend_is_softmax_of_scaled_products_plus_bias(backend):
    q, k, v = qkv()
    bias = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    expected = (0.5 * q @ k.transpose(-1, -2) + bias).softmax(-1) @ v
    assert (attend(q, k, v, 0.5, bias, backend=backend) - expected).abs().max() < 1e-12


def test_two_half_precision_channels_are_better_than_one():
    """Keys of very different length: their squared norms need more digits than bf16 has."""
    generator = torch.Generator().manual_seed(0)
    k = (torch.randn(4, 2, 64, 16, generator=generator) * torch.linspace(1, 6, 64)[:, None]).bfloat16()
    q, v = k + torch.randn(k.shape, generator=generator).bfloat16(), torch.randn(k.shape, generator=generator).bfloat16()
    tau = 1 / 16
    exact = by_distances(q.double(), k.double(), v.double(), tau)
    c = -tau * k.float().square().sum(-1, keepdim=True)
    c = (c - c.mean(-2, keepdim=True)).bfloat16()
    one_channel = attend(torch.cat([2 * tau * q, torch.ones_like(q[..., :1])], -1), torch.cat([k, c], -1), v, 1.0, backend="sdpa")
    error = (l2_attend(q, k, v, tau, "sdpa").double() - exact).square().mean().sqrt()
    error_of_one = (one_channel.double() - exact).square().mean().sqrt()
    assert error < 0.5 * error_of_one
    assert error < 0.01


@pytest.mark.parametrize("extra", [0, 2])
def test_self_attention_equals_a_loop_over_heads_and_tokens(extra):
    layer = L2SelfAttention(8, 4, backend="sdpa").double()
    torch.nn.init.normal_(layer.to_out.weight)
    x, more = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, extra, 8, dtype=torch.float64) if extra else None
    context = x if more is None else torch.cat([x, more], 1)
    gain = 8**-0.5
    expected = torch.zeros_like(x)
    for b in range(2):
        for head in (slice(0, 4), slice(4, 8)):
            k = context[b] @ layer.to_qk.weight[head].T * gain
            v = context[b] @ layer.to_v.weight[head].T * gain
            for t in range(5):
                weights = (-(k[t] - k).square().sum(1) / math.sqrt(8 * 4)).softmax(0)
                expected[b, t] += gain * layer.to_out.weight[:, head] @ (weights @ v)
    assert (layer(x, more) - expected).abs().max() < 1e-10


def test_self_attention_scores_have_unit_variance_at_initialisation():
    layer = L2SelfAttention(256, 32)
    k = layer.to_qk(torch.randn(64, 256)).unflatten(1, (8, 32))
    scores = -layer.tau * (k[:, None] - k[None]).square().sum(-1)
    off_diagonal = scores[~torch.eye(64, dtype=torch.bool)]
    assert 0.8 < off_diagonal.std() < 1.2


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_cross_attention_does_not_see_padding(backend, randomised):
    layer = randomised(CrossAttention(8, 5, 4, backend)).double()
    x, words = torch.randn(2, 6, 8, dtype=torch.float64), torch.randn(2, 7, 5, dtype=torch.float64)
    mask = torch.tensor([[True] * 3 + [False] * 4] * 2)
    got = layer(x, words, mask)
    assert (got - layer(x, words[:, :3], mask[:, :3])).abs().max() < 1e-12
    assert (got - layer(x, words[:, :3])).abs().max() < 1e-12
    assert (got - layer(x, words)).abs().max() > 1e-3


def test_words_of_one_prompt_do_not_reach_another(randomised):
    layer = randomised(CrossAttention(8, 5, 4))
    x, words = torch.randn(2, 6, 8), torch.randn(2, 7, 5)
    before = layer(x, words)
    words[1] += 1
    assert torch.equal(layer(x, words)[0], before[0])
    assert not torch.allclose(layer(x, words)[1], before[1])


def test_blocks_start_as_the_identity_and_can_leave_it():
    x, words, mask = torch.randn(2, 6, 8), torch.randn(2, 7, 5), torch.ones(2, 7, dtype=torch.bool)
    for block, arguments in ((SelfAttentionBlock(8, 4, 0.3), (torch.randn(2, 1, 8),)), (CrossAttentionBlock(8, 5, 4, 0.3), (words, mask))):
        assert torch.equal(block(x, *arguments), x)
        block(x, *arguments).square().sum().backward()
        for last in (block.attention.to_out.weight, block.feed_forward.outer.weight):
            assert last.grad.abs().max() > 0


def test_a_block_is_two_residuals_with_the_gain(randomised):
    block = randomised(SelfAttentionBlock(8, 4, 0.3)).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    middle = x + 0.3 * block.attention(block.norm(x))
    expected = middle + 0.3 * block.feed_forward(block.norm_ff(middle))
    assert (block(x) - expected).abs().max() < 1e-12
    assert (expected - x).abs().max() > 0.1


def test_xformers_on_a_cpu_warns_once_and_torch_takes_over():
    q, k, v = (torch.randn(2, 2, n, 4) for n in (5, 7, 7))
    mask = torch.tensor([[True] * 3 + [False] * 4] * 2)
    xformers._attention.cache_clear()
    xformers._say.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [attend(q, k, v, 0.5, mask=mask, backend="xformers") for _ in range(3)]
    assert [str(warning.message) for warning in caught] == [
        "xformers' attention is for CUDA, this is cpu; torch's scaled_dot_product_attention is used"
    ]
    assert all(torch.equal(x, attend(q, k, v, 0.5, mask=mask, backend="sdpa")) for x in found)


@pytest.mark.parametrize("masked", [False, True])
def test_xformers_gets_arguments_that_mean_the_same(masked, monkeypatch):
    """Its layout (tokens before heads), its aligned bias and its scale, computed by hand in its place."""

    def by_its_documentation(q, k, v, attn_bias, scale):
        logits = torch.einsum("bthd,bshd->bhts", q, k) * scale
        if attn_bias is not None:
            assert attn_bias.shape == logits.shape and attn_bias.stride(2) % 8 == 0
            logits = logits + attn_bias
        return torch.einsum("bhts,bshd->bthd", logits.softmax(-1), v)

    monkeypatch.setattr(xformers, "_attention", lambda device: by_its_documentation)
    q, k, v = (torch.randn(2, 2, n, 4, dtype=torch.float64) for n in (5, 7, 7))
    mask = torch.tensor([[True] * 3 + [False] * 4, [True] * 7]) if masked else None
    bias = torch.randn(2, 2, 1, 7, dtype=torch.float64) if masked else None
    arguments = {"scale": 0.5, "bias": bias, "mask": mask}
    assert (attend(q, k, v, **arguments, backend="xformers") - attend(q, k, v, **arguments, backend="math")).abs().max() < 1e-12


def test_kernels_that_fail_give_one_warning(monkeypatch):
    def broken(*arguments, **options):
        raise NotImplementedError("No operator found\nfor this device")

    monkeypatch.setattr(xformers, "_attention", lambda device: broken)
    xformers._say.cache_clear()
    q = torch.randn(1, 1, 3, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert torch.equal(attend(q, q, q, 1.0, backend="xformers"), attend(q, q, q, 1.0, backend="sdpa"))
    (warning,) = caught
    assert "does not work here (No operator found); torch's" in str(warning.message)


def test_running_out_of_memory_is_not_taken_for_a_missing_kernel(monkeypatch):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(xformers, "_attention", lambda device: full)
    q = torch.randn(1, 1, 3, 4)
    with pytest.raises(torch.OutOfMemoryError):
        attend(q, q, q, 1.0, backend="xformers")


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_an_attention_bias_weighs_words(backend, randomised):
    """A bias of log 2 equals the same word twice; a bias of -inf equals its absence."""
    layer = randomised(CrossAttention(8, 5, 4, backend)).double()
    x, words = torch.randn(2, 6, 8, dtype=torch.float64), torch.randn(2, 3, 5, dtype=torch.float64)
    twice = layer(x, torch.cat([words, words[:, 2:]], 1))
    assert (layer(x, words, None, torch.tensor([[0.0, 0.0, math.log(2)]] * 2, dtype=torch.float64)) - twice).abs().max() < 1e-12
    gone = torch.tensor([[0.0, 0.0, -math.inf]] * 2, dtype=torch.float64)
    assert (layer(x, words, None, gone) - layer(x, words[:, :2])).abs().max() < 1e-12
