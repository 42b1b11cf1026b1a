"""Multi-scale input, multi-scale output; several sets of images and several captions in one pass."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from t2igan.discriminator.gigagan import GigaGANDiscriminator, GigaGANDiscriminatorConfig
from t2igan.layers.equalized import plain_lrelu
from t2igan.pyramid import build_pyramid
from t2igan.text.adapter import AdapterConfig
from t2igan.types import CheckContext, ImagePyramid, ImageSet, TextDescriptors, TextDims, Tokens, Verdict

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


DIMS = TextDims(token=12, pooled=10)


def network(randomised, adapter=True, num_clusters=0, **options) -> GigaGANDiscriminator:
    learned = AdapterConfig(depth=1, head_dim=4).build(DIMS, num_clusters) if adapter else None
    return randomised(GigaGANDiscriminatorConfig(**SMALL | options).build(16, learned, DIMS))


def pyramid_of(images: int, sides=(16, 8, 4), dtype=torch.float32) -> ImagePyramid:
    """Unrelated noise at every level, so that levels cannot stand in for one another."""
    return ImagePyramid(tuple(torch.randn(images, 3, side, side, dtype=dtype) for side in sides))


def score(D, pyramid, text, *captions, **options) -> tuple[Verdict, ...]:
    """The verdicts on one set, for each of its caption assignments; by default each image has the caption of its row."""
    ((verdicts),) = D([ImageSet(pyramid, captions or (torch.arange(len(pyramid)),))], text, **options)
    return verdicts


def largest_difference(a: Verdict, b: Verdict) -> float:
    """Of any logit, as a share of the largest logit of its head."""
    assert a.weights == b.weights and [x.shape for x in a.logits] == [x.shape for x in b.logits]
    return max(((x - y).abs().max() / y.abs().max()).item() for x, y in zip(a.logits, b.logits, strict=True))


def one_level_at_a_time(D, pyramid, text, config):
    """{(input side, output side): logits}, each level in a pass of its own through the stages from its side on."""
    text = text if D.adapter is None else D.adapter(text)
    found = {}
    for level in pyramid.levels:
        side = level.shape[-1]
        x = plain_lrelu(D.from_rgb[str(side)](level))
        while side > 1:
            x = D.stages[str(side)](x, 1, False)
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
    descriptor = D.adapter(text).pooled
    streams = {side: len(x) // 4 for side, x in maps.items()}
    exact = [y for side, x in maps.items() for y in D.heads[str(side)](x, descriptor.repeat(streams[side], 1)).chunk(streams[side])]
    (verdict,) = score(D, pyramid, text)
    scale = max(logits.abs().max() for logits in expected.values())
    for (i, j), in_double, returned in zip(pairs, exact, verdict.logits, strict=True):
        assert (in_double - expected[i, j]).abs().max() < 1e-12 * scale
        assert (returned - expected[i, j]).abs().max() < 1e-6 * scale
        assert returned.shape == (4, j * j)
    of_input, of_output = (dict(zip(config[f"{end}s"], config[f"{end}_weights"], strict=True)) for end in ("input", "output"))
    assert verdict.weights == tuple(of_input[i] * of_output[j] for i, j in pairs)


def test_the_papers_discriminator_makes_fifteen_predictions():
    with torch.device("meta"):
        D = GigaGANDiscriminatorConfig().build(64, None, TextDims(768, 768))
        text = TextDescriptors(torch.empty(1, 77, 768), torch.empty(1, 768), Tokens(torch.zeros(1, 77).long(), torch.ones(1, 77).bool()))
        (verdict,) = score(D, build_pyramid(torch.empty(1, 3, 64, 64), D.levels), text)
    levels = 5
    assert len(verdict.logits) == len(verdict.weights) == levels * (levels + 1) // 2 == 15


@pytest.mark.parametrize("adapter", [True, False])
def test_permuted_captions_equal_a_second_pass_with_permuted_text(adapter, descriptors, randomised):
    D, text, pyramid = network(randomised, adapter), descriptors([6, 2, 3, 4]), pyramid_of(4)
    own, other = torch.arange(4), torch.tensor([2, 0, 3, 1])
    first, second = score(D, pyramid, text, own, other)
    for verdict, expected in ((first, score(D, pyramid, text)[0]), (second, score(D, pyramid, text[other])[0])):
        assert largest_difference(verdict, expected) < 1e-5
    assert not torch.allclose(first.logits[0], second.logits[0], rtol=1e-2), "the text must matter"


def test_the_text_layers_run_once_per_prompt_and_the_stages_once(descriptors, randomised):
    D, calls = network(randomised), []
    for name, module in (("adapter", D.adapter), ("stage", D.stages["16"]), ("head", D.heads["1"])):
        module.register_forward_hook(lambda m, i, o, name=name: calls.append(name))
    twice = torch.tensor([0, 1, 0, 1])
    score(D, pyramid_of(4), descriptors([6, 2]), twice, twice.flip(0))  # four images share two prompts
    assert sorted(calls) == ["adapter", "head", "head", "stage"]


def test_images_and_prompts_do_not_reach_one_another(descriptors, randomised):
    D, text, pyramid = network(randomised), descriptors([6, 2, 3]), pyramid_of(3)
    (together,) = score(D, pyramid, text)
    (alone,) = score(D, pyramid.map(lambda level: level[1:2]), text[1:2])
    for a, b in zip(together.logits, alone.logits, strict=True):
        assert (a[1:2] - b).abs().max() < 1e-4 * a.abs().max()


def test_text_after_the_true_end_has_no_effect(descriptors, randomised):
    D, text, pyramid = network(randomised), descriptors([6, 2]), pyramid_of(2)
    dirty = text.local.clone()
    dirty[1, 2:] = 99
    (expected,), (got,) = score(D, pyramid, text), score(D, pyramid, TextDescriptors(dirty, text.pooled, text.source))
    assert largest_difference(got, expected) < 1e-5


def test_a_verdict_is_in_single_precision_under_autocast(descriptors, randomised):
    with torch.autocast("cpu", torch.bfloat16):
        (verdict,) = score(network(randomised), pyramid_of(2), descriptors([6, 2]))
    assert {logit.dtype for logit in verdict.logits} == {torch.float32}


def test_an_images_cluster_label_matters_only_where_the_adapter_embeds_it(descriptors, randomised):
    text, pyramid = descriptors([6, 2, 3]), pyramid_of(3)
    one, other = replace(text, cluster=torch.tensor([0, 1, 2])), replace(text, cluster=torch.tensor([0, 2, 2]))
    without, conditioned = network(randomised), network(randomised, num_clusters=2)
    for a, b in zip(score(without, pyramid, one)[0].logits, score(without, pyramid, other)[0].logits, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(score(conditioned, pyramid, one)[0].logits, score(conditioned, pyramid, other)[0].logits, strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]]) and not torch.allclose(a[1], b[1], rtol=1e-2)


def test_a_caption_assignment_takes_the_cluster_label_with_the_caption(descriptors, randomised):
    D, pyramid = network(randomised, num_clusters=2), pyramid_of(3)
    text, rolled = replace(descriptors([6, 2, 3]), cluster=torch.tensor([1, 2, 0])), torch.tensor([1, 2, 0])
    (verdict,), (expected,) = score(D, pyramid, text, rolled), score(D, pyramid, text[rolled])
    assert largest_difference(verdict, expected) < 1e-5


# ------------------------------------------------------------------------------------------------ sets


SETS = [{}, {"minibatch_std": 2}, {"minibatch_std": 4}, {"activation_checkpointing": True, "minibatch_std": 2}, FEWER]


@pytest.mark.parametrize("options", SETS)
@pytest.mark.parametrize("assignments", [(1, 1), (2, 2), (1, 2), (2, 1, 3)])
def test_sets_together_equal_each_set_alone(assignments, options, descriptors, randomised):
    """With one caption assignment or several, with other numbers of them beside, and with minibatch statistics."""
    D, text = network(randomised, **options), descriptors([6, 2, 3, 5])
    captions = [torch.arange(4), torch.tensor([2, 0, 3, 1]), torch.tensor([3, 3, 0, 0])]
    sets = [ImageSet(pyramid_of(4, (SMALL | options)["inputs"]), tuple(captions[i:] + captions[:i])[:n]) for i, n in enumerate(assignments)]
    together = D(sets, text)
    assert [len(found) for found in together] == list(assignments)
    for found, images in zip(together, sets, strict=True):
        (alone,) = D([images], text)
        assert len(found) == len(alone)
        for a, b in zip(found, alone, strict=True):
            assert largest_difference(a, b) < 1e-4
            assert all(len(logit) == 4 for logit in a.logits)


@pytest.mark.parametrize("group", [2, 4])
def test_real_and_generated_images_never_reach_one_another(group, descriptors, randomised):
    """Not even through the minibatch standard deviation: no logit on real images depends on a generated one."""
    D, text = network(randomised, minibatch_std=group), descriptors([6, 2, 3, 5])
    real, fake = (pyramid_of(4).map(lambda level: level.requires_grad_()) for _ in range(2))
    own = (torch.arange(4),)
    (of_real,), (of_fake,) = D([ImageSet(real, own), ImageSet(fake, own)], text)
    for verdict, ours, others in ((of_real, real, fake), (of_fake, fake, real)):
        total = sum(logit.sum() for logit in verdict.logits)
        assert all(g is None or not g.any() for g in torch.autograd.grad(total, others.levels, retain_graph=True, allow_unused=True))
        assert all(g.any() for g in torch.autograd.grad(total, ours.levels, retain_graph=True))


@pytest.mark.parametrize(("strided", "unchanged", "neighbour"), [(True, [0, 2], 1), (False, [0, 1], 2)])
def test_inside_a_set_the_minibatch_standard_deviation_has_groups(strided, unchanged, neighbour, descriptors, randomised):
    """Of 4 images in groups of 2, image 3 shares a group with image 1, or with its neighbour 2; beside other sets too."""
    D, text = network(randomised, minibatch_std=2, minibatch_strided=strided), descriptors([6, 2, 3, 5])
    pyramid, other = pyramid_of(4), pyramid_of(4)
    own = (torch.arange(4),)
    changed = pyramid.map(lambda level: torch.cat([level[:3], 3 * level[3:]]))
    before, after = (D([ImageSet(other, own), ImageSet(images, own)], text)[1][0].logits[3] for images in (pyramid, changed))
    assert torch.allclose(before[unchanged], after[unchanged], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before[neighbour], after[neighbour], rtol=1e-3, atol=1e-3)


def test_the_stages_run_once_for_all_sets_and_the_heads_once_per_assignment(descriptors, randomised):
    D, calls, own = network(randomised), [], torch.arange(2)
    for name, module in (("adapter", D.adapter), ("stage", D.stages["16"]), ("head", D.heads["1"])):
        module.register_forward_hook(lambda m, i, o, name=name: calls.append(name))
    D([ImageSet(pyramid_of(2), (own, own.flip(0))), ImageSet(pyramid_of(2), (own,))], descriptors([6, 2]))
    assert sorted(calls) == ["adapter", "head", "head", "stage"]


@pytest.mark.parametrize("minibatch_std", [0, 2])
def test_fused_attention_that_is_differentiated_twice_equals_math(minibatch_std, descriptors, randomised):
    """R1's gradient with respect to D's weights and images, with `twice_differentiable` as for the penalty."""
    text, images, found = descriptors([6, 2], dtype=torch.float64), pyramid_of(2, dtype=torch.float64), []
    for backend in ("math", "sdpa", "auto"):
        torch.manual_seed(5)
        D = network(randomised, backend=backend, minibatch_std=minibatch_std).double()
        real = images.leaves()
        (verdict,) = score(D, real, text, twice_differentiable=True)
        gradients = torch.autograd.grad(verdict.mean(torch.tanh).sum(), real.levels, create_graph=True)
        sum(g.square().sum() for g in gradients).backward()
        found.append(
            {name: p.grad for name, p in D.named_parameters() if p.grad is not None} | dict(enumerate(x.grad for x in real.levels))
        )
    assert any("attention" in str(name) for name in found[0])
    for others in found[1:]:
        assert others.keys() == found[0].keys()
        for name, gradient in found[0].items():
            assert gradient.abs().max() > 0
            assert (others[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name


def test_without_it_attention_takes_the_recipes_backend(descriptors, randomised, monkeypatch):
    calls, fused = [], F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k))
    D, pyramid, text = network(randomised, adapter=False, backend="sdpa"), pyramid_of(2), descriptors([6, 2])
    score(D, pyramid, text, twice_differentiable=True)
    assert not calls
    score(D, pyramid, text)
    assert len(calls) == 1


# ------------------------------------------------------------------------------------------------ statistics and gradients


def test_the_minibatch_standard_deviation_reaches_the_last_prediction_only(descriptors, randomised):
    D, text, pyramid = network(randomised, minibatch_std=2), descriptors([6, 2]), pyramid_of(2)
    (before,) = score(D, pyramid, text)
    changed = pyramid.map(lambda level: torch.cat([level[:1], level[1:] * 3]))
    (after,) = score(D, changed, text)
    for a, b in zip(before.logits[:3], after.logits[:3], strict=True):  # read at 8 and 4 px
        assert torch.allclose(a[0], b[0], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(before.logits[3][0], after.logits[3][0], rtol=1e-3, atol=1e-3)


def test_logits_have_ordinary_size_at_initialisation(descriptors):
    D = GigaGANDiscriminatorConfig(**SMALL | {"channels": (64, 64, 64)}).build(16, None, DIMS)
    (verdict,) = score(D, pyramid_of(32), descriptors([6] * 32))
    for logits in verdict.logits:
        assert 0.2 < logits.std() < 5


def test_every_parameter_gets_a_gradient_and_so_does_the_image(descriptors, randomised):
    D = network(randomised, num_clusters=1)
    pyramid = pyramid_of(2).map(lambda level: level.requires_grad_())
    (verdict,) = score(D, pyramid, replace(descriptors([6, 2]), cluster=torch.tensor([0, 1])))
    verdict.mean(lambda logit: logit.tanh()).sum().backward()
    for name, tensor in [*D.named_parameters(), *((f"level {i}", level) for i, level in enumerate(pyramid.levels))]:
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all() and tensor.grad.any(), name


@pytest.mark.parametrize("backend", ["math", "sdpa"])
def test_checkpointed_stages_give_the_penalty_the_same_gradients_and_keep_less(backend, descriptors, randomised):
    """Through exact R1 too, which differentiates twice; a stage is computed again with the kernels of the first time."""
    text, images, found, kept = descriptors([6, 2, 3, 5]), pyramid_of(4), [], []
    for activation_checkpointing in (False, True):
        torch.manual_seed(5)
        D = network(randomised, activation_checkpointing=activation_checkpointing, backend=backend)
        real, held = images.leaves(), []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda x, to=held: to.append(x.nbytes) or x, lambda x: x)
        with hooks:
            (verdict,) = score(D, real, text, twice_differentiable=True)
        kept.append(sum(held))
        gradients = torch.autograd.grad(verdict.mean(lambda logit: logit).sum(), real.levels, create_graph=True)
        (verdict.mean(torch.nn.functional.softplus).sum() + sum(g.square().sum() for g in gradients)).backward()
        found.append({name: p.grad for name, p in D.named_parameters()})
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).abs().max() <= 1e-4 * gradient.abs().max(), name
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": (8, 8)}, r"channels has 2 entries, resolution 16 has 3 stages"),
        ({"head_dim": 3}, "channels has 10 in a stage with attention, needs a multiple of head_dim 3"),
        ({"inputs": (8, 4)}, "inputs is .* needs 16 first"),
        ({"inputs": (16, 4, 8)}, "inputs is .* needs each side once, finest first"),
        ({"outputs": (1, 4, 8)}, "outputs is .* needs each side once, finest first"),
        ({"input_weights": (1.0, 1.0)}, "input_weights has 2 entries, needs one per entry of inputs"),
        ({"outputs": (16, 4, 1)}, "outputs is .* needs any of"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(options, said):
    context = CheckContext(16, (16, 8, 4))
    GigaGANDiscriminatorConfig(**SMALL).check(context)
    with pytest.raises(ValueError, match=said):
        GigaGANDiscriminatorConfig(**SMALL | options).check(context)


def test_levels_that_synthesis_does_not_make_are_refused():
    with pytest.raises(ValueError, match=r"levels: it takes images of 4 px, and generator.synthesis makes images of 16, 8 px only"):
        GigaGANDiscriminatorConfig(**SMALL).check(CheckContext(16, (16, 8)))


def test_a_set_must_hold_whole_groups(randomised):
    assert [network(randomised, minibatch_std=group).batch_multiple for group in (0, 2, 4)] == [1, 2, 4]
    assert network(randomised).levels == (16, 8, 4)
