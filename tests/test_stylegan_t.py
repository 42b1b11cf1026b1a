"""StyleGAN-T as a system: published sizes, what it is at initialisation, styles of second order."""

import math

import pytest
import torch
import torch.nn.functional as F

from t2igan.discriminator.stylegan_t import StyleGANTDiscriminatorConfig, TokenHead
from t2igan.draws import Draws
from t2igan.errors import UserError
from t2igan.features.vision_tokens import VisionTokens
from t2igan.recipe import load_recipe
from t2igan.style.stylegan_t import StyleGANTMappingConfig
from t2igan.synthesis.stylegan_t import ResidualLayer, SecondOrderStyle, StyleGANTSynthesisConfig
from t2igan.types import CheckContext, ImagePyramid, ImageSet, PrepareContext, TextDims

PUBLISHED = [
    ("full", {64: 975_547_691, 256: 1_016_428_351, 512: 1_020_489_289}),
    ("lite", {64: 74_548_515, 256: 85_694_899, 512: 87_036_539}),
]
RECIPES = [f"{preset}_{rest}" for preset in ("full", "lite") for rest in ("64", "64_phase2", "256", "512")]
W = 64 + 768


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("preset", "sizes"), PUBLISHED)
def test_synthesis_has_the_releases_parameters(preset, sizes, root):
    recipes = {resolution: load_recipe(root / f"configs/stylegan_t_{preset}_{resolution}.yaml") for resolution in sizes}
    with torch.device("meta"):
        assert {r: count(recipe.generator.synthesis.build(recipe.resolution, W, 768)) for r, recipe in recipes.items()} == sizes


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_the_published_presets(name, root):
    recipe = load_recipe(root / f"configs/stylegan_t_{name}.yaml")
    training, first, second = recipe.training, name.endswith("_64"), "phase2" in name
    assert (training.batch, training.ema.half_life(0), training.discriminator_optimizer.lr(0)) == (2048, 640_000, 0.002)
    assert training.generator_optimizer.lr(0) == (3e-6 if second else 0.002) and training.generator_optimizer.betas[1](0) == 0.99
    assert [term.kind for term in recipe.objective.discriminator] == ["hinge"]
    hinge, guidance = recipe.objective.generator
    assert (hinge.kind, guidance.kind) == ("hinge", "clip_spherical")
    assert (guidance.weight(0), guidance.options.crop) == (50 if second else 0.2, None if recipe.resolution == 64 else 64)
    frozen = [group.match for group in training.generator_optimizer.groups if group.frozen]
    assert frozen == ([] if first else ["mapper.*", "synthesis.*"] if second else ["adapter.*"])
    augment = recipe.augment
    if first:
        assert [augment.sigma(images) for images in (0, 500_000, 10**6, 10**8)] == [32, 16, 0, 0]
    elif not second:
        assert (augment.side, augment.probability) == (224, 0.5)
    colours = augment.then if first else augment if second else augment.first
    assert [getattr(colours, part) for part in ("brightness", "saturation", "contrast", "translation", "cutout")] == [1, 1, 0.5, 0.125, 0.2]
    assert (colours.probability(0), colours.fill) == (1, "zeros")


def test_the_mapping_network_has_the_releases_parameters_and_text_goes_around_it(descriptors):
    network, text = StyleGANTMappingConfig().build(768), descriptors([2, 2], text_dim=768)
    assert count(network) == 8_320 and network.style_dim == W
    z = torch.randn(2, 64)
    w = network.map(z, text)
    unit = text.pooled / text.pooled.norm(dim=1, keepdim=True)
    assert torch.allclose(w[:, 64:], unit, atol=1e-6)
    assert torch.allclose(network.map(3 * z, text), w, atol=1e-5), "the length of z does not matter"
    x = z / z.square().mean(1, keepdim=True).add(1e-8).sqrt()
    first, second = network.layers
    x = F.leaky_relu(x @ first.weight.T * 0.01 / 8 + first.bias * 0.01, 0.2) * 2**0.5
    assert torch.allclose(w[:, :64], x @ second.weight.T * 0.01 / 8 + second.bias * 0.01, atol=1e-5), "the last layer is linear"
    assert StyleGANTMappingConfig(text_scale=3.0).build(768).map(z, text)[:, 64:].equal(3 * w[:, 64:])


