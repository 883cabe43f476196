"""`soboo-mta suppression add`."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, actor, open_store, say
from soboo_mta.cli.recipients.forms import (
    Address,
    Expires,
    OfStream,
    Whose,
    end_of,
    stream_of,
)
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import write_now
from soboo_mta.tenancy.accounts import parse_tenant_id, the_tenant
from soboo_mta.tenancy.suppression import (
    Suppression,
    SuppressionReason,
    parse_because,
    suppress,
)
from soboo_mta.transfer.leaving.consequences import added_event


def add(
    address: Address,
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    stream: OfStream = "",
    expires: Expires = "",
    because: Annotated[str, typer.Option(help="Why, in a few words.")] = "by hand",
) -> None:
    """Send the tenant's mail to ADDRESS no more."""
    store = open_store(config)
    now = store.clock.unix_ms()
    entry = Suppression(
        tenant=parse_tenant_id(tenant),
        address=parse_mailbox(address),
        reason=SuppressionReason.MANUAL,
        because=parse_because(because),
        actor=actor(),
        since=now,
        stream=stream_of(stream),
        expires_at=end_of(expires, now),
    )

    def write(connection: Connection) -> bool:
        the_tenant(connection, entry.tenant)
        added = suppress(connection, entry, at=now)
        perform(connection, *map(added_event, added))
        return bool(added)

    if write_now(store.engine, write):
        say(f"suppressed {entry.address}")
    else:
        say(
            f"{entry.address} was suppressed before, for as long: see `suppression show`"
        )
