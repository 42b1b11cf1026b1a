"""A recipe's list of terms to the losses of D and of G."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.critic import Critic
from t2igan.layers.precision import full_precision
from t2igan.objective.matching import masked_mean
from t2igan.objective.term import LossInputs, MicroBatch, Term
from t2igan.pyramid import select_levels
from t2igan.schedule import Schedule
from t2igan.types import Fake, ImageSet, PrepareContext, TrainingTime


@dataclass(frozen=True)
class ScheduledTerm:
    """A loss with its weight; due at every `every`-th step (the weight is multiplied by `every`), from `after` images on."""

    name: str
    term: Term
    weight: Schedule
    every: int = 1
    after: int = 0

    def due(self, now: TrainingTime) -> bool:
        return now.images >= self.after and now.step % self.every == 0


@dataclass(frozen=True)
class Losses:
    """Named values, unweighted, and their weighted sum."""

    total: Float[Tensor, ""]
    parts: dict[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module):
    """Asks the critic once per half and hands its verdicts to every term that is due."""

    def __init__(self, discriminator: list[ScheduledTerm], generator: list[ScheduledTerm]):
        super().__init__()
        self.of_discriminator, self.of_generator = discriminator, generator
        self.terms = nn.ModuleList(entry.term for entry in discriminator + generator)  # their buffers are in checkpoints

    def needs(self, what: str) -> bool:
        """Whether any term declares it in its `needs`."""
        return any(what in term.needs for term in self.terms)

    def prepare(self, context: PrepareContext) -> None:
        """Lets terms load their frozen networks."""
        for term in self.terms:
            term.prepare(context)

    def update(self, now: TrainingTime, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Lets the terms that were due in the step of `now` update their running means."""
        for entry in (*self.of_discriminator, *self.of_generator):
            if entry.due(now):
                entry.term.update(sum_over_processes)

    def headline(self) -> tuple[str, ...]:
        """The losses that a line of progress shows: the first of D, the first two of G."""
        return tuple(f"D/{entry.name}" for entry in self.of_discriminator[:1]) + tuple(f"G/{entry.name}" for entry in self.of_generator[:2])

    def discriminator(self, critic: Critic, batch: MicroBatch, fake: Fake, now: TrainingTime) -> Losses:
        """D's losses on the real images of the batch and on generated ones, which carry no gradient."""
        due = [entry for entry in self.of_discriminator if entry.due(now)]
        needs = frozenset().union(*(entry.term.needs for entry in due))
        real, fakes = critic.pyramid(batch.images), select_levels(fake.pyramid, critic.levels)
        real = real.leaves() if "real_leaves" in needs else real
        fakes = fakes.leaves() if "fake_leaves" in needs else fakes
        captions, has_mismatch = assignments(batch, needs)
        sets = {"real": ImageSet(real, captions, "real"), "fake": ImageSet(fakes, captions, "fake")}
        extra = {entry.name: entry.term.extra_sets(batch, real, fakes, captions[0]) for entry in due}
        named = sets | {f"{name}/{key}": images for name, found in extra.items() for key, images in found.items()}
        twice = bool(needs & {"real_leaves", "fake_leaves", "twice_differentiable"})
        with full_precision(batch.images.device) if "full_precision" in needs else contextlib.nullcontext():
            outputs = critic(list(named.values()), batch.critic_text, batch.draws, now, twice)
        verdicts = dict(zip(named, outputs, strict=True))
        critic.augment.observe(verdicts["real"][0])
        real_mismatched, fake_mismatched = wrong(verdicts["real"], verdicts["fake"])
        inputs = LossInputs(
            now, batch, fake, verdicts["fake"][0], real, fakes, verdicts["real"][0], real_mismatched, fake_mismatched, has_mismatch
        )
        of_term = {name: {key: verdicts[f"{name}/{key}"][0] for key in found} for name, found in extra.items()}
        losses = weighted_sum(due, "discriminator", inputs, of_term, extra)
        return replace(losses, parts=losses.parts | verdict_statistics(inputs))

    def generator(self, critic: Critic, batch: MicroBatch, fake: Fake, now: TrainingTime) -> Losses:
        """G's losses; D's parameters take no gradient meanwhile."""
        due = [entry for entry in self.of_generator if entry.due(now)]
        needs = frozenset().union(*(entry.term.needs for entry in due))
        captions, has_mismatch = assignments(batch, needs)
        sets = [ImageSet(select_levels(fake.pyramid, critic.levels), captions, "fake")]
        if "real_output" in needs:
            sets.append(ImageSet(critic.pyramid(batch.images), captions[:1], "real"))
        verdicts, *real = critic(sets, batch.critic_text, batch.draws, now)
        real_output = real[0][0] if real else None
        inputs = LossInputs(
            now, batch, fake, verdicts[0], real_output=real_output, fake_mismatched=wrong(verdicts)[0], has_mismatch=has_mismatch
        )
        return weighted_sum(due, "generator", inputs)


def assignments(batch: MicroBatch, needs: frozenset[str]) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """(each image's own caption and, where needed, one of another thing; where there is one)."""
    own = torch.arange(len(batch), device=batch.images.device)
    if "mismatched" not in needs:
        return (own,), None
    return (own, batch.mismatched), batch.mismatched != own


def wrong(*verdicts):
    """The verdicts with mismatched captions, or None where there are none."""
    return [found[1] if len(found) > 1 else None for found in verdicts]


def weighted_sum(due: list[ScheduledTerm], half: str, inputs: LossInputs, extra: dict | None = None, sets: dict | None = None) -> Losses:
    """`extra` and `sets`: by term, the verdicts on the sets that it asked for, and the sets."""
    extra, sets = extra or {}, sets or {}
    own = {entry: replace(inputs, extra=extra.get(entry.name, {}), extra_sets=sets.get(entry.name, {})) for entry in due}
    values = {entry: getattr(entry.term, half)(own[entry]) for entry in due}
    total = sum(entry.weight(inputs.now.images) * entry.every * value for entry, value in values.items())
    return Losses(total, {f"{half[0].upper()}/{entry.name}": value.detach() for entry, value in values.items()})


def verdict_statistics(inputs: LossInputs) -> dict[str, Tensor]:
    """What shows a healthy game: mean logits, and how much the caption matters to D, E |D(x, c) - D(x, c')|."""
    with torch.no_grad():
        real = inputs.real_output.mean(lambda logit: logit)
        statistics = {"D/logit_real": real.mean(), "D/logit_fake": inputs.fake_output.mean(lambda logit: logit).mean()}
        if inputs.real_mismatched is not None:
            difference = (real - inputs.real_mismatched.mean(lambda logit: logit)).abs()
            statistics["D/caption_sensitivity"] = masked_mean(difference, inputs.has_mismatch)
    return statistics
