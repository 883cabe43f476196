"""The rounds of the sweep: what is over, in small transactions, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.content import Corrupt, load
from soboo_mta.spool.moves.ahead import (
    call_back,
    pulled_forward,
    put_off,
    written_ahead,
)
from soboo_mta.spool.moves.one import BEGINNING, Place
from soboo_mta.spool.moves.sweep import (
    Expiry,
    Overdue,
    expire,
    overdue,
    sweep_once,
)
from soboo_mta.spool.once import forget_keys
from soboo_mta.spool.operator.moves import release_stray
from soboo_mta.store.unit import Statement
from soboo_mta.store.writer import Writer

_ADDRESS_ENDS = timedelta(hours=1)
"""An unsubscribe address lives for `keep`, rounded up to the hour: what it is about must be
known to its end."""
_REPORT_OCTETS = 524_288  # of reports in one transaction of the sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolOptions:
    """What the spool keeps, and how much one claim may take into memory."""

    keep: timedelta = timedelta(days=30)
    """Envelopes, attempts and events of settled messages are kept for so long."""
    staged_for: timedelta = timedelta(hours=1)
    """Pieces without a message are of a broken submission after so long."""
    claim_octets: int = 16 * 1024 * 1024
    """Content that one claim may read into memory (a larger message goes alone)."""
    longest_wait: timedelta = timedelta(hours=10)
    """No retry is put off for longer: what waits for longer was put off by a clock that
    has been set back since."""
    min_free: int = 0
    """Octets that must be free on the store's disk, or no mail is accepted."""


class ExpiryReports(Protocol):
    """Makes the report on recipients that expired (transfer.reporting.Reports)."""

    async def of_expired(
        self, message: SpooledMessage, late: Sequence[Overdue]
    ) -> list[Statement]:
        """Return what belongs into the transaction that ends them."""
        ...


async def sweep_for(
    writer: Writer,
    options: SpoolOptions,
    *,
    now: int,
    reports: ExpiryReports | None = None,
) -> int:
    """Expire what waits behind a gate for too long, call back what a clock set back has
    put off, and delete what was kept long enough, in small transactions; return the rows.
    What expires is reported with its end."""
    settled_before, staged_before = (
        now - _ms(options.keep + _ADDRESS_ENDS),
        now - _ms(options.staged_for),
    )
    total = 0
    while late := await writer.read(lambda connection: overdue(connection, now)):
        # A row that is claimed meanwhile is left: it expires after its attempt.
        ended = await _expire(writer, late, reports, now)
        if not ended:
            break
        total += ended
    latest = now + _ms(options.longest_wait)
    while early := await writer.read(partial(put_off, latest=latest)):
        total += await writer.transact(partial(call_back, early=early, now=now))
    total += await make_ahead_due(writer, now=now)
    while stray := await writer.transact(lambda at: release_stray(at, now)):
        total += stray.total()
    while gone := await writer.transact(
        lambda connection: sweep_once(
            connection, settled_before=settled_before, staged_before=staged_before
        )
    ):
        total += gone
    while freed := await writer.transact(
        lambda connection: forget_keys(connection, now)
    ):
        total += freed
    return total


async def pull_forward(
    writer: Writer, by: timedelta, *, now: int, after: Place = BEGINNING
) -> Place | None:
    """Let some of what waits for a retry wait so much less: the clock was set back by
    that. What its sender scheduled is for a time of day, and stays. Returns the place to
    go on `after`, None at the end."""
    return await writer.transact(
        partial(pulled_forward, by=_ms(by), now=now, after=after)
    )


async def make_ahead_due(writer: Writer, *, now: int) -> int:
    """Make due what waits by a clock that stood ahead of `now`; return how many."""
    total = 0
    while ahead := await writer.read(partial(written_ahead, now=now)):
        made = await writer.transact(partial(call_back, early=ahead, now=now))
        if not made:
            break  # claimed meanwhile
        total += made
    return total


async def _expire(
    writer: Writer, late: Sequence[Overdue], reports: ExpiryReports | None, now: int
) -> int:
    by_message: dict[int, list[Overdue]] = {}
    for one in late:
        by_message.setdefault(one.message_id, []).append(one)
    ended, octets, ready = 0, 0, list[Expiry]()
    for of_one in by_message.values():
        ready.append(Expiry(of_one, await _report_on(writer, of_one, reports)))
        octets += ready[-1].octets
        if octets >= _REPORT_OCTETS:
            ended += await writer.transact(partial(expire, expiries=ready, now=now))
            octets, ready = 0, []
    return ended + await writer.transact(partial(expire, expiries=ready, now=now))


async def _report_on(
    writer: Writer, late: Sequence[Overdue], reports: ExpiryReports | None
) -> Sequence[Statement]:
    if reports is None or not late[0].is_answered:
        return ()
    number = late[0].message_id
    message = (await writer.read(lambda connection: load(connection, [number])))[number]
    if isinstance(message, Corrupt):
        return ()  # nobody can say any more what it was
    return await reports.of_expired(message, late)


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
