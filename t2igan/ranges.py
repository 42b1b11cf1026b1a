"""Ranges of a recipe's numbers, as types: `batch: Count`, `gamma: AmountOverTime`. recipe.py checks what they declare."""

import math
from dataclasses import dataclass
from typing import Annotated

from t2igan.schedule import Schedule


@dataclass(frozen=True)
class Range:
    """Finite numbers from `least` to `most`, without the ends `above` and `below`."""

    needs: str  # what the message says
    least: float | int = -math.inf
    most: float | int = math.inf
    above: float | int = -math.inf
    below: float | int = math.inf

    def holds(self, value: float | int | Schedule) -> bool:
        """Of a schedule, at its two ends, between which all of its values lie."""
        numbers = value.extremes() if isinstance(value, Schedule) else (value,)
        return all(math.isfinite(x) and self.least <= x <= self.most and self.above < x < self.below for x in numbers)


AT_LEAST_0 = Range("0 or more", least=0)
FROM_0_TO_1 = Range("a number from 0 to 1", least=0, most=1)
FROM_0_TO_BELOW_1 = Range("a number from 0 to below 1", least=0, below=1)

Count = Annotated[int, Range("a whole number above 0", least=1)]
Whole = Annotated[int, AT_LEAST_0]
Seed = Annotated[int, Range("a whole number from 0 to below 2^63", least=0, below=2**63)]
Amount = Annotated[float, AT_LEAST_0]
Positive = Annotated[float, Range("a number above 0", above=0)]
Share = Annotated[float, FROM_0_TO_1]
ShareBelow1 = Annotated[float, FROM_0_TO_BELOW_1]
AmountOverTime = Annotated[Schedule, AT_LEAST_0]
ShareOverTime = Annotated[Schedule, FROM_0_TO_1]
ShareBelow1OverTime = Annotated[Schedule, FROM_0_TO_BELOW_1]
