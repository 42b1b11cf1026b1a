"""Multi-scale input, multi-scale output, several captions in one pass."""

from dataclasses import replace

import pytest
import torch

from t2igan.discriminator.gigagan import GigaGANDiscriminator, GigaGANDiscriminatorConfig
from t2igan.layers.attention import twice_differentiable
from t2igan.layers.equalized import lrelu
from t2igan.pyramid import build_pyramid
from t2igan.text.adapter import AdapterConfig, TextAdapter
from t2igan.types import ImagePyramid, TextDescriptors, Tokens

SMALL = dict(
    channels=(12, 10, 8),
    blocks=(1, 2, 1),
    self_attention=(0, 1, 0),
    inputs=(16, 8, 4),
    outputs=(8, 4, 1),
    input_weights=(0.5, 0.3, 0.2),
    output_weights=(0.1, 0.3, 1.0),
    head_depth=2,
    head_dim=2,
)


def network(randomised, adapter=True, drawings=0, **options) -> GigaGANDiscriminator:
    learned = TextAdapter(AdapterConfig(depth=1, head_dim=4), 12, 10) if adapter else None
    return randomised(GigaGANDiscriminator(GigaGANDiscriminatorConfig(**SMALL | options), learned, 12 if adapter else 10, drawings))


def pyramid_of(pictures: int, sides=(16, 8, 4), dtype=torch.float32) -> ImagePyramid:
    """Unrelated noise at every level, so that levels cannot stand in for one another."""
    return ImagePyramid(tuple(torch.randn(pictures, 3, side, side, dtype=dtype) for side in sides))


def one_level_at_a_time(D, pyramid, text, config):
    """{(input side, output side): logits}, each level in a pass of its own through the stages from its side on."""
    text = text if D.adapter is None else D.adapter(text)
    found = {}
    for level in pyramid.levels:
        side = level.shape[-1]
        x = lrelu(D.from_rgb[str(side)](level))
        while side > 1:
            x = D.stages[str(side)](x)
            side = 1 if side == 4 else side // 2
            if side in config["outputs"]:
                found[level.shape[-1], side] = D.heads[str(side)](x, text.pooled)
    return found


FEWER = {"inputs": (16, 4), "outputs": (4, 1), "input_weights": (1.0, 0.5), "output_weights": (0.25, 1.0)}


@pytest.mark.parametrize("options", [{}, FEWER, {"minibatch_std": 4, "blocks": (0, 0, 1)}])
def test_the_stacked_pass_equals_a_pass_per_level(options, descriptors, randomised):
    config = SMALL | options
    D, text = network(randomised, **options).double(), descriptors([6, 2, 3, 5], dtype=torch.float64)
    pyramid = pyramid_of(4, config["inputs"], torch.float64)
    expected = one_level_at_a_time(D, pyramid, text, config)
    pairs = [(i, j) for j in config["outputs"] for i in config["inputs"] if i > j]
    assert sorted(pairs) == sorted(expected)
    maps = D.features(pyramid)
    exact = [logit for side, x in maps.items() for logit in D._read(side, x, D.adapter(text).pooled)]
    (verdict,) = D(pyramid, text)
    scale = max(logits.abs().max() for logits in expected.values())
    for (i, j), in_double, returned in zip(pairs, exact, verdict.logits, strict=True):
        assert (in_double - expected[i, j]).abs().max() < 1e-12 * scale
        assert (returned - expected[i, j]).abs().max() < 1e-6 * scale
        assert returned.shape == (4, j * j)
    of_input, of_output = (dict(zip(config[f"{end}s"], config[f"{end}_weights"], strict=True)) for end in ("input", "output"))
    assert verdict.weights == tuple(of_input[i] * of_output[j] for i, j in pairs)


def test_the_papers_discriminator_makes_fifteen_predictions():
    with torch.device("meta"):
        D = GigaGANDiscriminator(GigaGANDiscriminatorConfig(), None, 768)
        text = TextDescriptors(torch.empty(1, 77, 768), torch.empty(1, 768), Tokens(torch.zeros(1, 77).long(), torch.ones(1, 77).bool()))
        (verdict,) = D(build_pyramid(torch.empty(1, 3, 64, 64), D.inputs), text)
    levels = 5
    assert len(verdict.logits) == len(verdict.weights) == levels * (levels + 1) // 2 == 15


@pytest.mark.parametrize("adapter", [True, False])
def test_a_permuted_pairing_equals_a_second_pass_with_permuted_text(adapter, descriptors, randomised):
    D, text, pyramid = network(randomised, adapter), descriptors([6, 2, 3, 4]), pyramid_of(4)
    own, other = torch.arange(4), torch.tensor([2, 0, 3, 1])
    first, second = D(pyramid, text, own, other)
    for verdict, expected in ((first, D(pyramid, text)[0]), (second, D(pyramid, text[other])[0])):
        for a, b in zip(verdict.logits, expected.logits, strict=True):
            assert (a - b).abs().max() < 1e-5 * b.abs().max()
    assert not torch.allclose(first.logits[0], second.logits[0], rtol=1e-2), "the text must matter"


def test_the_text_layers_run_once_per_prompt_and_the_stages_once(descriptors, randomised):
    D, calls = network(randomised), []
    for name, module in (("adapter", D.adapter), ("stage", D.stages["16"]), ("head", D.heads["1"])):
        module.register_forward_hook(lambda m, i, o, name=name: calls.append(name))
    twice = torch.tensor([0, 1, 0, 1])
    D(pyramid_of(4), descriptors([6, 2]), twice, twice.flip(0))  # four pictures share two prompts
    assert sorted(calls) == ["adapter", "head", "head", "stage"]


