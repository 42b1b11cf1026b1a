"""R3GAN as a system: published sizes, schedules, the uniform way to text, labels and none."""

import pytest
import torch

from t2igan.augment.ada import ADA
from t2igan.commands.show import describe
from t2igan.discriminator.r3gan import R3GANDiscriminator, R3GANDiscriminatorConfig
from t2igan.layers.residual_grouped import GroupedResidualBlock
from t2igan.recipe import load_recipe
from t2igan.style.latent import LatentConfig
from t2igan.synthesis.r3gan import R3GANSynthesisConfig
from t2igan.system import build_system
from t2igan.types import ImagePyramid, ImageSet, TextDims

PUBLISHED = [
    ("r3gan_ffhq_64", 22_429_824, 22_381_440),
    ("r3gan_ffhq_256", 23_057_952, 23_009_568),
    ("r3gan_cifar10", 20_781_952, 21_280_512),
]


@pytest.mark.parametrize(("name", "generator", "discriminator"), PUBLISHED)
def test_parameter_counts_are_the_releases(name, generator, discriminator, root):
    parts = describe(load_recipe(root / "configs" / f"{name}.yaml"))["parts"]
    assert (parts["generator"]["params"], parts["discriminator"]["params"]) == (generator, discriminator)


# gamma, augmentation, EMA half-life at the start and at the end; the length of the schedules
SCHEDULES = {
    "r3gan_cifar10": ((0.05, 0.005), (0, 0.55), (0, 5e6), 2e7),
    "r3gan_ffhq_64": ((2, 0.2), (0, 0.3), (0, 5e5), 2e7),
    "r3gan_ffhq_256": ((150, 15), (0, 0.3), (0, 5e5), 2e7),
    "r3gan_imagenet_32": ((0.5, 0.05), (0, 0.5), (0, 5e7), 2e8),
    "r3gan_imagenet_64": ((1, 0.1), (0, 0.4), (0, 5e7), 2e8),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_everything_that_the_paper_schedules_follows_one_cosine(name, root):
    recipe, (gamma, probability, half_life, length) = load_recipe(root / "configs" / f"{name}.yaml"), SCHEDULES[name]
    r1, r2 = recipe.objective.discriminator[1:]
    training = recipe.training
    found = [
        (r1.options.gamma, gamma),
        (r2.options.gamma, gamma),
        (recipe.augment.probability, probability),
        (training.ema.half_life, half_life),
        (training.generator_optimizer.lr, (2e-4, 5e-5)),
        (training.discriminator_optimizer.betas[1], (0.9, 0.99)),
    ]
    for schedule, (start, end) in found:
        middle = start + (end - start) / 2
        values = [schedule(int(images)) for images in (0, length / 2, length, 2 * length)]
        assert values == pytest.approx([start, middle, end, end])
    assert (r1.every, r2.every, training.own_reals, training.reuse_fakes, recipe.data.mirror) == (1, 1, True, False, True)


def test_the_generator_scales_its_basis_by_the_style_and_doubles_the_side(randomised):
    synthesis = randomised(R3GANSynthesisConfig(channels=(8, 8, 4), groups=(2, 2, 1), half_precision_stages=2).build(16, 5, 0))
    style = torch.randn(2, 1, 5)
    (image,) = synthesis(style, []).levels
    assert image.shape == (2, 3, 16, 16) and image.dtype == torch.float32
    assert torch.allclose(
        synthesis.input(style[:, 0]), synthesis.input.basis * (style[:, 0] @ synthesis.input.scale.weight.T)[:, :, None, None]
    )
    assert [t.project is None for t in synthesis.transitions] == [True, False], "a 1x1 convolution only where the width changes"
    assert sum(isinstance(m, GroupedResidualBlock) for m in synthesis.modules()) == 6


def test_coarse_stages_compute_in_single_precision_under_autocast(randomised):
    config = R3GANSynthesisConfig(channels=(8, 8, 4), groups=(2, 2, 1), half_precision_stages=1)
    synthesis, seen = randomised(config.build(16, 5, 0)), []
    for stage in synthesis.stages:
        stage.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert synthesis(torch.randn(2, 1, 5), []).finest.dtype == torch.float32
    assert seen == [torch.float32, torch.float32, torch.bfloat16]
    D = randomised(R3GANDiscriminatorConfig(channels=(8, 8, 4), groups=(2, 2, 1), half_precision_stages=1).build(16, None, TextDims(0, 0)))
    seen.clear()
    for stage in D.stages:
        stage.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        features = D.features(torch.randn(2, 3, 16, 16))
    assert seen == [torch.bfloat16, torch.float32, torch.float32] and features.dtype == torch.float32


def discriminator(randomised, text_dim: int) -> R3GANDiscriminator:
    config = R3GANDiscriminatorConfig(channels=(8, 8, 4), groups=(2, 2, 1), half_precision_stages=3)
    return randomised(config.build(16, None, TextDims(text_dim, text_dim)))


def test_text_enters_the_discriminator_by_projection(randomised, descriptors):
    D, text = discriminator(randomised, 10), descriptors([6, 2, 3])
    images = ImagePyramid((torch.randn(3, 3, 16, 16),))
    own, other = torch.arange(3), torch.tensor([1, 2, 0])
    ((first, second),) = D([ImageSet(images, (own, other))], text)
    features = D.features(images.finest)
    for verdict, rows in ((first, own), (second, other)):
        expected = (features * (text.pooled[rows] @ D.embed.weight.T)).sum(1, keepdim=True)
        assert torch.allclose(verdict.logits[0], expected, rtol=1e-4, atol=1e-4)


def test_sets_do_not_reach_one_another(randomised, descriptors):
    D, text, own = discriminator(randomised, 10), descriptors([6, 2]), torch.arange(2)
    a, b = (ImageSet(ImagePyramid((torch.randn(2, 3, 16, 16),)), (own,)) for _ in range(2))
    together, alone = D([a, b], text), D([b], text)
    assert torch.allclose(together[1][0].logits[0], alone[0][0].logits[0], rtol=1e-4, atol=1e-5)


def test_without_text_nothing_is_embedded(randomised):
    D = discriminator(randomised, 0)
    assert D.embed is None and D.output.linear.weight.shape == (1, 8)
    style = LatentConfig(z_dim=6, text_dim=4).build(0)
    assert style.embed is None and style.style_dim == 6
    assert LatentConfig(z_dim=6, text_dim=4).build(10).style_dim == 10


def test_the_emoji_recipe_has_text_and_can_do_without(root):
    path = root / "configs" / "emoji_r3gan_32.yaml"
    with torch.device("meta"):
        system = build_system(load_recipe(path))
        assert system.discriminator.embed is not None and isinstance(system.augment, ADA)
        overrides = ["text={kind: none}", "generator.adapter=null", "discriminator.adapter=null", "training.prompts=[]"]
        unconditional = build_system(load_recipe(path, [*overrides, "objective.generator=[{kind: relativistic}]"]))
    assert unconditional.discriminator.embed is None and unconditional.generator.mapper.style_dim == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": (96, 96, 96, 96, 7)}, "groups has 7 where channels has 384, needs a divisor of 768"),
        ({"channels": (8, 8)}, "channels has 2 entries, resolution 64 has 5 stages"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    from t2igan.types import CheckContext

    for config in (R3GANSynthesisConfig, R3GANDiscriminatorConfig):
        with pytest.raises(ValueError, match=message):
            config(**options).check(CheckContext(64, (64,)))
