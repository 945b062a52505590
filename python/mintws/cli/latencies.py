"""Times that were measured, in bounded memory: percentiles to 1 %, and a histogram."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import NamedTuple

#: Each bucket is 1 % wider than the one before.
_GROWTH = math.log(1.01)
#: The edges of a histogram's bars, in each decade; the second where the first would be too many.
_EDGES = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0)
_MOST_BARS = 24


class Bar(NamedTuple):
    """A bar of a histogram: so many times from `low` to below `high`, in seconds."""

    low: float
    high: float
    times: int


class Latencies:
    """Times in seconds.

    Attributes:
        count: how many there are.
        total: their sum.
        least, most: the shortest and the longest.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.most = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Add a time."""
        seconds = max(seconds, 1e-9)
        self.count += 1
        self.total += seconds
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)
        self._buckets[math.floor(math.log(seconds) / _GROWTH)] += 1

    def percentile(self, percent: float) -> float:
        """Return the time that so many percent of all do not exceed, to 1 %."""
        wanted = self.count * percent / 100
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 0:
                return min(max(math.exp((bucket + 1) * _GROWTH), self.least), self.most)
        return self.most

    def bars(self) -> list[Bar]:
        """Return a histogram on a logarithmic scale."""
        if not self.count:
            return []
        edges = self._edges(_EDGES[0])
        if len(edges) > _MOST_BARS + 1:
            edges = self._edges(_EDGES[1])
        counts: Counter[int] = Counter()
        for bucket, count in self._buckets.items():
            middle = math.exp((bucket + 0.5) * _GROWTH)
            counts[max(0, min(sum(edge <= middle for edge in edges) - 1, len(edges) - 2))] += count
        return [Bar(*edge, counts[i]) for i, edge in enumerate(itertools.pairwise(edges))]

    def _edges(self, steps: tuple[float, ...]) -> list[float]:
        first, last = math.floor(math.log10(self.least)), math.floor(math.log10(self.most)) + 1
        # The logarithm of a time that is hardly shorter than a power of ten may be that of the power.
        edges = [step * 10.0**decade for decade in range(first - 1, last + 1) for step in steps]
        begin = max(i for i, edge in enumerate(edges) if edge <= self.least or i == 0)
        end = min(i for i, edge in enumerate(edges) if edge > self.most)
        return edges[begin : end + 1]


def shown(seconds: float) -> str:
    """Show a time with three digits."""
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