def test_truncation_leaves_the_text(descriptors):
    network, text, z = StyleGANTMappingConfig().build(10), descriptors([2, 2]), torch.randn(2, 64)
    pulled = network(z, text, 1, truncation=0.0)[:, 0]
    assert torch.allclose(pulled[:, 64:], F.normalize(text.pooled), atol=1e-6)
    assert torch.allclose(pulled[0, :64], pulled[1, :64], atol=1e-6), "one mean for all prompts"


def test_the_nearest_centroid_leaves_the_text_too(descriptors):
    network, text, z = StyleGANTMappingConfig().build(10), descriptors([2, 2]), torch.randn(2, 64)
    free = network(z, text, 1)[:, 0]
    network.centroids = torch.cat([free[:1] + 0.1, free[1:] - 0.1])
    pulled = network(z, text, 1, truncation=0.0)[:, 0]
    assert torch.allclose(pulled[:, :64], network.centroids[:, :64], atol=1e-5)
    assert torch.allclose(pulled[:, 64:], free[:, 64:], atol=1e-6)


# ---------------------------------------------------------------------------------------------------- synthesis


def small(resolution=32, **options):
    return StyleGANTSynthesisConfig(**{"channel_base": 128, "channel_max": 16, "blocks": 2, "groups": 4} | options).build(resolution, 6, 0)


def test_a_style_of_second_order_is_two_at_initialisation():
    style = SecondOrderStyle(6, 4)
    with torch.no_grad():
        style.linear.weight.zero_()
    assert style(torch.randn(3, 6)).eq(2).all()
    with torch.no_grad():
        style.linear.weight.normal_()
    x = torch.randn(3, 6)
    first, second, third = (x @ style.linear.weight.T / 6**0.5 + 1).chunk(3, dim=1)
    assert torch.allclose(style(x), first * second + third, atol=1e-5)


def test_a_residual_layer_is_its_normalised_input_at_initialisation():
    layer, x = ResidualLayer(8, 6, 16, StyleGANTSynthesisConfig(groups=4)), 3 * torch.randn(2, 8, 16, 16) + 1
    y = layer(x, torch.randn(2, 6), None, math.sqrt(0.5))
    assert torch.allclose(y, math.sqrt(2) * F.group_norm(x, 4), atol=1e-4)


def test_every_convolution_has_a_style_and_images_share_the_next_stages():
    network, seen = small(), []

    def note(module, inputs):
        seen.append(int(inputs[1][0, 0]))

    for stage in network.stages:
        convs = [layer.conv if hasattr(layer, "conv") else layer.layer.conv for layer in stage.layers]
        for conv in ([] if stage.up is None else [stage.up.conv]) + convs + [stage.to_rgb]:
            conv.register_forward_pre_hook(note)
    network.stages[0].input.register_forward_pre_hook(lambda module, inputs: seen.append(int(inputs[0][0, 0])))
    styles = torch.arange(16.0)[None, :, None].expand(2, 16, 6)
    network(styles, [])
    assert network.num_styles == 3 * 5 + 1
    assert seen == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15]


def test_every_parameter_trains_and_recomputing_changes_nothing(randomised):
    network, styles, draws = randomised(small()), torch.randn(2, 16, 6), Draws(0, torch.arange(2))
    network(styles, [], draws=draws).finest.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    again = small(activation_checkpointing=True)
    again.load_state_dict(network.state_dict())
    again(styles, [], draws=draws).finest.square().sum().backward()
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-4 * float(one.grad.abs().max()))


