"""A recipe's list of terms to the losses of D and of G."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.objective.matching import mismatch
from t2igan.objective.round import Round, Term
from t2igan.pyramid import concatenate
from t2igan.schedule import Schedule
from t2igan.types import Fake, ImagePyramid, Now, TextDescriptors, Verdict


@dataclass(frozen=True)
class ScheduledTerm:
    """A loss with its weight; `every` n-th step only (the weight is multiplied by n), from `after` pictures on."""

    name: str
    term: Term
    weight: Schedule
    every: int = 1
    after: int = 0

    def due(self, now: Now) -> bool:
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

    def discriminator_losses(
        self, D, real: ImagePyramid, fake: Fake, seen: ImagePyramid, text: TextDescriptors, captions: list[str], names: list[str], now: Now
    ) -> Losses:
        """`real` and `seen` are D's views of the real and the generated pictures."""
        due = [entry for entry in self.discriminator if entry.due(now)]
        if any(entry.term.needs_real_gradient for entry in due):
            real = real.map(lambda level: level.detach().requires_grad_(True))
        n = len(captions)
        own = torch.arange(n, device=text.pooled.device)
        pairings = [torch.cat([own, own])]
        if any(entry.term.needs_mismatched for entry in due):
            other = mismatch(names).to(own.device)
            pairings.append(torch.cat([other, other]))
        verdicts = D(concatenate(real, seen), text, *pairings)
        (real_verdict, fake_verdict), *wrong = [halves(verdict, n) for verdict in verdicts]
        real_mismatched, fake_mismatched = wrong[0] if wrong else (None, None)
        round = Round(fake, fake_verdict, text, captions, names, now, real, real_verdict, real_mismatched, fake_mismatched)
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
        now: Now,
    ) -> Losses:
        """`images` are the real pictures of the captions, `seen` is D's view of the generated ones."""
        due = [entry for entry in self.generator if entry.due(now)]
        pairings = [torch.arange(len(captions), device=text.pooled.device)]
        if any(entry.term.needs_mismatched for entry in due):
            pairings.append(mismatch(names).to(text.pooled.device))
        verdict, *wrong = D(seen, text, *pairings)
        round = Round(fake, verdict, text, captions, names, now, fake_mismatched=wrong[0] if wrong else None, images=images)
        return self._sum(due, "generator", round)

    @staticmethod
    def _sum(due: list[ScheduledTerm], half: str, round: Round) -> Losses:
        values = [getattr(entry.term, half)(round) for entry in due]
        total = sum(entry.weight(round.now.images) * entry.every * value for entry, value in zip(due, values, strict=True))
        return Losses(total, {f"{half[0].upper()}/{entry.name}": value.detach() for entry, value in zip(due, values, strict=True)})


def halves(verdict: Verdict, n: int) -> tuple[Verdict, Verdict]:
    """The verdict on the first n pictures and on the others."""
    return tuple(Verdict(tuple(x[part] for x in verdict.logits), verdict.weights) for part in (slice(n), slice(n, None)))


def verdict_statistics(round: Round) -> dict[str, Tensor]:
    """What tells a healthy game: mean logits, and how much the caption matters to D, E |D(x, c) - D(x, c')|."""
    with torch.no_grad():
        real = round.real_verdict.mean(lambda logit: logit)
        statistics = {"D/logit_real": real.mean(), "D/logit_fake": round.fake_verdict.mean(lambda logit: logit).mean()}
        if round.real_mismatched is not None:
            statistics["D/caption_sensitivity"] = (real - round.real_mismatched.mean(lambda logit: logit)).abs().mean()
    return statistics
