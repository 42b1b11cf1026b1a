"""What a training does by the number of images that it has seen: the batch of the next step, and the side that has been grown to."""

from collections.abc import Sequence
from dataclasses import dataclass

from t2igan.config import TrainingConfig
from t2igan.errors import UserError
from t2igan.layers.stages import resolutions
from t2igan.types import Stage


@dataclass(frozen=True)
class Phase:
    """Steps from `begin` images on, at one side; either the side fades in or it is held."""

    begin: int
    end: int | None  # None: it lasts
    side: int
    fades: bool
    batch: int

    def stage(self, images: int) -> Stage:
        return Stage(self.side, (images - self.begin) / (self.end - self.begin) if self.fades else 1.0)


class Growth:
    """Batch and stage as functions of the images seen, and of nothing else: a resumed run goes on where it was.

    Karras et al. 2018 (arXiv:1710.10196), section 2 and appendix A: a side is held, then the next one fades in. Ours: a phase lasts a whole
    number of steps (rounded up), and the share of the new side rises at every step.

    Args:
        processes: that share a batch.
        group: images of a pass must be a multiple of it, for the discriminator's statistics.
        images_per_caption: images of a pass must be a multiple of it, too.
    """

    def __init__(self, config: TrainingConfig, resolution: int, processes: int = 1, group: int = 1, images_per_caption: int = 1):
        self.total, self.micro_batch, self.processes = config.total_images, config.micro_batch, processes
        self.grows = config.growth is not None
        self.phases = phases_of(config, resolution)
        for batch in sorted({phase.batch for phase in self.phases}):
            size = micro_batch_size(batch, config.micro_batch, processes)
            for what, images in (("discriminator.network", group), ("data.images_per_caption", images_per_caption)):
                if size % images:
                    raise UserError(f"{what} takes groups of {images} images, a pass has {size}; choose a divisor")

    def phase(self, images: int) -> Phase:
        return next(phase for phase in reversed(self.phases) if phase.begin <= images)

    def batch(self, images: int) -> int:
        """Images of the step that begins there, over all processes."""
        return self.phase(images).batch

    def micro_batch_size(self, images: int) -> int:
        """Images per pass of one process, of the step that begins there."""
        return micro_batch_size(self.batch(images), self.micro_batch, self.processes)

    def stage(self, images: int) -> Stage | None:
        """None where nothing grows."""
        return self.phase(images).stage(images) if self.grows else None

    def begins_phase(self, images: int) -> bool:
        """Whether Adam's moments are those of another network: a side begins to fade in there, or has just faded in."""
        return images > 0 and self.phase(images).begin == images

    def steps_from(self, images: int) -> Sequence[int]:
        """Where each step from there on begins, to the last whole one of the run."""
        found = []
        for phase in self.phases[self.phases.index(self.phase(images)) :]:
            begin, end = max(images, phase.begin), self.total if phase.end is None else min(phase.end, self.total)
            found.append(range(begin, end - phase.batch + 1, phase.batch))
        return found[0] if len(found) == 1 else [position for positions in found for position in positions]

    @property
    def end(self) -> int:
        """Images that the run sees."""
        last = self.phases[-1]
        return last.begin + (self.total - last.begin) // last.batch * last.batch


def phases_of(config: TrainingConfig, resolution: int) -> list[Phase]:
    growth = config.growth
    if growth is None:
        return [Phase(0, None, resolution, False, config.batch)]
    sides = [side for side in resolutions(resolution) if side >= growth.start]
    found, begin = [], 0
    for number, side in enumerate(sides):
        batch = growth.batches[number] if growth.batches else config.batch
        for fades, images in ((True, growth.fade if number else 0), (False, growth.hold)):
            if images:
                end = begin + -(-images // batch) * batch
                found.append(Phase(begin, end, side, fades, batch))
                begin = end
    last = found.pop()
    return [*found, Phase(last.begin, None, last.side, False, last.batch)]


def check_growth(config: TrainingConfig, resolution: int) -> None:
    """Raises ValueError, a sentence that begins with the field, where the schedule does not reach the resolution."""
    growth = config.growth
    sides = resolutions(resolution)
    if growth.start not in sides[:-1]:
        raise ValueError(f"growth.start is {growth.start}, needs a side below {resolution} px: {', '.join(map(str, sides[:-1]))}")
    steps = [side for side in sides if side >= growth.start]
    if growth.batches and len(growth.batches) != len(steps):
        raise ValueError(
            f"growth.batches has {len(growth.batches)} entries, needs one for each of {', '.join(map(str, steps))} px, or none"
        )
    grown = phases_of(config, resolution)[-1].begin
    if config.total_images <= grown:
        raise ValueError(f"total_images is {config.total_images}, growth to {resolution} px takes {grown}; train longer or grow faster")


def micro_batch_size(batch: int, micro_batch: int | None, processes: int) -> int:
    """Images per pass of one process. Raises UserError where they cannot be shared equally."""
    if batch % processes:
        raise UserError(f"a batch of {batch} cannot be shared equally by {processes} processes; make it a multiple of {processes}")
    local_batch = batch // processes
    size = min(micro_batch or local_batch, local_batch)
    if local_batch % size:
        raise UserError(f"training.micro_batch {size} does not divide the {local_batch} images of one process; choose a divisor")
    return size
