"""Counts a TLS report that was settled, and tells of what is ours to mend; in the
transaction that settles it. What counts is decided in `returns.reports.tls`."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.reports.tls import (
    HostReport,
    is_counted,
    may_tell,
    note_report,
    reports_of_host,
)
from soboo_mta.formats.authentication import Authentication
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.returned import TlsReport
from soboo_mta.returns.reception import DoorKind
from soboo_mta.returns.reports.tls import (
    DAY_MS,
    Incident,
    Known,
    by_host,
    id_of,
    incidents,
    passed_over,
    reporter_of,
    signed_by,
)
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.store.unit import perform
from soboo_mta.tenancy.domains.bounce_hosts import BounceHostOwner, owners_of

ACTOR: Final = "returns"
_SHOWN: Final = 5  # MX hosts in an event


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedReport:
    """What became of a report on one host; `why` it does not count, "" where it does.
    `incidents` are those that were told now."""

    reporter: str
    proved_by: Domain | None
    host: str
    why: str
    incidents: tuple[Incident, ...] = ()


def count_tls_report(
    connection: Connection,
    unread: Unread,
    found: TlsReport,
    authentication: Authentication | None,
    *,
    bounce_domain: Domain,
    now: int,
) -> tuple[CountedReport, ...]:
    """Count what a report says of each host of ours; return what became of each.

    `bounce_domain` is the operator's own. A report by mail that its sender did not sign
    counts for nothing.
    """
    reporter, proved_by = reporter_of(found), signed_by(authentication)
    if proved_by is None and unread.door != DoorKind.TLS_HTTPS:
        why = "its Author's domain did not sign it"
        return (CountedReport(reporter=reporter, proved_by=None, host="", why=why),)
    counted = []
    for host, policies in by_host(found).items():
        report = HostReport(
            returned_id=unread.returned_id,
            received_at=unread.received_at,
            reporter=reporter,
            proved_by=proved_by,
            report_id=id_of(found),
            host=host,
            begin_at=int(found.begin.timestamp() * 1_000),
            end_at=int(found.end.timestamp() * 1_000),
            policies=policies,
        )
        owners = owners_of(connection, host)
        is_ours = bool(owners) or host == bounce_domain
        known = _known(connection, report, is_ours=is_ours, now=now)
        why = passed_over(found, known, proved_by=proved_by, now=now)
        told: tuple[Incident, ...] = ()
        if not why:
            note_report(connection, report)
            told = _tell(connection, report, owners, now)
        counted.append(
            CountedReport(
                reporter=reporter,
                proved_by=proved_by,
                host=str(host),
                why=why,
                incidents=told,
            )
        )
    return tuple(counted)


def _known(
    connection: Connection, report: HostReport, *, is_ours: bool, now: int
) -> Known:
    if not is_ours:  # nothing more is asked about a stranger's words
        return Known(is_ours=False, is_counted=False, of_host=0, of_reporter=0)
    today = reports_of_host(connection, report, since=now - DAY_MS)
    return Known(
        is_ours=True,
        is_counted=is_counted(connection, report),
        of_host=today.all,
        of_reporter=today.of_proof,
    )


def _tell(
    connection: Connection,
    report: HostReport,
    owners: tuple[BounceHostOwner, ...],
    now: int,
) -> tuple[Incident, ...]:
    """Record an event for each trouble that nobody was told of for a day: to each owner
    that is proved to be one, else to the operator alone."""
    told = tuple(
        one
        for one in incidents(report.policies, proved_by=report.proved_by)
        if may_tell(connection, report.host, one.result, now=now, since=now - DAY_MS)
    )
    whose: list[tuple[TenantId | None, Domain]] = [
        (owner.tenant, owner.domain) for owner in owners if owner.is_verified
    ]
    for tenant, domain in whose or [(None, report.host)]:
        for one in told:
            event = recorded(
                EventKind.TLS_FAILING,
                at=now,
                actor=ACTOR,
                tenant=tenant,
                domain=domain,
                detail=_detail(report, one),
            )
            perform(connection, event)
    return told


def _detail(report: HostReport, one: Incident) -> dict[str, object]:
    return {
        "bounce_host": str(report.host),
        "result": one.result,
        "sessions": one.sessions,
        "receiving_mx": list(one.receiving_mx[:_SHOWN]),
        "reporter": report.reporter,
        "proved_by": report.proof,
        "return": report.returned_id,
        "mend": one.mend,
    }
