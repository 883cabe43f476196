"""Of many values of a label, the busiest by name and the rest together.

What is told never goes back, as Prometheus wants of a counter: a value that becomes one of
the busiest begins at what it counts from then on, and its past stays with the rest.
"""

from collections import Counter
from collections.abc import Mapping

from soboo_mta.web.metrics.counting import OTHER

Series = tuple[str, tuple[str, ...]]  # name, label values: the first is the one bounded
_CHALLENGE = 2  # times as busy as the least of those named: then it takes its place


class Busiest:
    """Remembers between two readings who is named and what was told."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[Series, float] = {}
        self._told: dict[Series, float] = {}
        self._named: set[str] = set()

    def told(self, counted: Mapping[Series, float]) -> dict[Series, float]:
        """Return what is to be told where `counted` are the sums of all processes."""
        self._choose(counted)
        for series, number in counted.items():
            name, (value, *rest) = series
            more = number - self._seen.get(series, 0.0)
            shown = value if value in self._named else OTHER
            place = (name, (shown, *rest))
            self._told[place] = self._told.get(place, 0.0) + more
        self._seen = dict(counted)
        return dict(self._told)

    def _choose(self, counted: Mapping[Series, float]) -> None:
        totals: Counter[str] = Counter()
        for (_, (value, *_)), number in counted.items():
            if value != OTHER:
                totals[value] += int(number)
        for value, total in totals.most_common(self._most):
            if value in self._named:
                continue
            if len(self._named) < self._most:
                self._named.add(value)
                continue
            least = min(self._named, key=lambda one: totals[one])
            if total > _CHALLENGE * totals[least]:
                self._forget(least)
                self._named.add(value)

    def _forget(self, value: str) -> None:
        self._named.discard(value)
        self._told = {
            place: number
            for place, number in self._told.items()
            if place[1][0] != value
        }
