"""Domains and their records as tables and as JSON, in the same words everywhere."""

from collections.abc import Iterable

from rich.table import Table

from soboo_mta.cli.domains.standing.tables import state_word
from soboo_mta.cli.domains.ways import way_values
from soboo_mta.cli.queue.words import moment
from soboo_mta.identity.state import RecordCheck, RecordStatus, RequiredRecord
from soboo_mta.identity.zones.zone_text import pieces
from soboo_mta.ports import RecordType
from soboo_mta.tenancy.domains import DomainView


def records_table(found: Iterable[RequiredRecord]) -> Table:
    """Return records as a table; long values wrap, so that nothing is cut off."""
    table = _folding("name", "type", "value", "for", "needed")
    for record in found:
        table.add_row(
            f"{record.owner}.",
            record.kind,
            record.value,
            record.note or record.purpose,
            "yes" if record.is_required else "recommended",
        )
    return table


def checks_table(checks: Iterable[RecordCheck]) -> Table:
    """Return what one look found as a table: expected, found, why."""
    table = _folding("record", "status", "expected", "found", "why")
    for check in checks:
        record = check.record
        wish = "" if record.is_required else " (recommended)"
        asked = f"\nasked at {check.server}" if check.server else ""
        table.add_row(
            f"{record.owner}. {record.kind}{wish}{asked}",
            f"{check.status}\n{check.fault}".rstrip(),
            record.value,
            check.found or "(nothing)",
            "\n".join(part for part in (check.cause, check.mend) if part),
        )
    return table


def verified_text(view: DomainView) -> str:
    """Return when ownership was proved, in words."""
    if view.verified_at is not None:
        return moment(view.verified_at)
    return "assumed" if view.settings.assume_verified else "no"


def checks_text(checks: tuple[RecordCheck, ...]) -> str:
    """Return how the last look went, in words."""
    needed = [check for check in checks if check.record.is_required]
    bad = [check for check in needed if check.status is not RecordStatus.GOOD]
    if not needed:
        return "not looked at yet"
    return f"{len(bad)} of {len(needed)} to mend" if bad else "good"


def domain_values(
    view: DomainView, checks: tuple[RecordCheck, ...]
) -> dict[str, object]:
    """Return a domain as JSON shows it."""
    settings = view.settings
    return {
        "name": settings.name,
        "tenant": settings.tenant,
        "mode": settings.mode,
        "zone": settings.zone,
        "token": settings.token,
        "bounce_label": settings.bounce_label,
        "selectors": settings.selectors,
        "on_broken": settings.on_broken,
        "way_out": way_values(settings.way_out),
        "sign_with_operator": settings.sign_with_operator,
        "assume_verified": settings.assume_verified,
        "verified_at": view.verified_at,
        "state": state_word(view),
        "next_check_at": view.next_check_at,
        "records": [check_values(check) for check in checks],
    }


def record_values(record: RequiredRecord) -> dict[str, object]:
    """Return a record as JSON shows it."""
    return {
        "name": record.owner,
        "type": record.kind,
        "value": record.value,
        "strings": pieces(record.value) if record.kind is RecordType.TXT else None,
        "purpose": record.purpose,
        "required": record.is_required,
        "note": record.note,
    }


def check_values(check: RecordCheck) -> dict[str, object]:
    """Return a checked record as JSON shows it."""
    return record_values(check.record) | {
        "query": check.query,
        "server": check.server,
        "status": check.status,
        "found": check.found,
        "cause": check.cause,
        "mend": check.mend,
        "ttl": check.ttl,
        "checked_at": check.checked_at,
        "good_at": check.good_at,
        "fault": check.fault,
        "since": check.since,
        "next_check_at": check.next_check_at,
    }


def _folding(*titles: str) -> Table:
    """A table in which a long value goes on in the next line: nothing is cut off."""
    table = Table(show_lines=True)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table
