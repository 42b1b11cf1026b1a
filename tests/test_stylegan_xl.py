"""StyleGAN-XL as a system: published tables and counts, growth over three runs, projected heads, classes as features."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from shrink import shrink, timm_file
from tiny import ROOT, run_of

from t2igan.data.class_embeddings import class_embeddings, save_class_embeddings
from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.discriminator.stylegan_xl import PointOfView, Projection, Reassemble, StyleGANXLDiscriminatorConfig
from t2igan.errors import UserError
from t2igan.features.image_maps import ImageMaps
from t2igan.inference.open import open_model
from t2igan.layers.class_embedding import ClassEmbedding
from t2igan.objective.classifier_guidance import ClassifierGuidanceConfig
from t2igan.recipe import load_recipe
from t2igan.style.stylegan_xl import StyleGANXLMappingConfig
from t2igan.synthesis.base import SynthesisConfig
from t2igan.synthesis.stylegan_xl import StyleGANXLSynthesisConfig, grown_rows
from t2igan.system import build_generator
from t2igan.text.label import LabelTextConfig
from t2igan.types import CheckContext, ImagePyramid, ImageSet, PrepareContext, TextDims

pytest_plugins = ["kit"]

COUNTS = {16: 101_883_463, 32: 151_701_063, 64: 201_518_663, 128: 225_850_243, 256: 233_375_910}


@pytest.mark.parametrize("side", COUNTS)
def test_generators_have_the_releases_parameters(side):
    recipe = load_recipe(ROOT / f"configs/stylegan_xl_imagenet_{side}.yaml")
    with torch.device("meta"):
        generator = build_generator(recipe.generator, side, TextDims(1000, 1000))
    assert sum(p.numel() for p in generator.parameters()) == COUNTS[side]


def table(*heads):
    return [(row.name, row.after.side, row.after.channels) for row in grown_rows(StyleGANXLSynthesisConfig(head_layers=heads))]


def test_growth_replaces_the_last_layers_by_the_releases_heads():
    stem = table()
    assert [side for _, side, _ in stem] == [36] * 9 + [16] * 2 and len(stem) == 11
    grown = table(7)
    assert grown[:8] == stem[:8] and [side for _, side, _ in grown[8:]] == [36, 52, 52, 52, 52, 52, 32, 32]
    assert [name for name, *_ in table(7, 7)[:21]][-8:] == [f"64_{i}" for i in range(8)]
    found = table(7, 7, 7, 7, 7, 5)
    assert len(found) == 39 and [len(table(*[7] * n)) for n in range(1, 6)] == [16, 21, 26, 31, 36], "the paper's numbers of layers"
    at = {side: [row for row in table(*[7] * n) if row[0].startswith(f"{side}_")] for n, side in enumerate((128, 256, 512), 3)}
    assert [channels for *_, channels in at[128]] == [1024, 1024, 861, 724, 609, 512, 512, 3]
    assert [(side, channels) for _, side, channels in at[256]] == [
        *((148, 609), (276, 512), (276, 431), (276, 362)),
        *((276, 304), (276, 256), (256, 256), (256, 3)),
    ]
    assert [channels for *_, channels in at[512]] == [304, 256, 215, 181, 152, 128, 128, 3]
    assert [(side, channels) for _, side, channels in found[-6:]] == [
        (532, 152),
        (1044, 114),
        (1044, 85),
        (1044, 64),
        (1024, 64),
        (1024, 3),
    ]


def test_a_head_of_a_translated_input_translates_the_image():
    """Every layer of a head is filtered for what it really takes: a network grown twice keeps StyleGAN3's equivariance."""
    config = StyleGANXLSynthesisConfig(stem_layers=6, head_layers=(4, 4), channel_base=2048, channel_max=16)
    network = config.build(64, 8, 0).eval()
    styles = torch.randn(1, network.num_styles, 8)
    with torch.no_grad():
        before = network(styles, []).finest
        network.input.transform[0, 2] = -8 / 64
        after = network(styles, []).finest
    inside = slice(16, 48)
    error = (after[..., inside, 16 + 8 : 48 + 8] - before[..., inside, inside]).square().mean() / before.square().mean()
    assert float(-10 * error.log10()) > 40


