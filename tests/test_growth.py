"""Growth: batch and stage as functions of the images seen."""

import pickle
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from t2igan.config import GrowthConfig, TrainingConfig
from t2igan.errors import UserError
from t2igan.growth import Growth, check_growth
from t2igan.pyramid import build_pyramid, select_levels
from t2igan.schedule import parse_schedule
from t2igan.types import Stage

CONFIG = TrainingConfig(total_images=1000, batch=8, growth=GrowthConfig(start=4, hold=100, fade=50, batches=(16, 8, 4)))


def test_a_side_is_held_and_the_next_one_fades_in():
    """hold 100 rounds up to 7 steps of 16 at 4 px; then 50 and 100 to 56 and 104 at 8 px; then 52 at 16 px."""
    growth = Growth(CONFIG, 16)
    assert [(p.begin, p.end, p.side, p.fades, p.batch) for p in growth.phases] == [
        (0, 112, 4, False, 16),
        (112, 168, 8, True, 8),
        (168, 272, 8, False, 8),
        (272, 324, 16, True, 4),
        (324, None, 16, False, 4),
    ]
    stages = {images: growth.stage(images) for images in (0, 96, 112, 140, 168, 272, 298, 324, 999)}
    assert [stages[i] for i in (0, 96)] == [Stage(4), Stage(4)]
    assert [stages[i] for i in (112, 140, 168)] == [Stage(8, 0.0), Stage(8, 0.5), Stage(8)]
    assert [stages[i] for i in (272, 298, 324, 999)] == [Stage(16, 0.0), Stage(16, 0.5), Stage(16), Stage(16)]


def test_steps_meet_the_phases_and_can_be_taken_up_anywhere():
    growth = Growth(CONFIG, 16)
    steps = list(growth.steps_from(0))
    assert steps[0] == 0 and steps[-1] + growth.batch(steps[-1]) == growth.end == 1000
    assert all(b - a == growth.batch(a) for a, b in zip(steps, steps[1:], strict=False))
    assert {phase.begin for phase in growth.phases} <= set(steps)
    for number in (0, 3, 7, 20, 60, len(steps) - 1):
        assert list(growth.steps_from(steps[number])) == steps[number:]
    begun = [images for images in steps if growth.begins_phase(images)]
    assert begun == [112, 168, 272, 324], "there Adam's moments are another network's"
    assert list(growth.steps_from(growth.end)) == []


def test_without_growth_every_step_is_alike():
    growth = Growth(replace(CONFIG, growth=None), 16)
    assert growth.steps_from(16) == range(16, 993, 8) and growth.end == 1000
    assert growth.stage(0) is None and not growth.begins_phase(0) and growth.batch(999) == 8
    assert pickle.loads(pickle.dumps(growth.batch))(5) == 8, "worker processes ask for it"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_images": 324}, "total_images is 324, growth to 16 px takes 324; train longer or grow faster"),
        ({"growth": GrowthConfig(start=16)}, "growth.start is 16, needs a side below 16 px: 4, 8"),
        ({"growth": GrowthConfig(start=6)}, "growth.start is 6, needs a side below 16 px: 4, 8"),
        ({"growth": GrowthConfig(start=8, batches=(4, 4, 4))}, "growth.batches has 3 entries, needs one for each of 8, 16 px, or none"),
    ],
)
def test_schedules_that_do_not_reach_the_resolution_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_growth(replace(CONFIG, **changes), 16)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match="a batch of 4 cannot be shared equally by 8 processes"):
        Growth(CONFIG, 16, processes=8)
    with pytest.raises(UserError, match=r"micro_batch 3 does not divide the 4 images"):
        Growth(replace(CONFIG, micro_batch=3), 16)
    with pytest.raises(UserError, match="takes groups of 8 images, a pass has 4"):
        Growth(CONFIG, 16, group=8)
    with pytest.raises(UserError, match=r"data\.images_per_caption takes groups of 3 images, a pass has 4"):
        Growth(CONFIG, 16, images_per_caption=3)


def test_real_images_fade_in_as_generated_ones_do():
    images = torch.randn(2, 3, 8, 8)
    half = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2)
    pyramid = build_pyramid(images, (8,), 0.25)
    assert torch.allclose(pyramid.finest, 0.25 * images + 0.75 * half, atol=1e-6) and pyramid.fade == 0.25
    assert build_pyramid(images, (8,)).finest.equal(images)
    assert torch.allclose(build_pyramid(images, (4,), 0.0).finest, F.interpolate(F.avg_pool2d(images, 4), scale_factor=2), atol=1e-6)
    assert (select_levels(pyramid, (8,)).fade, pyramid.detach().fade, pyramid.leaves().fade) == (0.25, 0.25, 0.25)


def test_a_schedule_in_steps():
    schedule = parse_schedule({"steps": [0.001, 100, 0.0015, 200, 0.003]})
    assert [schedule(images) for images in (0, 99, 100, 199, 200, 9999)] == [0.001, 0.001, 0.0015, 0.0015, 0.003, 0.003]
    assert schedule.extremes() == (0.001, 0.003) and parse_schedule({schedule.kind: schedule.numbers()}) == schedule
    assert str(schedule) == "{steps: [0.001, 100, 0.0015, 200, 0.003]}"
    for wrong in ([0.001], [0.001, 100], [0.001, 100, 0.002, 50, 0.003], [0.001, 0, 0.002], [0.001, 100, "x"]):
        with pytest.raises(ValueError, match="steps"):
            parse_schedule({"steps": wrong})
