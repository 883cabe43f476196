"""What DMARC reports count, summed: by From domain, source and signature.

Functions over one connection. Days are unix days, UTC. What nobody is proved to have sent
is in no sum but `reports_on`'s own count of it.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    Boolean,
    Connection,
    and_,
    bindparam,
    case,
    cast,
    distinct,
    func,
    or_,
    select,
)

from soboo_mta.events.outbox.cursors import the_cursor
from soboo_mta.events.reports.dmarc import DAY_MS, Signature, Whose
from soboo_mta.events.tally.counting import CURSOR
from soboo_mta.mail.domain import Domain
from soboo_mta.store.schema import (
    attempt,
    dmarc_report,
    dmarc_row,
    dmarc_signed,
    sending_domain,
    sent_tally,
)

_MAX_SOURCES: Final = 1_000  # of one domain: more are in the sums alone
_MAX_REPORTERS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Messages of one kind with one verdict."""

    whose: Whose
    passes: bool
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTotal:
    """Messages from one address. `dkim_domains` and `spf_domains` are what passed there,
    some of it."""

    source: str
    whose: Whose
    passed: int
    failed: int
    dkim_domains: tuple[str, ...] = ()
    spf_domains: tuple[str, ...] = ()

    @property
    def messages(self) -> int:
        return self.passed + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The reports on one From domain. `reporters` are the domains that are proved to have
    sent them; `days` days on which one begins; `left_out` rows of them that were not read;
    `unproved` nobody is proved to have sent."""

    number: int
    reporters: tuple[Domain, ...]
    days: int
    unproved: int
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTotal:
    """Messages on which one signature passed, by all reports that touch some days; the
    days from the first to the last that these reports touch."""

    messages: int
    elsewhere: int
    reports: int
    first_day: int
    last_day: int


def reported_authors(connection: Connection, since_day: int) -> tuple[Domain, ...]:
    """Return the From domains with figures, proved or not, that are set up here, by name."""
    found = connection.scalars(_AUTHORS, {"since": since_day})
    return tuple(map(Domain, found))


def authors_since(connection: Connection, received_since: int) -> tuple[Domain, ...]:
    """Return the From domains of proved reports received since then (unix ms)."""
    found = connection.scalars(_AUTHORS_SINCE, {"since": received_since})
    return tuple(map(Domain, found))


def totals(connection: Connection, author: Domain, since_day: int) -> tuple[Total, ...]:
    """Return the sums of one From domain."""
    rows = connection.execute(_TOTALS, {"author": author, "since": since_day})
    return tuple(
        Total(
            whose=Whose(row.whose),
            passes=bool(row.passes),
            messages=int(row.messages),
        )
        for row in rows
    )


def sources(
    connection: Connection, author: Domain, since_day: int
) -> tuple[SourceTotal, ...]:
    """Return where mail of one From domain came from, the heaviest first; of more than
    1,000 sources those."""
    rows = connection.execute(_SOURCES, {"author": author, "since": since_day})
    return tuple(
        SourceTotal(
            source=row.source,
            whose=Whose(row.whose),
            passed=int(row.passed),
            failed=int(row.failed),
            dkim_domains=_names(row.dkim_least, row.dkim_most),
            spf_domains=_names(row.spf_least, row.spf_most),
        )
        for row in rows
    )


def reports_on(connection: Connection, author: Domain, since_day: int) -> Reports:
    """Return what reports there are with figures of one From domain."""
    whose = {"author": author, "since": since_day}
    row = connection.execute(_REPORTS, whose).one()
    reporters = connection.scalars(_REPORTERS, whose)
    return Reports(
        number=int(row.number or 0),
        reporters=tuple(map(Domain, reporters)),
        days=int(row.days or 0),
        unproved=int(row.unproved or 0),
        left_out=int(connection.scalar(_LEFT_OUT, whose) or 0),
    )


def signed_total(
    connection: Connection, author: Domain, signature: Signature, days: tuple[int, int]
) -> SignedTotal | None:
    """Return what all proved reports that touch `days` count with one signature."""
    domain, selector = signature
    row = connection.execute(
        _SIGNED,
        {
            "author": author,
            "domain": domain,
            "selector": selector,
            "first": days[0],
            "last": days[1],
            "least": days[0] - _LONGEST,
        },
    ).one()
    if row.reports == 0:
        return None
    return SignedTotal(
        messages=int(row.messages),
        elsewhere=int(row.elsewhere),
        reports=row.reports,
        first_day=row.first_day,
        last_day=row.last_day,
    )


def are_tallied(connection: Connection, first_day: int, last_day: int) -> bool:
    """Whether all that was delivered on these days is in the tally of what was sent. Its
    own first day is not: it may have a part of it alone."""
    cursor = the_cursor(connection, CURSOR)
    earliest = connection.scalar(_FIRST_TALLIED)
    if cursor is None or earliest is None or earliest >= first_day:
        return False
    behind = {
        "after": cursor.position.attempt_id,
        "until": (last_day + 1) * DAY_MS,
    }
    return connection.execute(_NOT_TALLIED, behind).first() is None


def _names(*found: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in found if one))


_LONGEST: Final = 32  # days of a report: none that touches a day begins before that
_since = dmarc_row.c.day >= bindparam("since")
_of = and_(dmarc_row.c.author == bindparam("author"), _since)
_proved = dmarc_report.c.sender != ""
_joined = dmarc_row.join(dmarc_report, dmarc_report.c.id == dmarc_row.c.report)
_passes = or_(dmarc_row.c.dkim, dmarc_row.c.spf)
_here = select(sending_domain.c.name).where(sending_domain.c.released_at.is_(None))
_AUTHORS = (
    select(dmarc_row.c.author)
    .where(_since, dmarc_row.c.author.in_(_here))
    .distinct()
    .order_by(dmarc_row.c.author)
)
_AUTHORS_SINCE = (
    select(dmarc_row.c.author)
    .select_from(_joined)
    .where(dmarc_report.c.received_at >= bindparam("since"), _proved)
    .distinct()
    .order_by(dmarc_row.c.author)
)
_verdict = cast(_passes, Boolean)
_TOTALS = (
    select(
        dmarc_row.c.whose,
        _verdict.label("passes"),
        func.sum(dmarc_row.c.messages).label("messages"),
    )
    .select_from(_joined)
    .where(_of, _proved)
    .group_by(dmarc_row.c.whose, _verdict)
    .order_by(dmarc_row.c.whose)
)
_passed = func.sum(case((_passes, dmarc_row.c.messages), else_=0))
_failed = func.sum(case((_passes, 0), else_=dmarc_row.c.messages))
_SOURCES = (
    select(
        dmarc_row.c.source,
        dmarc_row.c.whose,
        _passed.label("passed"),
        _failed.label("failed"),
        func.min(func.nullif(dmarc_row.c.dkim_domain, "")).label("dkim_least"),
        func.max(dmarc_row.c.dkim_domain).label("dkim_most"),
        func.min(func.nullif(dmarc_row.c.spf_domain, "")).label("spf_least"),
        func.max(dmarc_row.c.spf_domain).label("spf_most"),
    )
    .select_from(_joined)
    .where(_of, _proved)
    .group_by(dmarc_row.c.source, dmarc_row.c.whose)
    .order_by(func.sum(dmarc_row.c.messages).desc(), dmarc_row.c.source)
    .limit(_MAX_SOURCES)
)
_REPORTS = (
    select(
        func.count(distinct(case((_proved, dmarc_report.c.id)))).label("number"),
        func.count(distinct(case((_proved, dmarc_report.c.first_day)))).label("days"),
        func.count(distinct(case((~_proved, dmarc_report.c.id)))).label("unproved"),
    )
    .select_from(_joined)
    .where(_of)
)
_LEFT_OUT = select(func.sum(dmarc_report.c.left_out)).where(
    dmarc_report.c.id.in_(select(dmarc_row.c.report).where(_of)), _proved
)
_REPORTERS = (
    select(dmarc_report.c.sender)
    .select_from(_joined)
    .where(_of, _proved)
    .distinct()
    .order_by(dmarc_report.c.sender)
    .limit(_MAX_REPORTERS)
)
_SIGNED = (
    select(
        func.coalesce(func.sum(dmarc_signed.c.messages), 0).label("messages"),
        func.coalesce(func.sum(dmarc_signed.c.elsewhere), 0).label("elsewhere"),
        func.count().label("reports"),
        func.min(dmarc_report.c.first_day).label("first_day"),
        func.max(dmarc_report.c.last_day).label("last_day"),
    )
    .select_from(
        dmarc_signed.join(dmarc_report, dmarc_report.c.id == dmarc_signed.c.report)
    )
    .where(
        dmarc_signed.c.author == bindparam("author"),
        dmarc_signed.c.domain == bindparam("domain"),
        dmarc_signed.c.selector == bindparam("selector"),
        dmarc_signed.c.day >= bindparam("least"),
        dmarc_signed.c.day <= bindparam("last"),
        dmarc_report.c.last_day >= bindparam("first"),
        _proved,
    )
)
_FIRST_TALLIED = select(func.min(sent_tally.c.day))
_NOT_TALLIED = (
    select(attempt.c.id)
    .where(attempt.c.id > bindparam("after"), attempt.c.at < bindparam("until"))
    .limit(1)
)