def test_kernels_of_the_stem_may_be_smaller():
    with torch.device("meta"):
        three, one = (StyleGANXLSynthesisConfig(head_layers=(7,), stem_kernel=k).build(32, 512, 0) for k in (3, 1))
    counts = [sum(p.numel() for p in network.parameters()) for network in (three, one)]
    assert counts[0] - counts[1] == 8 * 8 * 1024**2


def test_what_does_not_fit_is_refused_in_one_line():
    context = CheckContext(64, (64,), num_classes=0)
    cases = [
        (
            StyleGANXLSynthesisConfig(head_layers=(7,)),
            r"head_layers has 1 entries, which make 32 px of a stem of 16 px, and resolution is 64",
        ),
        (StyleGANXLSynthesisConfig(stem_resolution=12), "stem_resolution is 12, needs a power of two of 16 or more"),
        (StyleGANXLSynthesisConfig(head_layers=(2, 7)), "is 2, needs 3 or more"),
        (StyleGANXLMappingConfig(class_embeddings="x"), "class_embeddings needs class labels"),
        (ClassifierGuidanceConfig(), "classes is 1000, and the text of this system has none; guidance needs labels"),
        (judge_config(views=()), "views is empty, needs a frozen network"),
        (judge_config(mixed=(4, 4)), "mixed has 2 entries, needs 4"),
        (judge_config(views=(view(layers=(1, 2)),)), r"views.0.layers is \[1, 2\], needs 4 numbers of layers"),
        (judge_config(views=(view(widths=(1, 2)),)), "views.0.widths has 2 entries, needs 4, or one for all"),
        (judge_config(views=(view(reassemble=(1,)),)), "views.0.reassemble has 1 entries, needs 4, or none"),
        (judge_config(class_embeddings="x"), "class_embeddings needs class labels"),
        (judge_config(embedding_width=4), "embedding_width is given without class_embeddings; give both or neither"),
        (judge_config(views=(view(model="local-dir:x", weights="y"),)), "views.0.weights is y, and a CLIP brings its own; leave it out"),
        (StyleGANXLMappingConfig(embedding_width=4), "embedding_width is given without class_embeddings"),
        (judge_config(head_blocks=2), "head_blocks is 2, needs 0 or 1"),
        (judge_config(views=(view(side=64),)), "views.0.side is 64, and test_efficientnet reads images by a rule of its own"),
    ]
    for config, message in cases:
        with pytest.raises(ValueError, match=message):
            config.check(context)


# ---------------------------------------------------------------------------------------------------- growth over runs


@pytest.fixture(scope="module")
def runs(kit, tmp_path_factory):
    """(folder, run) of the three recipes on emoji, shrunken, each begun by the run before."""
    folder, found = tmp_path_factory.mktemp("growth"), []
    for side in (16, 32, 64):
        recipe = load_recipe(ROOT / f"configs/emoji_stylegan_xl_{side}.yaml")
        small = shrink(recipe, kit)
        start = replace(recipe.start, run=str(found[-1][0])) if found else None
        assert not found or (recipe.start.parts, recipe.start.average) == (("generator",), True)
        run = run_of(replace(small, start=start), folder / str(side))
        run.train()
        found.append((folder / str(side), run))
    return found


def saved(folder, part) -> dict[str, torch.Tensor]:
    (file,) = folder.glob(f"checkpoints/*/{part}.safetensors")
    return load_file(file)


