"""What follows from a DMARC aggregate report when it is settled, in its transaction:

1. It is about a domain that is set up here, and of days not long ago; else it is only kept.
2. Its figures are kept, once.
3. Of a report whose sender is proved: mail of ours that fails is told, and its domain looked
   at again; a signature that is reported more often than it was sent is told.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Protocol

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.alarms import ACTOR, Alarm, tell
from soboo_mta.events.reports.dmarc import (
    DAY_MS,
    CountedReport,
    Figure,
    Signature,
    SignedCount,
    keep_report,
    written,
)
from soboo_mta.events.reports.dmarc_view import (
    SignedTotal,
    are_tallied,
    signed_total,
)
from soboo_mta.events.reports.domains import SetUp, our_signatures, set_up
from soboo_mta.formats.authentication import Authentication
from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.returned import DmarcReport
from soboo_mta.ports import IpAddress
from soboo_mta.returns.reports.dmarc import (
    Incident,
    Ours,
    authors_of,
    day_text,
    days_of,
    incidents,
    is_replay,
    is_timely,
    joined,
    merged,
    proven_sender,
    signed_counts,
)
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.store.unit import perform
from soboo_mta.tenancy.doubts import Doubts

_ANCESTORS: Final = 8  # of a report's domain that are looked for


class Sent(Protocol):
    """Says how many messages of a From domain were delivered with each signature, from one
    unix day to another inclusive (events.tally.view.sent_by_selector)."""

    def __call__(
        self,
        connection: Connection,
        /,
        *,
        domain: Domain,
        first_day: int,
        last_day: int,
    ) -> Mapping[Signature, int]: ...


class DmarcDesk:
    """See the module."""

    def __init__(
        self,
        *,
        addresses: Collection[IpAddress],
        operator: Domain,
        suffixes: Suffixes,
        doubts: Doubts,
        sent: Sent,
    ) -> None:
        """`addresses` are those that receivers see our mail come from; `operator` is the
        operator's d=."""
        self._addresses = frozenset(addresses)
        self._operator = operator
        self._suffixes = suffixes
        self._doubts = doubts
        self._sent = sent

    def took(
        self,
        connection: Connection,
        unread: Unread,
        report: DmarcReport,
        proved: Authentication | None,
        *,
        now: int,
    ) -> tuple[Alarm, ...]:
        """Count a report and tell what it shows; return what was told. `now` is unix ms."""
        domain = Domain.parse_or_none(report.domain)
        if domain is None or not is_timely(report, now // DAY_MS):
            return ()
        names = (domain, *_above(domain), *authors_of(report, domain))
        here = set_up(connection, names)
        if not here:
            return ()
        verified = [one for one in here if one.is_verified]
        ours = Ours(
            addresses=self._addresses,
            signatures=our_signatures(connection, verified, self._operator),
            authors=frozenset(one.name for one in verified),
        )
        figures = joined(report, domain, ours)
        author = proven_sender(proved)
        sender = author and self._suffixes.organizational_domain(author)
        counted = _counted(report, figures, ours, unread, domain=domain, sender=sender)
        if not keep_report(connection, counted) or sender is None:
            return ()
        found = incidents(report, figures, ours.authors)
        return (
            *self._failed(connection, counted, found, verified, now=now),
            *self._replayed(connection, counted, verified, now=now),
        )

    def _failed(
        self,
        connection: Connection,
        report: CountedReport,
        found: Collection[Incident],
        verified: Collection[SetUp],
        *,
        now: int,
    ) -> Iterator[Alarm]:
        for one in found:
            detail: dict[str, object] = {
                "reporter": report.sender,
                "return": report.returned_id,
                "day": day_text(report.first_day),
                "source": one.source,
                "count": one.messages,
                "dkim": one.dkim,
                "spf": one.spf,
            }
            alarm = Alarm(
                kind=EventKind.DMARC_FAILED,
                domain=one.author,
                subject=str(report.sender),
                day=report.first_day,
                detail=detail,
            )
            if not tell(connection, alarm, _owners(verified, one.author), now=now):
                continue
            for domain in verified:
                if domain.name == one.author:
                    self._doubt(connection, domain, detail)
            yield alarm

    def _doubt(
        self, connection: Connection, domain: SetUp, detail: Mapping[str, object]
    ) -> None:
        unit = self._doubts.raised(
            domain.domain_id, message_id=None, actor=ACTOR, detail=detail
        )
        perform(connection, *unit)

    def _replayed(
        self,
        connection: Connection,
        report: CountedReport,
        verified: Collection[SetUp],
        *,
        now: int,
    ) -> Iterator[Alarm]:
        days = (report.first_day, report.last_day)
        for one in report.signed:
            total = signed_total(connection, one.author, one.signature, days)
            if total is None or not is_replay(total.messages, 0):
                continue  # so few are never one: nothing is looked up
            if not _is_comparable(connection, one, total, verified):
                continue
            touched = {"first_day": total.first_day, "last_day": total.last_day}
            sent = self._sent(connection, domain=one.author, **touched)
            delivered = sent.get(one.signature, 0)
            if not is_replay(total.messages, delivered):
                continue
            domain, selector = one.signature
            detail: dict[str, object] = {
                "d": domain,
                "selector": selector,
                "from": day_text(total.first_day),
                "until": day_text(total.last_day),
                "reported": total.messages,
                "elsewhere": total.elsewhere,
                "delivered": delivered,
                "reports": total.reports,
                "reporter": report.sender,
                "return": report.returned_id,
            }
            alarm = Alarm(
                kind=EventKind.REPLAY_SUSPECTED,
                domain=one.author,
                subject=written([one.signature]),
                day=report.first_day,
                detail=detail,
            )
            if tell(connection, alarm, _owners(verified, one.author), now=now):
                yield alarm


def _counted(
    report: DmarcReport,
    figures: Sequence[Figure],
    ours: Ours,
    unread: Unread,
    *,
    domain: Domain,
    sender: Domain | None,
) -> CountedReport:
    first_day, last_day = days_of(report)
    return CountedReport(
        returned_id=unread.returned_id,
        received_at=unread.received_at,
        domain=domain,
        sender=sender,
        reporter=report.reporter,
        report_id=report.report_id,
        first_day=first_day,
        last_day=last_day,
        left_out=report.left_out,
        figures=merged(figures, domain),
        signed=signed_counts(figures, ours.authors),
    )


def _is_comparable(
    connection: Connection,
    one: SignedCount,
    total: SignedTotal,
    verified: Collection[SetUp],
) -> bool:
    """Whether we know all that was delivered on the days of `total`. Before a domain was
    set up here somebody else may have signed with that selector."""
    begun = [here.created_at for here in verified if here.name == one.author]
    is_old = all(at < total.first_day * DAY_MS for at in begun)
    return is_old and are_tallied(connection, total.first_day, total.last_day)


def _owners(verified: Collection[SetUp], name: Domain) -> Iterator[TenantId]:
    return (one.tenant for one in verified if one.name == name)


def _above(domain: Domain) -> tuple[Domain, ...]:
    """The names above a domain that may be set up, the nearest first."""
    labels = domain.labels
    starts = range(1, min(len(labels) - 1, _ANCESTORS + 1))
    return tuple(Domain(".".join(labels[start:])) for start in starts)