def test_noise_is_new_for_every_image_of_training_and_fixed_outside(randomised):
    network, styles = randomised(small()), torch.randn(2, 16, 6)
    assert network(styles, []).finest.equal(network(styles, []).finest)
    one, other = (network(styles, [], draws=Draws(0, torch.arange(first, first + 2))).finest for first in (0, 5))
    assert not torch.allclose(one, other, atol=1e-3)


def test_channels_that_make_no_groups_are_refused():
    with pytest.raises(ValueError, match="groups is 32, and the stage of 16 px has 48 channels; choose a divisor"):
        StyleGANTSynthesisConfig(channel_base=768, channel_max=64).check(CheckContext(32, (32,)))
    assert StyleGANTSynthesisConfig().check(CheckContext(512, (512,))) is None


# ---------------------------------------------------------------------------------------------------- discriminator

TINY = "vit_of_these_tests"  # three blocks of width 24, made below


@pytest.fixture(scope="module", autouse=True)
def tiny_vit():
    """A vision transformer that timm does not know: three blocks, width 24, 32 px in patches of 8."""
    import timm
    from timm.models import register_model
    from timm.models.vision_transformer import VisionTransformer, default_cfgs

    def vit_of_these_tests(pretrained=False, **options):
        options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2} | options
        options.pop("pretrained_cfg", None), options.pop("pretrained_cfg_overlay", None), options.pop("cache_dir", None)
        return VisionTransformer(**options)

    vit_of_these_tests.__module__ = "timm.models.vision_transformer"
    default_cfgs[TINY] = default_cfgs["vit_small_patch16_224"]
    if TINY not in timm.list_models():
        register_model(vit_of_these_tests)
    assert TINY in timm.list_models()


def judge(randomised, text_dim=10, **options):
    sizes = {"model": TINY, "side": 32, "layers": (0, 2), "widths": (24,), "channels": 5, "group": 2}
    config = StyleGANTDiscriminatorConfig(**sizes | options)
    network = randomised(config.build(16, None, TextDims(text_dim, text_dim)))
    network.tower.network.load_architecture()
    return network


def test_the_heads_have_the_releases_parameters():
    config = StyleGANTDiscriminatorConfig()
    with torch.device("meta"):
        heads = [TokenHead(384, config, 768) for _ in range(5)]
        unconditional = [TokenHead(384, config, 0) for _ in range(5)]
    assert sum(map(count, heads)) == 7_753_600
    assert sum(map(count, unconditional)) == 7_753_600 - 5 * (768 * 64 + 64 + 63 * 384 + 63)


@pytest.mark.slow
def test_the_published_network_has_980_logits_of_an_image(descriptors, root):
    network = load_recipe(root / "configs/stylegan_t_lite_64.yaml").discriminator.network
    D = network.build(64, None, TextDims(768, 768))
    D.prepare(PrepareContext("cpu", list, None, weights=False))
    one = ImageSet(ImagePyramid((torch.randn(1, 3, 64, 64),)), (torch.arange(1),))
    with torch.no_grad():
        ((verdict,),) = D([one], descriptors([2], text_dim=768))
    assert D.names == ("block2", "block5", "block8", "block11", "embedding")
    assert [logit.shape for logit in verdict.logits] == [(1, 196)] * 5


def test_every_token_of_every_layer_votes(randomised, descriptors):
    D, text = judge(randomised), descriptors([2, 2, 2])
    images = ImageSet(ImagePyramid((torch.randn(2, 3, 16, 16),)), (torch.tensor([0, 1]), torch.tensor([1, 2])))
    ((own, other),) = D([images], text)
    assert [logit.shape for logit in own.logits] == [(2, 16)] * 3 and D.names == ("block0", "block2", "embedding")
    tokens = D.tower(images.pyramid.finest)
    head = D.heads[1]
    features = head.features(tokens["block2"])
    wanted = (features * head.embed(F.normalize(text.pooled)[[1, 2]])[:, :, None]).sum(1) / 5**0.5
    assert torch.allclose(other.logits[1], wanted, atol=1e-5) and not torch.allclose(own.logits[1], wanted, atol=1e-3)
    x = F.leaky_relu(head.first_norm(head.first(tokens["block2"])), 0.2)
    x = (x + F.leaky_relu(head.second_norm(head.second(x)), 0.2)) / 2**0.5
    assert torch.allclose(features, head.out(x), atol=1e-5)