def test_the_stem_and_the_mapping_network_stay_and_the_rest_trains(runs):
    for (first, _), (second, run) in zip(runs, runs[1:], strict=False):
        average = saved(first, "ema")
        for part in ("generator", "ema"):
            after = saved(second, part)
            kept = {name for name in after if name in average}
            same = {name for name in kept if torch.equal(after[name], average[name])}
            frozen = {name for name, p in run.trainer.generator.named_parameters() if not p.requires_grad}
            assert frozen <= same and len(frozen) > 20
            assert all(name.startswith(("adapter.", "mapper.", "synthesis.layers.")) for name in frozen)
            assert not {"synthesis.input.weight", "synthesis.input.affine.bias"} & same, "the waves go on training"
        stem, side = {name for name in average if "layers." in name}, run.recipe.resolution
        replaced = {name for name in stem if name not in after}
        assert {name.split(".")[2].partition("_")[0] for name in replaced} == {str(side // 2)}
        assert len({name.split(".")[2] for name in replaced}) == 3, "the two critical layers and the image"
    assert open_model(runs[2][0])(["thing 1"])[0][0].size == (64, 64)


@pytest.fixture
def begin(runs, kit, tmp_path):
    """begin(number, side, **changes of the synthesis) -> begins the recipe of that side with the weights of run `number`."""

    def make(number, side, **changes):
        recipe = load_recipe(ROOT / f"configs/emoji_stylegan_xl_{side}.yaml")
        small, start = shrink(recipe, kit), replace(recipe.start, run=str(runs[number][0]))
        generator = replace(small.generator, synthesis=replace(small.generator.synthesis, **changes))
        run_of(replace(small, generator=generator, start=start), tmp_path / "run").begin()

    return make


def test_a_stem_of_another_kind_or_resolution_is_refused_in_one_line(begin, runs):
    stem = runs[0][1].recipe.generator.synthesis
    with pytest.raises(UserError, match=r"channel_max is 6, and start\.run was trained with \d+; a stem stays as it was trained"):
        begin(0, 32, channel_max=6)
    more = stem.stem_layers + 2
    with pytest.raises(UserError, match=rf"synthesis: stem_layers is {more}, and start\.run was trained with {stem.stem_layers}; a stem"):
        begin(0, 32, stem_layers=more)
    with pytest.raises(UserError, match=r"start\.run .* \(generator\) has no synthesis\.layers\.32_\S+, which the recipe freezes; start"):
        begin(0, 64)
    with pytest.raises(UserError, match=r"head_layers is \[5, 4\], needs to begin with that of start\.run, \[\d\]"):
        begin(1, 64, head_layers=(5, 4))
    with pytest.raises(ValueError, match=r"kind stylegan_xl grows from a run of its own kind"):
        stem.check_start(SynthesisConfig())


# ---------------------------------------------------------------------------------------------------- discriminator


def view(**options) -> PointOfView:
    return PointOfView(**{"model": "test_efficientnet", "layers": (1, 2, 3, 4), "widths": (24, 32, 48, 64)} | options)


def judge_config(**options) -> StyleGANXLDiscriminatorConfig:
    transformer = view(model="test_vit", widths=(64,), reassemble=(4, 6, 8, 10))
    sizes = {"views": (transformer, view()), "mixed": (4, 6, 8, 10), "head_channels": (5, 6, 7, 8), "group": 2}
    return StyleGANXLDiscriminatorConfig(**sizes | options)


def judge(randomised, text_dim=10, **options):
    D = randomised(judge_config(**options).build(32, None, TextDims(text_dim, text_dim)))
    D.prepare(PrepareContext("cpu", list, None, weights=False))
    return D


def images(n=2, side=32) -> ImageSet:
    return ImageSet(ImagePyramid((torch.randn(n, 3, side, side),)), (torch.arange(n),))


@pytest.mark.slow
def test_the_published_network_has_the_releases_maps_and_logits(descriptors):
    """The specification: 128 logits of an image below 224 px, 64 and 100 from there."""
    network = load_recipe(ROOT / "configs/stylegan_xl_imagenet_16.yaml").discriminator.network
    D = replace(network, class_embeddings=None).build(16, None, TextDims(0, 0))
    D.prepare(PrepareContext("cpu", list, None, weights=False))
    for side, logits in ((32, [16] * 8), (256, [16] * 4 + [25] * 4)):
        with torch.no_grad():
            ((verdict,),) = D([images(1, side)], descriptors([2], text_dim=0))
            sides = [[x.shape[1:] for x in one.maps(images(1, side).pyramid.finest)] for one in D.views]
        assert [logit.shape[1] for logit in verdict.logits] == logits
        assert sides[0] == [(64, 112, 112), (64, 56, 56), (128, 28, 28), (256, 14, 14)]
        assert [shape[1] for shape in sides[1]] == ([112, 56, 28, 14] if side < 224 else [128, 64, 32, 16])
    widths = [[block.conv.weight.shape[0] for block in head.blocks] for head in D.views[0].heads]
    assert widths == [[64, 128, 256, 512], [128, 256, 512], [256, 512], [512]]


def test_maps_are_mixed_across_channels_and_scales():
    projection = Projection((3, 4, 5, 6), (8, 10, 12, 14))
    maps = [torch.randn(2, c, 16 >> i, 16 >> i) for i, c in enumerate((3, 4, 5, 6))]
    found = projection(maps)

    def conv(layer, x):
        return torch.einsum("oi,bihw->bohw", layer.weight[:, :, 0, 0], x) + layer.bias[:, None, None]

    above = 0
    for i in (3, 2, 1, 0):
        x = conv(projection.across_channels[i], maps[i]) + above
        above = conv(projection.across_scales[i], F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        assert torch.allclose(found[i], above, atol=1e-5)
    assert [x.shape[1:] for x in found] == [(8, 32, 32), (8, 16, 16), (10, 8, 8), (12, 4, 4)]
    assert not list(projection.parameters()) and len(projection.state_dict()) == 16, "never trained, and saved"


def test_a_transformers_maps_become_a_pyramid():
    pyramid = Reassemble((6,) * 4, (3, 4, 5, 7))([torch.randn(2, 6, 10, 10) for _ in range(4)])
    assert [x.shape[1:] for x in pyramid] == [(3, 40, 40), (4, 20, 20), (5, 10, 10), (7, 5, 5)]


def test_a_class_or_text_decides_by_projection(randomised, descriptors):
    D, text, one = judge(randomised), descriptors([2, 2]), images()
    ((verdict,),) = D([one], text)
    assert [logit.shape for logit in verdict.logits] == [(2, 4)] * 8
    head, x = D.views[1].heads[2], D.views[1].maps(one.pyramid.finest)[2]
    features = head.features(x)
    condition = F.leaky_relu(text.pooled @ head.embed.linear.weight.T / 10**0.5 + head.embed.linear.bias, 0.2) * 2**0.5
    assert torch.allclose(verdict.logits[6], (features * condition[:, :, None]).sum(1) / 8, atol=1e-4)
    for block in head.blocks:
        x = block.conv(x)
        mean, deviation = x.mean((0, 2, 3), keepdim=True), (x.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        x = F.leaky_relu((x - mean) / deviation * block.norm.weight[..., None] + block.norm.bias[..., None], 0.2)
    assert torch.allclose(head.out(x).flatten(2), features, atol=1e-4)


def test_real_and_generated_images_do_not_share_statistics(randomised, descriptors):
    D, text = judge(randomised, text_dim=0), descriptors([2] * 2, text_dim=0)
    sets = [images(), images()]
    together, alone = D(sets, text), [D([one], text)[0] for one in sets]
    for a, b in zip(together, alone, strict=True):
        assert all(torch.allclose(x, y, atol=1e-4) for x, y in zip(a[0].logits, b[0].logits, strict=True))


def test_gradients_reach_the_image_and_every_head_and_nothing_frozen(randomised, descriptors):
    D, text, x = judge(randomised), descriptors([2, 2]), torch.randn(2, 3, 32, 32, requires_grad=True)
    ((verdict,),) = D([ImageSet(ImagePyramid((x,)), (torch.arange(2),))], text)
    verdict.mean(torch.square).sum().backward()
    assert x.grad.abs().sum() > 0 and all(p.grad is not None for p in D.parameters())
    assert not any("tower" in name for name in D.state_dict())


def test_widths_that_are_not_the_networks_are_refused(randomised):
    with pytest.raises(UserError, match=r"views.0.widths is \[24, 32, 48, 60\], test_efficientnet has \[24, 32, 48, 64\]; write that"):
        judge(randomised, views=(view(widths=(24, 32, 48, 60)),))
    with pytest.raises(UserError, match=r"the maps of test_vit have \[10, 10, 10, 10\] px, not each half of the one before; choose layers"):
        judge(randomised, views=(view(model="test_vit", widths=(64,)),))


# ---------------------------------------------------------------------------------------------------- classes


def test_a_mapping_network_reads_classes_through_a_table(descriptors, tmp_path):
    rows = torch.randn(3, 7)
    save_class_embeddings(rows, tmp_path / "rows.safetensors")
    config = StyleGANXLMappingConfig(z_dim=4, style_dim=6, class_embeddings=str(tmp_path / "rows.safetensors"), embedding_width=7)
    network = config.build(3)
    network.prepare(PrepareContext("cpu", list, None))
    assert network.embed.table.equal(rows) and network.embed.table.requires_grad
    text = replace(descriptors([1, 1], text_dim=3), pooled=torch.eye(3)[[2, 0]])
    z = torch.randn(2, 4)

    def unit(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    y = F.leaky_relu(rows[[2, 0]] @ network.embed.linear.weight.T / 7**0.5, 0.2) * 2**0.5
    x = torch.cat([unit(z), unit(y)], 1)
    for layer in network.layers:
        x = F.leaky_relu(x @ layer.weight.T * 0.01 / layer.weight.shape[1] ** 0.5, 0.2) * 2**0.5
    assert torch.allclose(network.map(z, text), x, atol=1e-5)
    for rows, message in ((None, "no class embeddings at"), (torch.randn(4, 7), r"holds a table of \(4, 7\), and this system's table has")):
        if rows is not None:
            save_class_embeddings(rows, tmp_path / "other.safetensors")
        with pytest.raises(UserError, match=message):
            ClassEmbedding(3, 7, 2).load(tmp_path / "other.safetensors", "generator.style.class_embeddings")


def test_class_embeddings_are_the_means_of_features(kit):
    shards = Shards(str(kit.shards))
    names = sorted({shards.read(number).captions[0] for number in range(len(shards))})
    model, weights = timm_file(kit, "test_efficientnet", 1000)
    network = ImageMaps(weights, model, ("block4",))
    network.load_pretrained()
    encoder = LabelTextConfig(num_classes=len(names), names=tuple(names)).build()
    rows = class_embeddings(shards, encoder, network, "block4", 32)
    own = [shards.read(n) for n in range(len(shards)) if shards.read(n).captions[0] == names[1]]
    features = torch.stack([network(to_signed(decode(record.image, 32)[None]))["block4"][0].mean((1, 2)) for record in own])
    assert rows.shape == (len(names), 64) and torch.allclose(rows[1], features.mean(0), atol=1e-4)
    with pytest.raises(UserError, match=r"1 classes have no image, the first of them number \d+; give data of every class"):
        class_embeddings(shards, LabelTextConfig(len(names) + 1, (*names, "zzz")).build(), network, "block4", 32)


@pytest.mark.parametrize(("name", "sides"), [("test_efficientnet", {32: 160, 200: 200}), ("test_vit", {32: 160, 200: 160})])
def test_images_are_read_as_the_networks_rules_say(name, sides):
    network, seen = ImageMaps(None, name, ("block1",)), []
    network.load_architecture()
    network.network.forward_intermediates = lambda x, **options: [seen.append(x.shape[-1]) or x]
    for side in sides:
        network(torch.randn(1, 3, side, side))
    assert seen == list(sides.values())


def test_a_network_that_timm_lacks_or_without_weights_is_refused():
    with pytest.raises(UserError, match="timm has no model 'efficient'"):
        ImageMaps(None, "efficient", ("block1",))
    with pytest.raises(UserError, match=r"weights of test_vit are not given; write hf-hub:timm/test_vit\.r160_in1k, or get model"):
        ImageMaps(None, "test_vit", ("block1",)).load_pretrained()
    with pytest.raises(UserError, match=r"test_efficientnet has no layer 'block9'; its layers are block0, block1"):
        ImageMaps(None, "test_efficientnet", ("block1", "block9"))
