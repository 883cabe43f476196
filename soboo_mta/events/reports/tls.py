"""Figures of TLS with our bounce hosts, as others report them (RFC 8460); one connection.

A report on a host counts once, by who sent it and its id. Who sent it is what was proved; a
report that came without proof gives way to the same one with it. Times are unix ms.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.returned import TlsPolicy
from soboo_mta.store.schema import tls_failure, tls_report, tls_told
from soboo_mta.store.writer import Writer

UNPROVED = ""
_SWEPT_AT_ONCE = 200  # reports of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """What one report says of one bounce host; `proved_by` None: nobody signed it."""

    returned_id: int
    received_at: int
    reporter: str
    proved_by: Domain | None
    report_id: str
    host: Domain
    begin_at: int
    end_at: int
    policies: tuple[TlsPolicy, ...]

    @property
    def proof(self) -> str:
        return UNPROVED if self.proved_by is None else str(self.proved_by)


@dataclass(frozen=True, slots=True)
class OfHost:
    """How many reports there were on a host since a time; `of_proof` of one signer."""

    all: int
    of_proof: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Sessions with one host under one policy, and how many reports told of them."""

    host: str
    policy: str
    is_proved: bool
    reports: int
    succeeded: int
    failed: int
    last_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Failed sessions of one kind between one sender and one MX of ours; `reason` is one
    code that was given."""

    host: str
    result: str
    is_proved: bool
    reporter: str
    sending_ip: str
    receiving_mx: str
    reason: str
    sessions: int
    last_at: int


def is_counted(connection: Connection, report: HostReport) -> bool:
    """Whether this report on this host is there: with the same proof, or where it has
    none with any."""
    found = connection.scalars(_PROOFS, _names(report)).all()
    return report.proof in found or (report.proved_by is None and bool(found))


def reports_of_host(
    connection: Connection, report: HostReport, *, since: int
) -> OfHost:
    """Return how many reports on the same host were received since then."""
    row = connection.execute(
        _OF_HOST, {"of": str(report.host), "by": report.proof, "since": since}
    ).one()
    return OfHost(int(row.total), int(row.of_proof or 0))


def note_report(connection: Connection, report: HostReport) -> None:
    """Add a report that is not counted yet; the same one without proof goes."""
    if report.proved_by is not None:
        unproved = connection.scalars(_UNPROVED, _names(report)).all()
        _drop(connection, unproved)
    for policy in report.policies:
        this = connection.scalar(_INSERT, _row(report, policy))
        if this is not None and policy.failures:
            connection.execute(_INSERT_FAILURE, list(_failure_rows(this, policy)))


def may_tell(
    connection: Connection, host: Domain, result: str, *, now: int, since: int
) -> bool:
    """Whether nobody was told of this trouble since then; notes that it is told now."""
    row = {"domain": str(host), "result": result, "at": now, "since": since}
    return connection.execute(_TELL, row).first() is not None


def sessions(
    connection: Connection, *, since: int, hosts: Collection[Domain] | None = None
) -> tuple[Sessions, ...]:
    """Return the sessions reported since then by host, proof and policy; None: of all."""
    query = _SESSIONS if hosts is None else _SESSIONS.where(_among(hosts))
    rows = connection.execute(query, {"since": since})
    return tuple(
        Sessions(
            host=row.domain,
            policy=row.policy,
            is_proved=bool(row.is_proved),
            reports=int(row.reports),
            succeeded=int(row.succeeded),
            failed=int(row.failed),
            last_at=int(row.last_at),
        )
        for row in rows
    )


def failures(
    connection: Connection,
    *,
    since: int,
    hosts: Collection[Domain] | None = None,
    limit: int,
) -> tuple[Failures, ...]:
    """Return the failures reported since then, proved ones and the most sessions first."""
    query = _FAILURES if hosts is None else _FAILURES.where(_among(hosts))
    rows = connection.execute(query.limit(limit), {"since": since})
    return tuple(
        Failures(
            host=row.domain,
            result=row.result,
            is_proved=bool(row.is_proved),
            reporter=row.reporter,
            sending_ip=row.sending_ip,
            receiving_mx=row.receiving_mx,
            reason=row.reason,
            sessions=int(row.sessions),
            last_at=int(row.last_at),
        )
        for row in rows
    )


async def sweep_tls_reports(writer: Writer, *, keep: timedelta, now: int) -> int:
    """Delete what was received longer ago than `keep`, in small transactions; return the
    rows. May raise StoreError."""
    before = now - keep // timedelta(milliseconds=1)
    total = 0
    while gone := await writer.transact(lambda at: forget_reports(at, before=before)):
        total += gone
    return total


def forget_reports(connection: Connection, *, before: int) -> int:
    """Delete one transaction's worth of what was received before then; return the rows,
    0 when done."""
    old = connection.scalars(_OLD, {"before": before}).all()
    told = connection.execute(_FORGET_TOLD, {"before": before}).rowcount
    return _drop(connection, old) + told


def _among(hosts: Collection[Domain]) -> ColumnElement[bool]:
    return tls_report.c.domain.in_([str(host) for host in hosts])


def _names(report: HostReport) -> dict[str, object]:
    return {
        "who": report.reporter,
        "named": report.report_id,
        "of": str(report.host),
    }


def _row(report: HostReport, policy: TlsPolicy) -> dict[str, object]:
    return {
        "returned_id": report.returned_id,
        "received_at": report.received_at,
        "reporter": report.reporter,
        "proved_by": report.proof,
        "report_id": report.report_id,
        "domain": str(report.host),
        "policy": policy.policy,
        "begin_at": report.begin_at,
        "end_at": report.end_at,
        "succeeded": policy.succeeded,
        "failed": policy.failed,
    }


def _failure_rows(this: int, policy: TlsPolicy) -> Iterable[dict[str, object]]:
    for number, one in enumerate(policy.failures):
        yield {
            "tls_report_id": this,
            "number": number,
            "result": one.result,
            "receiving_mx": one.receiving_mx,
            "sending_ip": one.sending_ip,
            "reason": one.reason,
            "sessions": one.sessions,
        }


def _drop(connection: Connection, ids: Sequence[int]) -> int:
    if not ids:
        return 0
    these = {"ids": list(ids)}
    gone = connection.execute(_DROP_FAILURES, these).rowcount
    return gone + connection.execute(_DROP, these).rowcount


_HOST = tls_report.c.domain == bindparam("of")
_THIS = (
    tls_report.c.reporter == bindparam("who"),
    tls_report.c.report_id == bindparam("named"),
    _HOST,
)
_PROOFS = select(tls_report.c.proved_by).where(*_THIS).distinct()
_UNPROVED = select(tls_report.c.id).where(*_THIS, tls_report.c.proved_by == UNPROVED)
_OF_HOST = select(
    func.count().label("total"),
    func.sum(case((tls_report.c.proved_by == bindparam("by"), 1), else_=0)).label(
        "of_proof"
    ),
).where(_HOST, tls_report.c.received_at >= bindparam("since"))
# PostgreSQL's form: SQLite's compiler writes the same. Two processes may settle one report.
_INSERT = insert_or(tls_report).on_conflict_do_nothing().returning(tls_report.c.id)
_INSERT_FAILURE = insert(tls_failure)
_insert_told = insert_or(tls_told)
_TELL = _insert_told.on_conflict_do_update(
    index_elements=["domain", "result"],
    set_={"at": _insert_told.excluded["at"]},
    where=tls_told.c.at <= bindparam("since"),
).returning(tls_told.c.at)
_IS_PROVED = case(  # without parameters: PostgreSQL knows it again in GROUP BY
    (tls_report.c.proved_by == literal_column("''"), literal_column("0")),
    else_=literal_column("1"),
).label("is_proved")
_SINCE = tls_report.c.received_at >= bindparam("since")
_SESSIONS = (
    select(
        tls_report.c.domain,
        tls_report.c.policy,
        _IS_PROVED,
        func.count().label("reports"),
        func.sum(tls_report.c.succeeded).label("succeeded"),
        func.sum(tls_report.c.failed).label("failed"),
        func.max(tls_report.c.end_at).label("last_at"),
    )
    .where(_SINCE)
    .group_by(tls_report.c.domain, tls_report.c.policy, _IS_PROVED)
    .order_by(tls_report.c.domain, _IS_PROVED.desc(), tls_report.c.policy)
)
_failed_sessions = func.sum(tls_failure.c.sessions).label("sessions")
_KIND = (
    tls_report.c.domain,
    tls_failure.c.result,
    _IS_PROVED,
    tls_report.c.reporter,
    tls_failure.c.sending_ip,
    tls_failure.c.receiving_mx,
)
_FAILURES = (
    select(
        *_KIND,
        func.max(tls_failure.c.reason).label("reason"),
        _failed_sessions,
        func.max(tls_report.c.end_at).label("last_at"),
    )
    .join(tls_failure, tls_failure.c.tls_report_id == tls_report.c.id)
    .where(_SINCE)
    .group_by(*_KIND)
    .order_by(_IS_PROVED.desc(), _failed_sessions.desc(), *_KIND[:2])
)
_OLD = (
    select(tls_report.c.id)
    .where(tls_report.c.received_at < bindparam("before"))
    .limit(_SWEPT_AT_ONCE)
)
_ids: Any = bindparam("ids", expanding=True)  # as a column's type would have it: Any
_DROP_FAILURES = delete(tls_failure).where(tls_failure.c.tls_report_id.in_(_ids))
_DROP = delete(tls_report).where(tls_report.c.id.in_(_ids))
_FORGET_TOLD = delete(tls_told).where(tls_told.c.at < bindparam("before"))
