"""What a process counts, where it happens: as listeners on the log and on the doors.

No room knows that it is counted. A count is a look into a table and an addition.
"""

import os
from bisect import bisect_left
from collections.abc import Mapping
from time import process_time

from soboo_mta.events.attempt import outcome_word
from soboo_mta.events.log import EventLog, Sink
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Delivered, Outcome, Reason
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.ports import (
    Answer,
    Clock,
    Found,
    NoData,
    NoName,
    RecordType,
    Resolver,
    Unanswered,
)
from soboo_mta.submission import replies
from soboo_mta.web.metrics import names
from soboo_mta.web.metrics.board import FULL, Board
from soboo_mta.web.metrics.names import Kind, Metric

OTHER = "other"
_TRACKED = 500  # tenants and next hops that one process counts apart
_PAGE = os.sysconf("SC_PAGE_SIZE")
_RESULTS: Mapping[type, str] = {
    Found: "found",
    NoData: "no-data",
    NoName: "no-name",
    Unanswered: "unanswered",
}


class Meter:
    """Counts on the board of this process."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._slots: dict[tuple[str, ...], int] = {(FULL,): board.slot(FULL)}
        self._tracked: dict[str, set[str]] = {"tenant": set(), "host": set()}
        for name, labels, _ in tuple(board.series()):  # an earlier process of this role
            metric = names.BY_NAME.get(name)
            if metric is not None and metric.kind is Kind.GAUGE:
                board.put(board.slot(name, *labels), 0)
        self.commit = Timed(board, names.COMMIT)
        self.acceptance = Timed(board, names.ACCEPTANCE)
        self.delivery = Timed(board, names.DELIVERY)

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter. Its first label, a tenant or next hop, may become OTHER."""
        slot = self._slots.get((metric.name, *labels))
        if slot is None:
            slot = self._found(metric, labels)
        self._board.add(slot, by)

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a number of the moment."""
        slot = self._slots.get((metric.name, *labels))
        self._board.put(self._found(metric, labels) if slot is None else slot, value)

    def report(self, clock: Clock) -> None:
        """Tell what this process uses, and that it is alive. Without a free descriptor
        memory and descriptors stay as they were told last."""
        self.put(names.CPU, process_time())
        self._board.is_alive(clock.monotonic())
        try:
            with open("/proc/self/statm", "rb") as file:
                resident = int(file.read().split()[1]) * _PAGE
            descriptors = len(os.listdir("/proc/self/fd"))
        except OSError:
            return
        self.put(names.RESIDENT, resident)
        self.put(names.DESCRIPTORS, descriptors)

    def _found(self, metric: Metric, labels: tuple[str, ...]) -> int:
        tracked = self._tracked.get(metric.labels[0]) if labels else None
        if tracked is None:
            slot = self._board.slot(metric.name, *labels)
        elif labels[0] in tracked or len(tracked) < _TRACKED:
            tracked.add(labels[0])
            slot = self._board.slot(metric.name, *labels)
        else:  # not remembered: who asks may be anybody
            return self._board.slot(metric.name, OTHER, *labels[1:])
        self._slots[metric.name, *labels] = slot
        return slot


class Timed:
    """A histogram on a board; its numbers are of one thread."""

    def __init__(self, board: Board, metric: Metric) -> None:
        self._board = board
        self._bounds = metric.bounds
        edges = (*map(str, metric.bounds), "+Inf")
        self._slots = [board.slot(metric.name, edge) for edge in edges]
        self._sum = board.slot(metric.name, "sum")

    def observe(self, seconds: float) -> None:
        self._board.add(self._slots[bisect_left(self._bounds, seconds)], 1)
        self._board.add(self._sum, seconds)


class CountingLog(EventLog):
    """The mail log, each of whose facts is counted too."""

    def __init__(self, meter: Meter, clock: Clock, sink: Sink | None = None) -> None:
        super().__init__(sink)
        self._meter = meter
        self._clock = clock

    def accepted(self, message: SpooledMessage) -> None:
        super().accepted(message)
        count = self._meter.count
        count(names.ACCEPTED)
        count(names.ACCEPTED_RECIPIENTS, message.tenant, by=len(message.recipients))
        count(names.ACCEPTED_OCTETS, by=message.size)
        self._meter.acceptance.observe(self._since(message))

    def refused(self, reply: Reply, *, client: str, tenant: TenantId | None) -> None:
        super().refused(reply, client=client, tenant=tenant)
        self._meter.count(names.REFUSED, f"{reply.code} {reply.status}")
        if reply is replies.QUOTA:
            self._meter.count(names.QUOTA_REFUSALS)

    def settled(
        self,
        message: SpooledMessage,
        position: int,
        outcome: Outcome,
        *,
        host: str,
        next_attempt: int | None = None,
        bounce_class: BounceClass | None = None,
    ) -> None:
        super().settled(
            message,
            position,
            outcome,
            host=host,
            next_attempt=next_attempt,
            bounce_class=bounce_class,
        )
        word = outcome_word(outcome)
        reason = Reason.REPLY if isinstance(outcome, Delivered) else outcome.reason
        count = self._meter.count
        count(names.SETTLED, word, reason)
        count(names.TENANT_SETTLED, message.tenant, word)
        if host:
            count(names.HOST_SETTLED, host.partition("[")[0], word)
        if isinstance(outcome, Delivered):
            self._meter.delivery.observe(self._since(message))

    def lease_lost(self, number: int, epoch: int) -> None:
        super().lease_lost(number, epoch)
        self._meter.count(names.LEASE_LOSSES)

    def store_trouble(self, cause: str) -> None:
        super().store_trouble(cause)
        self._meter.count(names.STORE_TROUBLE)

    def login_failed(self, *, client: str, user_name: str, cause: NoLogin) -> None:
        super().login_failed(client=client, user_name=user_name, cause=cause)
        self._meter.count(names.FAILED_LOGINS)

    def internal_error(self, *, stage: str, error: BaseException) -> None:
        super().internal_error(stage=stage, error=error)
        self._meter.count(names.INTERNAL)

    def _since(self, message: SpooledMessage) -> float:
        return max(0.0, (self._clock.unix_ms() - message.accepted_at) / 1000)


class CountingResolver:
    """A Resolver whose answers are counted."""

    def __init__(self, resolver: Resolver, meter: Meter) -> None:
        self._resolver = resolver
        self._meter = meter

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        """As `Resolver.lookup`."""
        answer = await self._resolver.lookup(name, kind, fresh=fresh)
        self._meter.count(names.LOOKUPS, _RESULTS[type(answer)])
        return answer
