"""The augmentation pipeline against the release's numbers, and its controller."""

from dataclasses import fields, replace

import pytest
import torch

from t2igan.augment.ada import ADA, COINS, NORMALS, UNIFORMS, ADAConfig, Numbers, filter_bank
from t2igan.draws import Draws
from t2igan.schedule import constant
from t2igan.types import ImagePyramid, TrainingTime, Verdict

OFF = {f.name: 0.0 for f in fields(ADAConfig) if f.name not in ("probability", "target", "ramp_images", "interval")}
QUANTILE = 0.3708071585935579  # erfinv(0.4)


def image() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return torch.stack([0.8 * (0.5 * x + 0.1 * y).sin(), 0.8 * (0.3 * y).cos(), 0.8 * (0.2 * (x + y)).sin()])[None]


def opened(which) -> Numbers:
    """Every transform of `which` fires, with every number at its 0.7 quantile; the second rotation is by nothing."""
    on = {coin: torch.tensor([coin in which]) for coin in COINS}
    uniform = {name: torch.tensor([0.5 if name == "rotate_after" else 0.7]) for name in UNIFORMS}
    return Numbers(on, uniform, {name: torch.tensor([QUANTILE]) for name in NORMALS})


# Pixel (y 5, x 5) of the image with one transform alone, from the facts of the lineage, section 0.4
VECTORS = [
    ("x_flip", ["x_flip"], (0.6219, 0.05659, -0.08184)),
    ("rotate_90", ["rotate_90"], (0.12815, 0.0657, -0.64446)),
    ("x_int", ["x_int"], (0.77908, 0.49729, 0.74563)),
    ("scale", ["scale"], (-0.13744, -0.06897, 0.64201)),
    ("rotate", ["rotate_before", "rotate_after"], (-0.75505, 0.61828, -0.7854)),
    ("aniso", ["aniso"], (-0.05221, 0.18705, 0.72875)),
    ("x_frac", ["x_frac"], (0.68672, 0.39443, 0.78964)),
    ("brightness", ["brightness"], (0.18706, 0.13075, 0.8016)),
    ("contrast", ["contrast"], (0.12838, 0.06435, 0.8272)),
    ("luma_flip", ["luma_flip"], (-0.48505, -0.54136, 0.12949)),
    ("hue", ["hue"], (0.60983, -0.11337, 0.40046)),
    ("saturation", ["saturation"], (0.05836, -0.01445, 0.85301)),
    ("image_filter", ["band_0", "band_1", "band_2", "band_3"], (0.10698, 0.05362, 0.68929)),
]


@pytest.mark.parametrize(("option", "coins", "expected"), VECTORS, ids=[v[0] for v in VECTORS])
def test_each_transform_alone_gives_the_releases_numbers(option, coins, expected):
    augment = ADA(ADAConfig(**OFF | {option: 1.0}))
    got = augment.transform(image(), opened(coins), None)[0, :, 5, 5]
    assert torch.allclose(got, torch.tensor(expected), atol=2e-4), got


def test_the_whole_pipe_gives_the_releases_numbers():
    """Blit, geometry and colour, "bgc"."""
    coins = [coin for coin in COINS if not coin.startswith(("band", "noise", "cutout"))]
    got = ADA(ADAConfig()).transform(image(), opened(coins), None)
    assert torch.allclose(got[0, :, 5, 5], torch.tensor([0.71106, 1.07838, -1.25499]), atol=2e-3), got[0, :, 5, 5]
    assert got.mean().item() == pytest.approx(-0.05228, abs=1e-3) and got.std().item() == pytest.approx(0.76323, abs=1e-3)


def test_the_bank_is_the_releases():
    bank = filter_bank()
    assert bank.shape == (4, 43)
    centre = torch.tensor(
        [
            [0.070312, 0.08905, 0.105469, 0.118652, 0.125],
            [-0.070312, -0.024597, 0.035156, 0.092285, 0.125],
            [0, -0.095703, -0.140625, 0.070312, 0.25],
            [0, 0.03125, 0, -0.28125, 0.5],
        ]
    )
    assert torch.allclose(bank[:, 17:22], centre, atol=2e-6) and torch.allclose(bank, bank.flip(1), atol=1e-6)
    assert torch.allclose(bank.sum(1), torch.tensor([1.0, 0, 0, 0]), atol=1e-5)
    identity = torch.zeros(43)
    identity[21] = 1
    assert torch.allclose(bank.sum(0), identity, atol=1e-6)


# ------------------------------------------------------------------------------------------------ as an augmentation


def pyramid(n=4) -> ImagePyramid:
    return ImagePyramid((torch.rand(n, 3, 32, 32) * 2 - 1,))


ALL = dict(image_filter=1.0, noise=1.0, cutout=1.0)


def test_nothing_at_probability_zero_and_the_same_when_no_coin_falls():
    augment, images, draws = ADA(ADAConfig()), pyramid(), Draws(0, torch.arange(4))
    assert augment(images, draws, TrainingTime(0)) is images
    off = ADA(ADAConfig(probability=constant(1e-9)))
    inner = off(images, draws, TrainingTime(0)).finest
    assert (inner - images.finest).abs().max() < 1e-4, "up and down through the filters is the identity"


