"""A number, or a number that changes with the images seen."""

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Schedule:
    """A value that goes from `start` to `end`, in the way of `kind`, while the clock goes from `begin` to `until` (images seen)."""

    kind: Literal["constant", "linear", "cosine"] = "constant"
    start: float = 0.0
    end: float = 0.0
    begin: int = 0
    until: int = 1

    def __call__(self, images: int) -> float:
        if self.kind == "constant":
            return self.start
        progress = min(max((images - self.begin) / (self.until - self.begin), 0.0), 1.0)
        if self.kind == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return self.start + (self.end - self.start) * progress

    def extremes(self) -> tuple[float, float]:
        """The values it starts and ends with; all others lie between them."""
        return self.start, self.start if self.kind == "constant" else self.end

    def __str__(self) -> str:
        if self.kind == "constant":
            return f"{self.start:g}"
        return f"{{{self.kind}: [{self.start:g}, {self.end:g}, {self.begin}, {self.until}]}}"


def constant(value: float | int) -> Schedule:
    """The same value at all times."""
    return Schedule("constant", float(value), float(value))


def parse_schedule(value: Any) -> Schedule:
    """`0.002`, `{linear: [from, to, images]}` or `{cosine: [from, to, begin, until]}` to a Schedule.

    Raises:
        ValueError: anything else, naming the forms that are allowed.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return constant(value)
    forms = "a number, {linear: [from, to, images]} or {cosine: [from, to, begin, until]}"
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"got {value!r}, needs {forms}")
    ((kind, numbers),) = value.items()
    if kind not in ("linear", "cosine") or not isinstance(numbers, list | tuple) or len(numbers) not in (3, 4):
        raise ValueError(f"got {value!r}, needs {forms}")
    try:
        start, end, *times = map(float, numbers)  # YAML 1.1 reads 1e5 as a string
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"got {value!r}, needs {forms}") from None
    if not all(map(math.isfinite, (start, end, *times))):
        raise ValueError(f"got {value!r}, needs finite numbers")
    begin, until = times if len(times) == 2 else (0, times[0])
    if not 0 <= begin < until:
        raise ValueError(f"got {value!r}: the schedule must begin at 0 or later, and end after that")
    return Schedule(kind, start, end, int(begin), int(until))
