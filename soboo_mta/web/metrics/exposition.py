"""All boards and the store's figures as one page in the format of Prometheus.

Counters are summed over all processes, those that died included; numbers of the moment
over those that are alive.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from soboo_mta.events.tally.standings import Level
from soboo_mta.mail.ids import MessageId
from soboo_mta.ports import Clock
from soboo_mta.web.metrics import names
from soboo_mta.web.metrics.board import FULL, Board
from soboo_mta.web.metrics.busiest import Busiest, Series
from soboo_mta.web.metrics.figures import Figures, StoreFigures
from soboo_mta.web.metrics.names import Kind, Metric

_ALIVE_SECONDS = 5.0  # a process says so each second
_OF_A_PROCESS = frozenset((names.CPU.name, names.RESIDENT.name, names.DESCRIPTORS.name))


class Exposition:
    """Makes the page; remembers between two of them which tenants and hops are named."""

    def __init__(
        self,
        *,
        boards: Mapping[str, Board],
        store: StoreFigures,
        clock: Clock,
        tenants: int,
        next_hops: int,
    ) -> None:
        self._boards = boards
        self._store = store
        self._clock = clock
        self._next_hops = next_hops
        self._busiest = {"tenant": Busiest(tenants), "host": Busiest(next_hops)}

    async def page(self) -> bytes:
        """Return the metrics as text."""
        figures = await self._store.now()
        numbers = self._bounded(self._summed())
        numbers.update(_of_the_store(figures, self._clock.unix_ms(), self._next_hops))
        registry = CollectorRegistry()
        registry.register(_Families(tuple(_families(numbers))))
        return generate_latest(registry)

    def _summed(self) -> dict[Series, float]:
        sums: defaultdict[Series, float] = defaultdict(float)
        now = self._clock.monotonic()
        for role, board in self._boards.items():
            is_alive = now - board.alive_at() < _ALIVE_SECONDS
            for name, labels, number in board.series():
                if name == FULL:
                    sums[names.BOARD_FULL.name, ()] += number
                elif name in _OF_A_PROCESS:
                    if is_alive:
                        sums[name, (role,)] = number
                elif is_alive or names.BY_NAME[name].kind is not Kind.GAUGE:
                    sums[name, labels] += number
        return sums

    def _bounded(self, numbers: Mapping[Series, float]) -> dict[Series, float]:
        kept = dict(numbers)
        for label, busiest in self._busiest.items():
            own = {
                series: number
                for series, number in numbers.items()
                if names.BY_NAME[series[0]].labels[:1] == (label,)
            }
            for series in own:
                del kept[series]
            kept |= busiest.told(own)
        return kept


def _of_the_store(figures: Figures, now: int, most: int) -> dict[Series, float]:
    found: defaultdict[Series, float] = defaultdict(float)
    for size in figures.queue:
        state = (size.state.value,)
        found[names.QUEUE.name, state] = size.recipients
        found[names.OLDEST.name, state] = _age(size.oldest, now)
    for reason in figures.closed:
        found[names.GATES.name, (reason,)] += 1
    for standing, domains in figures.domains.items():
        found[names.DOMAINS.name, (standing.value,)] = domains
    for level in (Level.WARN, Level.SLOW, Level.HOLD):
        found[names.COMPLAINTS.name, (level.value,)] = figures.complaints.get(level, 0)
    for site, connections in figures.shares[:most]:
        found[names.SHARES.name, (site[:60],)] += connections
    for word, webhooks in figures.webhooks.states.items():
        found[names.WEBHOOKS.name, (word,)] = webhooks
    found[names.WEBHOOK_EVENTS.name, ()] = figures.webhooks.waiting
    dropped = figures.webhooks.dropped + figures.lost_events
    found[names.DROPPED_EVENTS.name, ()] = dropped
    found[names.DANGLING.name, ()] = figures.dangling
    found[names.WORKERS.name, ()] = figures.workers
    found[names.STORE_UP.name, ()] = figures.is_fresh
    return found


def _age(oldest: MessageId | None, now: int) -> float:
    return 0.0 if oldest is None else max(0.0, (now - oldest.unix_ms) / 1000)


# ---- in the library's words


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _families(numbers: Mapping[Series, float]) -> Iterator[Family]:
    by_name: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for (name, labels), number in numbers.items():
        by_name[name][labels] = number
    for metric in names.ALL:
        found = by_name.get(metric.name, {})
        if not metric.labels and metric.kind is not Kind.HISTOGRAM:
            found = found or {(): 0.0}  # told as 0: an alert needs something to see
        yield _family(metric, found)


def _family(metric: Metric, numbers: Mapping[tuple[str, ...], float]) -> Family:
    if metric.kind is Kind.HISTOGRAM:
        return _histogram(metric, numbers)
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.meaning, labels=metric.labels)
    for labels, number in sorted(numbers.items()):
        family.add_metric(labels, number)
    return family


def _histogram(metric: Metric, numbers: Mapping[tuple[str, ...], float]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning)
    total, buckets = 0.0, []
    for edge in (*map(str, metric.bounds), "+Inf"):
        total += numbers.get((edge,), 0.0)
        buckets.append((edge, total))
    family.add_metric([], buckets, numbers.get(("sum",), 0.0))
    return family
