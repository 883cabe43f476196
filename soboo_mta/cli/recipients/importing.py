"""`soboo-mta suppression import`: a list from elsewhere, a plain one or CSV.

A line that cannot be read is told with its number and left out; all others are taken, in
small transactions. A file can be imported again: what is suppressed stays as it is.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    warn,
)
from soboo_mta.cli.files import text_in
from soboo_mta.cli.recipients.forms import (
    COLUMNS,
    OfStream,
    Whose,
    end_of,
    moment_of,
    stream_of,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import Stream, TenantId
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import parse_tenant_id, the_tenant
from soboo_mta.tenancy.suppression import (
    NO_EVIDENCE,
    Evidence,
    Suppression,
    SuppressionReason,
    evidence_of,
    parse_because,
    suppress,
)
from soboo_mta.tenancy.suppression.rows import AT_ONCE

_WITHOUT_HEADER = COLUMNS[: COLUMNS.index("expires") + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What holds for lines that do not say it themselves."""

    tenant: TenantId
    stream: Stream
    because: str
    actor: str
    now: int


def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An address a line (# begins a remark), or CSV; - reads standard input.",
        ),
    ],
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    stream: OfStream = "",
    because: Annotated[
        str, typer.Option(help="Why, where the file does not say it.")
    ] = "imported",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read the file, and change nothing.")
    ] = False,
) -> None:
    """Suppress every address in FILE: a plain list, or CSV with the columns address,
    reason, stream, since, expires.

    A header line gives CSV other columns or another order: those of `suppression export`.
    """
    store = open_store(config)
    given = _Given(
        tenant=parse_tenant_id(tenant),
        stream=stream_of(stream),
        because=parse_because(because),
        actor=actor(),
        now=store.clock.unix_ms(),
    )
    read_now(store.engine, lambda at: the_tenant(at, given.tenant))
    faults: list[int] = []
    entries = _entries(text_in(file), given, faults)
    added = total = 0
    while some := list(islice(entries, AT_ONCE)):
        added += 0 if dry_run else _add(store, given, some)
        total += len(some)
    if dry_run:
        say(f"{total} addresses can be imported; nothing was changed")
    else:
        say(f"suppressed {added} of {total} addresses; the others were before")
    if faults:
        raise FormatError(
            f"{len(faults)} lines of {file} cannot be read, and are left out: mend them"
            " and import the file again"
        )


def _add(store: CliStore, given: _Given, entries: Sequence[Suppression]) -> int:
    def write(connection: Connection) -> int:
        added = len(suppress(connection, *entries, at=given.now))
        event = recorded(
            EventKind.SUPPRESSION_ADDED,
            at=given.now,
            actor=given.actor,
            tenant=given.tenant,
            detail={"because": given.because, "added": added},
        )
        perform(connection, *([event] if added else []))
        return added

    return write_now(store.engine, write)


def _entries(text: str, given: _Given, faults: list[int]) -> Iterator[Suppression]:
    """Yield each line's entry; warn of what cannot be read, and note its number."""
    columns: Sequence[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if columns is None:
            columns = _header(line)
            if columns is not None:
                continue
            columns = _WITHOUT_HEADER
        try:
            yield _entry(_values(columns, _cells(line)), given)
        except FormatError as error:
            faults.append(number)
            warn(f"line {number}: {error}: {line[:200]}")


def _cells(line: str) -> list[str]:
    plain, comma, _ = line.partition(",")
    if not comma:  # a remark may stand behind a lone address
        return [plain.partition(" #")[0].strip()]
    try:
        (cells,) = csv.reader([line], strict=True)
    except csv.Error as error:
        raise FormatError(f"this is no CSV ({error})") from error
    return [cell.strip() for cell in cells]


def _header(line: str) -> Sequence[str] | None:
    """The columns that a first line names; None where it is an entry."""
    names = [name.strip().lower() for name in line.split(",")]
    if "address" not in names:
        return None
    if unknown := sorted(set(names) - set(COLUMNS)):
        raise FormatError(
            f"there is no column {unknown[0]}: the columns are {', '.join(COLUMNS)}"
        )
    return names


def _values(columns: Sequence[str], cells: Sequence[str]) -> Mapping[str, str]:
    if len(cells) > len(columns):
        raise FormatError(f"the line has over {len(columns)} values")
    return dict(zip(columns, cells, strict=False))


def _entry(values: Mapping[str, str], given: _Given) -> Suppression:
    def cell(name: str) -> str:
        return values.get(name, "")

    since = moment_of(cell("since")) if cell("since") else given.now
    if since > given.now:
        raise FormatError(f"since {cell('since')} is in the future")
    return Suppression(
        tenant=given.tenant,
        address=parse_mailbox(cell("address")),
        reason=_reason(cell("reason")),
        because=parse_because(cell("because")) if cell("because") else given.because,
        actor=given.actor,
        since=since,
        stream=stream_of(cell("stream")) or given.stream,
        evidence=_evidence(cell("evidence")),
        expires_at=end_of(cell("expires"), given.now),
    )


def _reason(text: str) -> SuppressionReason:
    if not text:
        return SuppressionReason.IMPORT
    try:
        return SuppressionReason(text.lower())
    except ValueError as error:
        known = ", ".join(SuppressionReason)
        raise FormatError(f"{text[:40]!r} is no reason: write {known}") from error


def _evidence(text: str) -> Evidence:
    if not text:
        return NO_EVIDENCE
    try:
        return evidence_of(json.loads(text))
    except (ValueError, AttributeError) as error:
        raise FormatError(
            "the evidence is not as `suppression export` has it"
        ) from error