def test_a_sample_does_not_depend_on_its_batch():
    augment, images = ADA(ADAConfig(probability=constant(0.8), **ALL)), pyramid(6)
    draws = Draws(3, torch.arange(6))
    together = augment(images, draws, TrainingTime(0)).finest
    for part in (slice(0, 1), slice(2, 5)):
        alone = augment(images.map(lambda x, part=part: x[part]), draws[part], TrainingTime(0)).finest
        assert (alone - together[part]).abs().max() < 1e-4
    assert (together - images.finest).abs().flatten(1).amax(1).min() > 0.05


def test_gradients_of_every_order_reach_the_image():
    augment = ADA(ADAConfig(probability=constant(0.9), **ALL))
    images, draws = pyramid(2).leaves(), Draws(1, torch.arange(2))
    y = augment(images, draws, TrainingTime(0)).finest
    (gradient,) = torch.autograd.grad(y.pow(3).sum(), images.levels, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images.levels)
    assert gradient.any() and second.any() and second.isfinite().all()


def test_each_transform_fires_with_its_factor_times_the_probability():
    config = ADAConfig(**OFF | {"brightness": 0.5}, probability=constant(0.6))
    images = ImagePyramid((torch.zeros(3000, 3, 4, 4),))
    changed = ADA(config)(images, Draws(0, torch.arange(3000)), TrainingTime(0)).finest.flatten(1).any(1).float().mean()
    assert changed.item() == pytest.approx(0.3, abs=0.03)


def test_cutout_is_a_grey_square_of_half_the_side():
    config = ADAConfig(**OFF | {"cutout": 1.0}, probability=constant(1.0))
    seen = ADA(config)(ImagePyramid((torch.ones(64, 3, 32, 32),)), Draws(0, torch.arange(64)), TrainingTime(0)).finest
    area = (seen == 0).float().mean((1, 2, 3))
    assert area.max().item() == pytest.approx(0.25) and area.min() < 0.2, "squares may stand over the border"


# ------------------------------------------------------------------------------------------------ the controller


def play(augment: ADA, logits: list[float], steps: int) -> None:
    for step in range(1, steps + 1):
        augment.observe(Verdict((torch.tensor(logits)[:, None],), (1.0,)))
        augment.update(TrainingTime(len(logits) * step, step), len(logits), lambda x: x)


def test_the_probability_rises_while_d_is_too_sure_and_falls_to_zero_otherwise():
    """Every 4 steps by 4 batches' share of the ramp."""
    augment = ADA(ADAConfig(target=0.6, ramp_images=800))
    play(augment, [1.0] * 8, 40)
    assert augment.probability.item() == pytest.approx(40 * 8 / 800)
    play(augment, [1.0, -1.0] * 4, 40)
    assert augment.probability.item() == pytest.approx(0.0, abs=1e-6)
    play(augment, [-1.0] * 8, 8)
    assert augment.probability.item() == 0, "never below zero"


def test_the_probability_is_state_and_what_a_process_saw_is_summed():
    augment = ADA(ADAConfig(target=0.6, ramp_images=800))
    play(augment, [1.0] * 8, 4)
    other = ADA(ADAConfig(target=0.6, ramp_images=800))
    other.load_state_dict(augment.state_dict())
    assert other.probability == augment.probability > 0
    augment.observe(Verdict((torch.ones(8, 1),), (1.0,)))
    before = augment.probability.clone()
    augment.update(TrainingTime(64, 8), 8, lambda signs: signs + torch.tensor([-24.0, 24.0]))  # another process saw 24 fakes
    assert augment.probability < before, "(8 - 24) / 32 is below the target"


def test_between_two_adaptations_a_checkpoint_holds_what_all_processes_saw():
    one = ADA(ADAConfig(target=0.6, ramp_images=800, interval=4))
    one.observe(Verdict((torch.ones(8, 1),), (1.0,)))
    one.update(TrainingTime(8, 1), 16, lambda signs: 2 * signs)
    resumed = ADA(ADAConfig(target=0.6, ramp_images=800, interval=4))
    resumed.load_state_dict(one.state_dict())
    assert one.signs.tolist() == resumed.signs.tolist() == [16.0, 16.0] and not one.seen.any()


def test_without_a_target_it_follows_its_schedule():
    schedule = replace(constant(0.0), kind="cosine", end=0.4, until=1000)
    augment = ADA(ADAConfig(probability=schedule))
    values = [augment.update(TrainingTime(images), 8, lambda x: x)["augment/probability"].item() for images in (0, 500, 1000, 5000)]
    assert values == pytest.approx([0, 0.2, 0.4, 0.4])


def test_the_numbers_of_the_transforms_are_independent():
    """Sizes of normal numbers too: were they made of the same bits as uniform ones, these would decide them."""
    numbers = ADA(ADAConfig()).draw(Draws(0, torch.arange(4000)), 1.0)
    rows = [*numbers.uniform.values(), *(normal.square() for normal in numbers.normal.values())]
    correlations = torch.corrcoef(torch.stack(rows)) - torch.eye(len(rows))
    assert correlations.abs().max() < 0.08
