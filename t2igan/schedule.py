"""A number, or a number that changes with the images seen."""

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Schedule:
    """A value that goes from `start` to `end`, in the way of `kind`, while the clock goes from `begin` to `until` (images seen).

    In steps it is `start`, and from the images of each entry of `later` on that entry's value.
    """

    kind: Literal["constant", "linear", "cosine", "steps"] = "constant"
    start: float = 0.0
    end: float = 0.0
    begin: int = 0
    until: int = 1
    later: tuple[tuple[int, float], ...] = ()

    def __call__(self, images: int) -> float:
        if self.kind in ("constant", "steps"):
            return next((value for begin, value in reversed(self.later) if images >= begin), self.start)
        progress = min(max((images - self.begin) / (self.until - self.begin), 0.0), 1.0)
        if self.kind == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return self.start + (self.end - self.start) * progress

    def extremes(self) -> tuple[float, float]:
        """Two values between which all others lie."""
        values = [self.start, *(value for _, value in self.later)] if self.kind in ("constant", "steps") else [self.start, self.end]
        return min(values), max(values)

    def numbers(self) -> list[float | int]:
        """As a recipe gives them, beside the kind."""
        if self.kind == "steps":
            return [self.start, *(number for entry in self.later for number in entry)]
        return [self.start, self.end, self.begin, self.until]

    def __str__(self) -> str:
        if self.kind == "constant":
            return f"{self.start:g}"
        return f"{{{self.kind}: [{', '.join(f'{number:g}' if isinstance(number, float) else str(number) for number in self.numbers())}]}}"


def constant(value: float | int) -> Schedule:
    """The same value at all times."""
    return Schedule("constant", float(value), float(value))


def parse_schedule(value: Any) -> Schedule:
    """A number, `{linear: [from, to, images]}`, `{cosine: [from, to, begin, until]}` or `{steps: [value, images, value]}` to a Schedule.

    Raises:
        ValueError: anything else, naming the forms that are allowed.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return constant(value)
    forms = "a number, {linear: [from, to, images]}, {cosine: [from, to, begin, until]} or {steps: [value, images, value, ...]}"
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"got {value!r}, needs {forms}")
    ((kind, numbers),) = value.items()
    lengths = {"linear": (3, 4), "cosine": (3, 4), "steps": range(3, 100)}
    if kind not in lengths or not isinstance(numbers, list | tuple) or len(numbers) not in lengths[kind]:
        raise ValueError(f"got {value!r}, needs {forms}")
    try:
        start, end, *times = map(float, numbers)  # YAML 1.1 reads 1e5 as a string
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"got {value!r}, needs {forms}") from None
    if not all(map(math.isfinite, (start, end, *times))):
        raise ValueError(f"got {value!r}, needs finite numbers")
    if kind == "steps":
        return _steps(value, [start, end, *times])
    begin, until = times if len(times) == 2 else (0, times[0])
    if not 0 <= begin < until:
        raise ValueError(f"got {value!r}: the schedule must begin at 0 or later, and end after that")
    return Schedule(kind, start, end, int(begin), int(until))


def _steps(value: dict, numbers: list[float]) -> Schedule:
    begins = numbers[1::2]
    if len(numbers) % 2 == 0 or len(numbers) < 3 or any(b <= a for a, b in zip([0.0, *begins], begins, strict=False)):
        raise ValueError(f"got {value!r}: steps are a value, then rising numbers of images each with the value from there on")
    return Schedule("steps", numbers[0], numbers[-1], later=tuple(zip(map(int, begins), numbers[2::2], strict=True)))