def test_pictures_and_prompts_do_not_reach_one_another(descriptors, randomised):
    D, text, pyramid = network(randomised), descriptors([6, 2, 3]), pyramid_of(3)
    (together,) = D(pyramid, text)
    (alone,) = D(pyramid.map(lambda level: level[1:2]), text[1:2])
    for a, b in zip(together.logits, alone.logits, strict=True):
        assert (a[1:2] - b).abs().max() < 1e-4 * a.abs().max()


def test_text_after_the_true_end_stays_unread(descriptors, randomised):
    D, text, pyramid = network(randomised), descriptors([6, 2]), pyramid_of(2)
    dirty = text.local.clone()
    dirty[1, 2:] = 99
    for a, b in zip(D(pyramid, text)[0].logits, D(pyramid, TextDescriptors(dirty, text.pooled, text.source))[0].logits, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_verdict_is_in_single_precision_under_autocast(descriptors, randomised):
    with torch.autocast("cpu", torch.bfloat16):
        (verdict,) = network(randomised)(pyramid_of(2), descriptors([6, 2]))
    assert {logit.dtype for logit in verdict.logits} == {torch.float32}


def test_the_drawing_that_a_picture_is_matters_only_where_d_is_told(descriptors, randomised):
    text, pyramid = descriptors([6, 2, 3]), pyramid_of(3)
    one, other = replace(text, drawing=torch.tensor([0, 1, 2])), replace(text, drawing=torch.tensor([0, 2, 2]))
    untold, told = network(randomised), network(randomised, drawings=2)
    for a, b in zip(untold(pyramid, one)[0].logits, untold(pyramid, other)[0].logits, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(told(pyramid, one)[0].logits, told(pyramid, other)[0].logits, strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]]) and not torch.allclose(a[1], b[1], rtol=1e-2)


def test_a_pairing_takes_the_drawing_with_the_caption(descriptors, randomised):
    D, pyramid = network(randomised, drawings=2), pyramid_of(3)
    text, rolled = replace(descriptors([6, 2, 3]), drawing=torch.tensor([1, 2, 0])), torch.tensor([1, 2, 0])
    (verdict,), (expected,) = D(pyramid, text, rolled), D(pyramid, text[rolled])
    for a, b in zip(verdict.logits, expected.logits, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


def test_the_minibatch_standard_deviation_reaches_the_last_prediction_only(descriptors, randomised):
    D, text, pyramid = network(randomised, minibatch_std=2), descriptors([6, 2]), pyramid_of(2)
    before = D(pyramid, text)[0]
    changed = pyramid.map(lambda level: torch.cat([level[:1], level[1:] * 3]))
    after = D(changed, text)[0]
    for a, b in zip(before.logits[:3], after.logits[:3], strict=True):  # read at 8 and 4 px
        assert torch.allclose(a[0], b[0], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(before.logits[3][0], after.logits[3][0], rtol=1e-3, atol=1e-3)


def test_logits_have_ordinary_size_at_initialisation(descriptors):
    config = GigaGANDiscriminatorConfig(channels=(64, 64, 64), **{k: v for k, v in SMALL.items() if k != "channels"})
    D = GigaGANDiscriminator(config, None, 10)
    (verdict,) = D(pyramid_of(32), descriptors([6] * 32))
    for logits in verdict.logits:
        assert 0.2 < logits.std() < 5


def test_every_parameter_gets_a_gradient_and_so_does_the_picture(descriptors, randomised):
    D = network(randomised, drawings=1)
    pyramid = pyramid_of(2).map(lambda level: level.requires_grad_())
    (verdict,) = D(pyramid, replace(descriptors([6, 2]), drawing=torch.tensor([0, 1])))
    verdict.mean(lambda logit: logit.tanh()).sum().backward()
    for name, tensor in [*D.named_parameters(), *((f"level {i}", level) for i, level in enumerate(pyramid.levels))]:
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all() and tensor.grad.any(), name


@pytest.mark.parametrize("backend", ["math", "sdpa"])
def test_recomputed_stages_give_the_penalty_the_same_gradients_and_keep_less(backend, descriptors, randomised):
    """Through exact R1 too, which differentiates twice; a stage is computed again with the kernels of the first time."""
    text, pictures, found, kept = descriptors([6, 2, 3, 5]), pyramid_of(4), [], []
    for activation_checkpointing in (False, True):
        torch.manual_seed(5)
        D = network(randomised, activation_checkpointing=activation_checkpointing, backend=backend)
        real, held = pictures.map(lambda level: level.clone().requires_grad_()), []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda x, to=held: to.append(x.nbytes) or x, lambda x: x)
        with hooks, twice_differentiable():
            (verdict,) = D(real, text)
        kept.append(sum(held))
        gradients = torch.autograd.grad(verdict.mean(lambda logit: logit).sum(), real.levels, create_graph=True)
        (verdict.mean(torch.nn.functional.softplus).sum() + sum(g.square().sum() for g in gradients)).backward()
        found.append({name: p.grad for name, p in D.named_parameters()})
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).abs().max() <= 1e-4 * gradient.abs().max(), name
    assert kept[1] < 0.7 * kept[0]
