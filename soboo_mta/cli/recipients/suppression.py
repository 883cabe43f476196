"""`soboo-mta suppression`: addresses that a tenant's mail does not go to any more."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import parse_tenant_id
from soboo_mta.tenancy.suppression import (
    add_suppressions,
    count_suppressions,
    list_suppressions,
    remove_suppression,
)

_AT_ONCE: Final = 1_000  # rows of one transaction: others wait for it
_FAULTS_SHOWN: Final = 10
app = typer.Typer(
    no_args_is_help=True,
    help="Addresses that a tenant's mail does not go to any more.",
    add_completion=False,
)
Whose = Annotated[str, typer.Option("--tenant", help="Whose list.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="user@domain")]
Because = Annotated[str, typer.Option("--because", help="Why, in a few words.")]


@app.command()
def add(
    address: Address,
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    because: Because = "by hand",
) -> None:
    """Send the tenant's mail to ADDRESS no more: it fails as suppressed, at once."""
    store, mailbox = open_store(config), parse_mailbox(address)
    added = _add(store, parse_tenant_id(tenant), [mailbox], because)
    say(f"suppressed {mailbox}" if added else f"{mailbox} was suppressed before")


@app.command()
def remove(
    address: Address, tenant: Whose, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Let the tenant's mail go to ADDRESS again."""
    store, mailbox = open_store(config), parse_mailbox(address)
    tenant_id, now = parse_tenant_id(tenant), store.clock.unix_ms()
    ignore_case = store.settings.suppression.ignore_case

    def write(connection: Connection) -> int:
        removed = remove_suppression(
            connection, tenant_id, mailbox, ignore_case=ignore_case
        )
        if removed:
            event = recorded(
                EventKind.SUPPRESSION_REMOVED,
                at=now,
                actor=actor(),
                tenant=tenant_id,
                detail={"address": str(mailbox)},
            )
            perform(connection, event)
        return removed

    if not write_now(store.engine, write):
        raise FormatError(
            f"{mailbox} is not on the list of {tenant_id}: see `soboo-mta suppression"
            f" list --tenant {tenant_id}`"
        )
    say(f"removed {mailbox}")


@app.command("list")
def list_all(
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    after: Annotated[
        str, typer.Option(help="Go on behind this address (in lower case).")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="Entries at most.")] = 1_000,
    as_json: Json = False,
) -> None:
    """List the tenant's suppressed addresses."""
    store, tenant_id = open_store(config), parse_tenant_id(tenant)
    found, total = read_now(
        store.engine,
        lambda at: (
            list_suppressions(at, tenant_id, after=after, limit=limit),
            count_suppressions(at, tenant_id),
        ),
    )
    if as_json:
        say_json([asdict(one) for one in found])
        return
    table = Table("address", "because", "since")
    for one in found:
        since = datetime.fromtimestamp(one.since // 1_000, UTC)
        table.add_row(one.address, one.because, since.isoformat(" ", "minutes")[:16])
    say(table if found else f"no address is suppressed for {tenant_id}")
    if len(found) < total:
        say(f"{len(found)} of {total}: --after and --limit show others")


@app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="An address a line; # begins a remark."),
    ],
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    because: Because = "imported",
) -> None:
    """Suppress every address in FILE; nothing is done where one is malformed."""
    store, tenant_id = open_store(config), parse_tenant_id(tenant)
    wanted = iter(_read(file))
    added = total = 0
    while some := list(islice(wanted, _AT_ONCE)):
        added += _add(store, tenant_id, some, because)
        total += len(some)
    say(f"suppressed {added} of {total} addresses; the others were before")


def _add(
    store: CliStore, tenant: TenantId, addresses: list[Mailbox], because: str
) -> int:
    now = store.clock.unix_ms()

    def write(connection: Connection) -> int:
        added = add_suppressions(
            connection, tenant, addresses, because=because, now=now
        )
        if added:
            detail: dict[str, object] = {"because": because, "added": added}
            if len(addresses) == 1:
                detail["address"] = str(addresses[0])
            kind = EventKind.SUPPRESSION_ADDED
            perform(
                connection,
                recorded(kind, at=now, actor=actor(), tenant=tenant, detail=detail),
            )
        return added

    return write_now(store.engine, write)


def _read(file: Path) -> list[Mailbox]:
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise FormatError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8: {error}") from error
    faults: list[str] = []
    addresses: list[Mailbox] = []
    for number, line in _lines(text):
        try:
            addresses.append(parse_mailbox(line))
        except FormatError as error:
            faults.append(f"  line {number}: {error}")
    if faults:
        shown = "\n".join(faults[:_FAULTS_SHOWN])
        raise FormatError(f"{file} has {len(faults)} malformed lines:\n{shown}")
    return addresses


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        address = line.partition(" #")[0].strip()
        if address and not address.startswith("#"):
            yield number, address
