"""Delivers what waits for webhooks: many at once, bounded for each and over all.

A webhook that hangs or fails takes its own places and no others; after some failures it
has one. What became of deliveries is settled in groups. A row leaves the store when its
event was accepted, so what is under way when this ends is delivered again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import structlog
from sqlalchemy import Connection

from soboo_mta.daemon.outlets.line import HELD, Line
from soboo_mta.daemon.outlets.secrets import opened
from soboo_mta.daemon.outlets.verdict import Retries, judge
from soboo_mta.events.log import EventLog
from soboo_mta.events.outbox.journal import Delivery, log_deliveries
from soboo_mta.events.outbox.queue import (
    Again,
    Done,
    Waiting,
    due,
    ready_webhooks,
    settle,
)
from soboo_mta.events.outbox.webhooks import (
    Webhook,
    active_webhooks,
    disable_webhook,
    mark_failing,
    sealed_secrets,
)
from soboo_mta.formats.webhooks import signed_fields
from soboo_mta.net.outlets.webhook import NotPosted, Posted, WebhookDoor
from soboo_mta.ports import Clock
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.secrets import MasterKey, SecretError

_LOOK = 0.2  # seconds between looks for what is due
_GROUP = 0.05  # seconds in which ends gather for one transaction
_AGAIN = 1.0  # seconds, while the store is away
_AT_A_LOOK = 100  # webhooks read for
_ENDS_AT_ONCE = 200
_IDLE = 60.0  # seconds after which a webhook's connections are closed
_ACTOR = "webhooks"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierOptions:
    """Bounds of delivery."""

    parallel: int = 64
    """Deliveries at once, over all webhooks."""
    parallel_per_webhook: int = 10
    retries: Retries = field(default_factory=Retries)
    disable_after: timedelta = timedelta(days=3)
    """A webhook that accepted nothing for so long is disabled at its next failure."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read for one webhook."""

    webhook: Webhook
    sealed: tuple[tuple[int, bytes], ...]
    rows: tuple[Waiting, ...]


@dataclass(slots=True)
class _Ends:
    """What is to be settled in one transaction. `failing`: since when, by webhook;
    `disabled`: why."""

    ends: list[Done | Again] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    failing: dict[int, int | None] = field(default_factory=dict)
    disabled: dict[int, str] = field(default_factory=dict)


