"""`soboo-mta suppression remove`."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    ConfigPath,
    actor,
    be_sure,
    open_store,
    say,
)
from soboo_mta.cli.recipients.forms import Address, Whose, stream_of
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import parse_tenant_id
from soboo_mta.tenancy.suppression import (
    Suppression,
    SuppressionReason,
    entries_of,
    folded,
    parse_because,
    remove_suppression,
)

_ASKED_FOR = frozenset((SuppressionReason.COMPLAINT, SuppressionReason.UNSUBSCRIBE))


def remove(
    address: Address,
    tenant: Whose,
    because: Annotated[str, typer.Option(help="Why, for the history.")],
    config: ConfigPath = DEFAULT_CONFIG,
    stream: Annotated[
        str | None,
        typer.Option(help="The entry for this stream alone; '': the one for all."),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Do not ask, where the recipient asked for it."),
    ] = False,
) -> None:
    """Let the tenant's mail go to ADDRESS again; its soft failures are forgotten."""
    store, mailbox = open_store(config), parse_mailbox(address)
    tenant_id, why = parse_tenant_id(tenant), parse_because(because)
    which = None if stream is None else stream_of(stream)
    before = read_now(
        store.engine, lambda at: entries_of(at, tenant_id, {folded(mailbox)})
    )
    asked_for = sorted({one.reason for one in before} & _ASKED_FOR)
    if asked_for and not yes:
        be_sure(f"{mailbox} wanted no more mail ({', '.join(asked_for)}): go on?")
    now = store.clock.unix_ms()

    def write(connection: Connection) -> tuple[Suppression, ...]:
        gone = remove_suppression(
            connection,
            tenant_id,
            mailbox,
            stream=which,
            ignore_case=store.settings.suppression.ignore_case,
            because=why,
            actor=actor(),
            at=now,
        )
        detail: dict[str, object] = {
            "address": str(mailbox),
            "because": why,
            "entries": [{"stream": one.stream, "reason": one.reason} for one in gone],
        }
        event = recorded(
            EventKind.SUPPRESSION_REMOVED,
            at=now,
            actor=actor(),
            tenant=tenant_id,
            detail=detail,
        )
        perform(connection, *([event] if gone else []))
        return gone

    if not write_now(store.engine, write):
        raise FormatError(
            f"{mailbox} is not on the list of {tenant_id}"
            f"{'' if which is None else ' for that stream'}: see `soboo-mta suppression"
            f" show {mailbox} --tenant {tenant_id}`"
        )
    say(f"removed {mailbox}")