def test_tokens_are_the_networks_with_its_class_token_added(randomised):
    network = judge(randomised).tower.network
    x = torch.randn(2, 3, 32, 32)
    found = network(x)
    inside = network.network
    tokens = inside._pos_embed(inside.patch_embed(((x + 1) / 2 - network.mean) / network.std))
    assert torch.allclose(found["embedding"], (tokens[:, 1:] + tokens[:, :1]).transpose(1, 2), atol=1e-5)
    for block in inside.blocks:
        tokens = block(tokens)
    assert torch.allclose(found["block2"], (tokens[:, 1:] + tokens[:, :1]).transpose(1, 2), atol=1e-5)
    assert torch.allclose(network(x[:, :, ::2, ::2])["embedding"], network(F.interpolate(x[:, :, ::2, ::2], 32))["embedding"], atol=1e-5)


def test_real_and_generated_images_do_not_share_statistics(randomised, descriptors):
    D, text = judge(randomised), descriptors([2] * 4)
    sets = [ImageSet(ImagePyramid((k * torch.randn(4, 3, 16, 16),)), (torch.arange(4),)) for k in (1, 3)]
    together, alone = D(sets, text), [D([one], text)[0] for one in sets]
    for a, b in zip(together, alone, strict=True):
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a[0].logits, b[0].logits, strict=True))
    part = ImageSet(ImagePyramid((sets[0].pyramid.finest[:2],)), (torch.arange(2),))
    assert torch.allclose(D([part], text)[0][0].logits[0], together[0][0].logits[0][:2], atol=1e-5), "groups of two are whole"


def test_without_text_a_head_has_one_number_for_each_token(randomised, descriptors):
    D = judge(randomised, text_dim=0)
    ((verdict,),) = D([ImageSet(ImagePyramid((torch.randn(2, 3, 16, 16),)), (torch.arange(2),))], descriptors([2, 2], text_dim=0))
    assert [logit.shape for logit in verdict.logits] == [(2, 16)] * 3 and all(head.embed is None for head in D.heads)


def test_what_does_not_fit_is_refused_in_one_line(randomised, tmp_path):
    with pytest.raises(
        UserError, match=r"weights of vit_small_patch16_224.dino are not given; write hf-hub:timm/vit_small_patch16_224.dino, or get"
    ):
        VisionTokens(None, "vit_small_patch16_224.dino", ("block0",)).load_pretrained()
    with pytest.raises(
        UserError, match=r"no weights at .*gone.pth; write hf-hub:timm/vit_small_patch16_224.dino, or get model.safetensors from https"
    ):
        VisionTokens(str(tmp_path / "gone.pth"), "vit_small_patch16_224.dino", ("block0",)).load_pretrained()
    with pytest.raises(UserError, match="timm has no model 'vit_smal'"):
        VisionTokens(None, "vit_smal", ("block0",))
    D = judge(randomised, widths=(24, 24, 16))
    with pytest.raises(
        UserError, match=r"discriminator.network.widths is \[24, 24, 16\], vit_of_these_tests has \[24, 24, 24\]; write that"
    ):
        D.prepare(PrepareContext("cpu", list, None, weights=False))
    context = CheckContext(16, (16,))
    for options, message in (
        ({"layers": (2, 0)}, "in rising order"),
        ({"widths": (3, 4)}, "widths has 2 entries, needs one for each of block2"),
        ({"model": "local-dir:x", "widths": (3,), "side": 64}, "side is 64, and a CLIP brings its own; leave it out"),
    ):
        with pytest.raises(ValueError, match=message):
            StyleGANTDiscriminatorConfig(**options).check(context)
