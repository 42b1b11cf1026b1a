"""A recipe's list of terms to the losses of D and of G."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.layers.attention import twice_differentiable
from t2igan.layers.precision import full_precision
from t2igan.objective.matching import mismatch
from t2igan.objective.term import Round, Term
from t2igan.pyramid import concatenate
from t2igan.schedule import Schedule
from t2igan.types import Fake, ImagePyramid, TextDescriptors, TrainingTime, Verdict


@dataclass(frozen=True)
class ScheduledTerm:
    """A loss with its weight; `every` n-th step only (the weight is multiplied by n), from `after` pictures on."""

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
    parts: dict[str, float | Tensor] = field(default_factory=dict)


class Objective:
    """Asks D once per half and hands its verdicts to every term that is due."""

    def __init__(self, discriminator: list[ScheduledTerm], generator: list[ScheduledTerm]):
        self.discriminator, self.generator = discriminator, generator

    def prepare(self, names: Callable[[], list[str]], device) -> None:
        """Lets terms with frozen networks read them; `names()` are the distinct first captions of the data set."""
        for entry in self.discriminator + self.generator:
            entry.term.prepare(names, device)

    def step_of_nudge(self, now: TrainingTime) -> float:
        """The length of the random step after which a due penalty wants to see the real pictures; 0: none does."""
        return max((entry.term.needs_nudged for entry in self.discriminator if entry.due(now)), default=0.0)

    def discriminator_losses(
        self,
        D,
        real: ImagePyramid,
        fake: Fake,
        seen: ImagePyramid,
        text: TextDescriptors,
        captions: list[str],
        names: list[str],
        now: TrainingTime,
        noise: ImagePyramid | None = None,
    ) -> Losses:
        """`real` and `seen` are D's views of the real and the generated pictures; `noise`, unit normal, nudges the real ones where due."""
        due = [entry for entry in self.discriminator if entry.due(now)]
        penalized = any(entry.term.needs_real_gradient for entry in due)
        if penalized:
            real = real.map(lambda level: level.detach().requires_grad_(True))
        n = len(captions)
        own = torch.arange(n, device=text.pooled.device)
        pairings = [[own, own]]
        if any(entry.term.needs_mismatched for entry in due):
            other = mismatch(names, captions).to(own.device)
            pairings.append([other, other])
        step, shown = self.step_of_nudge(now), [real, seen]
        if step:
            shown.append(nudge(real, noise, step))
            pairings = [[*pairing, own] for pairing in pairings]
        with contextlib.ExitStack() as contexts:
            if step:
                contexts.enter_context(full_precision(own.device))  # a difference of half-precision logits is noise
            if penalized:
                contexts.enter_context(twice_differentiable())
            verdicts = D(concatenate(*shown), text, *map(torch.cat, pairings))
        (real_verdict, fake_verdict, *nudged), *wrong = [parts(verdict, n) for verdict in verdicts]
        real_mismatched, fake_mismatched = wrong[0][:2] if wrong else (None, None)
        round = Round(fake, fake_verdict, text, captions, names, now, real, real_verdict, real_mismatched, fake_mismatched)
        if step:
            round = replace(round, nudged_verdict=nudged[0], step=step)
        losses = self._sum(due, "discriminator", round)
        return replace(losses, parts=losses.parts | verdict_statistics(round))

    def generator_losses(
        self,
        D,
        images: Float[Tensor, "b 3 r r"],
        fake: Fake,
        seen: ImagePyramid,
        text: TextDescriptors,
        captions: list[str],
        names: list[str],
        now: TrainingTime,
    ) -> Losses:
        """`images` are the real pictures of the captions, `seen` is D's view of the generated ones."""
        due = [entry for entry in self.generator if entry.due(now)]
        pairings = [torch.arange(len(captions), device=text.pooled.device)]
        if any(entry.term.needs_mismatched for entry in due):
            pairings.append(mismatch(names, captions).to(text.pooled.device))
        verdict, *wrong = D(seen, text, *pairings)
        round = Round(fake, verdict, text, captions, names, now, fake_mismatched=wrong[0] if wrong else None, images=images)
        return self._sum(due, "generator", round)

    @staticmethod
    def _sum(due: list[ScheduledTerm], half: str, round: Round) -> Losses:
        values = [getattr(entry.term, half)(round) for entry in due]
        total = sum(entry.weight(round.now.images) * entry.every * value for entry, value in zip(due, values, strict=True))
        return Losses(total, {f"{half[0].upper()}/{entry.name}": value.detach() for entry, value in zip(due, values, strict=True)})


def parts(verdict: Verdict, n: int) -> list[Verdict]:
    """The verdicts on the first n pictures, on the next n, ..."""
    places = [slice(start, start + n) for start in range(0, len(verdict.logits[0]), n)]
    return [Verdict(tuple(x[place] for x in verdict.logits), verdict.weights, verdict.own) for place in places]


def nudge(pyramid: ImagePyramid, noise: ImagePyramid, step: float) -> ImagePyramid:
    """A random step of `step` per value at the finest level, at a coarser one of its side's share: R1's weights of the levels."""
    finest = pyramid.finest.shape[-1]
    return ImagePyramid(tuple(x + step * x.shape[-1] / finest * n for x, n in zip(pyramid.levels, noise.levels, strict=True)), pyramid.fade)


def verdict_statistics(round: Round) -> dict[str, Tensor]:
    """What tells a healthy game: mean logits, and how much the caption matters to D, E |D(x, c) - D(x, c')|."""
    with torch.no_grad():
        real = round.real_verdict.mean(lambda logit: logit)
        statistics = {"D/logit_real": real.mean(), "D/logit_fake": round.fake_verdict.mean(lambda logit: logit).mean()}
        if round.real_mismatched is not None:
            statistics["D/caption_sensitivity"] = (real - round.real_mismatched.mean(lambda logit: logit)).abs().mean()
    return statistics