class Courier:
    """Runs for as long as this process has the duty."""

    def __init__(
        self,
        *,
        writer: Writer,
        master: MasterKey,
        clock: Clock,
        random: Random,
        door: Callable[[str], WebhookDoor],
        options: CourierOptions,
    ) -> None:
        self._writer = writer
        self._master = master
        self._clock = clock
        self._random = random
        self._door = door
        self._options = options
        self._free = options.parallel
        self._lines: dict[int, Line] = {}
        self._ended = _Ends()
        self._settled: set[int] = set()  # rows, since the present look began
        self._unreadable: set[int] = set()  # webhooks of which that was said
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was queued: look at once."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._settle_all())
                while True:
                    await self._look(group)
                    await self._until_woken()
        finally:
            for line in self._lines.values():
                line.door.close()

    async def _until_woken(self) -> None:
        try:
            async with asyncio.timeout(_LOOK):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        now = self._clock.unix_ms()
        self._settled.clear()
        held = {number: len(line.held) for number, line in self._lines.items()}
        passed = {number for number, line in self._lines.items() if not line.wants_more}

        def look(at: Connection) -> tuple[set[int], list[_Read]]:
            active = {one.number: one for one in active_webhooks(at)}
            ready = [
                active[one]
                for one in ready_webhooks(at, now)
                if one in active and one not in passed
            ]
            return set(active), [
                _Read(
                    webhook=one,
                    sealed=sealed_secrets(at, one.number, now=now),
                    rows=due(at, one.number, now, held.get(one.number, 0) + HELD),
                )
                for one in ready[:_AT_A_LOOK]
            ]

        try:
            active, found = await self._writer.read(look)
        except StoreError as error:
            EventLog().store_trouble(str(error))
            await asyncio.sleep(_AGAIN)
            return
        self._close_idle(active)
        for one in found:
            self._take(one)
        self._start(group)

    def _take(self, read: _Read) -> None:
        """Hold what was read, with the webhook as it is now."""
        number = read.webhook.number
        try:
            secrets = opened(self._master, number, read.sealed)
        except SecretError as error:  # of this one alone
            if number not in self._unreadable:
                self._unreadable.add(number)
                cause = str(error)
                _log.error("webhook_secret_unreadable", webhook=number, cause=cause)
            return
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = Line(
                webhook=read.webhook,
                secrets=secrets,
                door=self._door(read.webhook.url),
                parallel=self._options.parallel_per_webhook,
            )
        line.webhook, line.secrets = read.webhook, secrets
        # What was settled while this was read is still in it, and must not go out again.
        line.take(one for one in read.rows if one.row_id not in self._settled)

    def _close_idle(self, active: set[int]) -> None:
        now = self._clock.monotonic()
        for number, line in list(self._lines.items()):
            if number not in active:
                line.forget_waiting()
            if line.held:
                line.idle_since = now
            elif number not in active or now - line.idle_since > _IDLE:
                del self._lines[number]
                line.door.close()

    def _start(self, group: asyncio.TaskGroup) -> None:
        """Start what may be started, of the webhook that has the fewest under way."""
        now = self._clock.monotonic()
        while self._free:
            able = (line for line in self._lines.values() if line.may_start(now))
            line = min(able, key=lambda one: one.under_way, default=None)
            if line is None:
                return
            self._free -= 1
            group.create_task(self._deliver(group, line, line.start()))

    async def _deliver(
        self, group: asyncio.TaskGroup, line: Line, waiting: Waiting
    ) -> None:
        began = self._clock.monotonic()
        body, now = waiting.body.encode("ascii"), self._clock.unix_ms()
        fields = signed_fields(waiting.event_id, now // 1_000, body, line.secrets)
        answer: Posted | NotPosted
        try:
            answer = await line.door.post(body, fields)
        except Exception as error:  # noqa: BLE001 - a task's root: it is retried
            EventLog().internal_error(stage="webhook", error=error)
            answer = NotPosted("an error of ours")
        line.under_way -= 1
        self._free += 1
        self._note(line, waiting, answer, self._clock.monotonic() - began)
        self._start(group)

    def _note(
        self, line: Line, waiting: Waiting, answer: Posted | NotPosted, took: float
    ) -> None:
        now, webhook, ended = self._clock.unix_ms(), line.webhook, self._ended
        verdict = judge(
            answer,
            waiting,
            self._options.retries,
            now=now,
            chance=self._random.random(),
        )
        is_accepted = isinstance(answer, Posted) and answer.is_accepted
        line.failures = 0 if is_accepted else line.failures + 1
        if verdict.rest:
            rest = verdict.rest.total_seconds()
            line.rests_until = self._clock.monotonic() + rest
        ended.ends.append(verdict.end)
        ended.deliveries.append(delivery_of(waiting, answer, at=now, took=took))
        ended.failing[webhook.number] = None if is_accepted else now
        if verdict.is_gone:
            ended.disabled[webhook.number] = "it answered 410: it is gone"
        elif not is_accepted and self._is_given_up(webhook, now):
            days = self._options.disable_after / timedelta(days=1)
            last = ended.deliveries[-1]
            ended.disabled[webhook.number] = (
                f"nothing was accepted for {days:g} days;"
                f" the last answer: {last.status or 'none'} {last.said}"
            )

    def _is_given_up(self, webhook: Webhook, now: int) -> bool:
        since = webhook.failing_since
        limit = self._options.disable_after // timedelta(milliseconds=1)
        return since is not None and now - since >= limit

    async def _settle_all(self) -> None:
        while True:
            await asyncio.sleep(_GROUP)
            while self._ended.ends:
                group = self._taken()
                await self._settle(group)
                for end in group.ends:
                    self._settled.add(end.waiting.row_id)
                    line = self._lines.get(end.waiting.webhook)
                    if line is not None:
                        line.held.discard(end.waiting.row_id)
                self.wake()

    def _taken(self) -> _Ends:
        """Some of what ended, in order; the rest stays for the next group."""
        all_ended = self._ended
        some = _Ends(
            ends=all_ended.ends[:_ENDS_AT_ONCE],
            deliveries=all_ended.deliveries[:_ENDS_AT_ONCE],
            failing=all_ended.failing,
            disabled=all_ended.disabled,
        )
        self._ended = _Ends(
            ends=all_ended.ends[_ENDS_AT_ONCE:],
            deliveries=all_ended.deliveries[_ENDS_AT_ONCE:],
        )
        return some

    async def _settle(self, group: _Ends) -> None:
        """Until it is done: what was accepted must not be told again."""
        now = self._clock.unix_ms()

        def write(at: Connection) -> list[int]:
            settle(at, group.ends, now=now)
            log_deliveries(at, group.deliveries)
            for number, since in group.failing.items():
                mark_failing(at, number, since)
            return [
                number
                for number, because in group.disabled.items()
                if disable_webhook(at, number, because=because, actor=_ACTOR, now=now)
            ]

        while True:
            try:
                disabled = await self._writer.transact(write)
                break
            except StoreError as error:
                EventLog().store_trouble(str(error))
                await asyncio.sleep(_AGAIN)
        for number in disabled:
            _log.warning(
                "webhook_disabled", webhook=number, because=group.disabled[number]
            )


def delivery_of(
    waiting: Waiting, answer: Posted | NotPosted, *, at: int, took: float
) -> Delivery:
    """Return an attempt as the log has it; `took` in seconds."""
    return Delivery(
        webhook=waiting.webhook,
        event_id=waiting.event_id,
        type=waiting.type,
        at=at,
        attempt=waiting.attempts + 1,
        status=answer.status if isinstance(answer, Posted) else None,
        duration_ms=int(took * 1_000),
        said=answer.said if isinstance(answer, Posted) else answer.cause,
    )
