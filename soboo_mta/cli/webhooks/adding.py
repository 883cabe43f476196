"""`soboo-mta webhook add` and `rotate-secret`: what shows a secret, once."""

import asyncio
from datetime import timedelta
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
    say_json,
    warn,
)
from soboo_mta.cli.queue.words import moment
from soboo_mta.cli.webhooks.words import Json, Number, webhook_values
from soboo_mta.daemon.outlets.duty import webhook_doors
from soboo_mta.daemon.outlets.secrets import new_secret
from soboo_mta.events.event import EventKind
from soboo_mta.events.outbox.form import parse_types
from soboo_mta.events.outbox.webhooks import Webhook, add_webhook, note, the_webhook
from soboo_mta.formats.webhooks import SigningSecret
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.outlets.webhook import NotPosted, parse_webhook_url
from soboo_mta.settings.options import webhook_options
from soboo_mta.settings.values import parse_duration
from soboo_mta.store.writer import write_now
from soboo_mta.tenancy.accounts import parse_tenant_id, the_tenant

_LONGEST_OVERLAP = timedelta(days=30)


def add(
    tenant: Annotated[str, typer.Option("--tenant", help="Whose events.")],
    url: Annotated[str, typer.Option("--url", help="Where they are posted to.")],
    config: ConfigPath = DEFAULT_CONFIG,
    types: Annotated[
        str, typer.Option(help="These types alone, commas between them.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Let a URL be told what happens to a tenant's mail from now on.

    Its signing secret is shown once. docs/webhooks.md has the types and a receiver.
    """
    store, wanted = open_store(config), parse_types(types)
    tenant_id, master, now = (
        parse_tenant_id(tenant),
        store.master,
        store.clock.unix_ms(),
    )
    _check(store, url)

    def write(at: Connection) -> tuple[Webhook, SigningSecret]:
        the_tenant(at, tenant_id)
        made = add_webhook(at, tenant=tenant_id, url=url, types=wanted, now=now)
        secret = new_secret(at, master, made.number, old_until=now)
        note(at, EventKind.WEBHOOK_ADDED, made, actor=actor(), now=now)
        return made, secret

    made, secret = write_now(store.engine, write)
    _show(made, secret, as_json=as_json)


def rotate_secret(
    number: Number,
    config: ConfigPath = DEFAULT_CONFIG,
    overlap: Annotated[
        str, typer.Option(help="How long the old secret signs too, as 24h; 0s: not.")
    ] = "24h",
    as_json: Json = False,
) -> None:
    """Give a webhook a new signing secret; for a while both sign each delivery."""
    store, length = open_store(config), _overlap(overlap)
    master, now = store.master, store.clock.unix_ms()
    old_until = now + length // timedelta(milliseconds=1)

    def write(at: Connection) -> tuple[Webhook, SigningSecret]:
        one = the_webhook(at, number)
        secret = new_secret(at, master, number, old_until=old_until)
        note(at, EventKind.WEBHOOK_CHANGED, one, actor=actor(), now=now)
        return one, secret

    one, secret = write_now(store.engine, write)
    _show(one, secret, as_json=as_json)
    if length:
        warn(f"the old secret signs too until {moment(old_until)}")


def _check(store: CliStore, url: str) -> None:
    """Refuse what could not be delivered to now; raise FormatError."""
    parse_webhook_url(url, webhook_options(store.settings))

    async def look() -> object:
        door = webhook_doors(store.settings, store.clock)(url)
        try:
            return await door.addresses()
        finally:
            door.close()

    found = asyncio.run(look())
    if isinstance(found, NotPosted):
        raise FormatError(found.cause)


def _overlap(text: str) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise FormatError(f"--overlap: {error}") from error
    if length > _LONGEST_OVERLAP:
        raise FormatError(f"--overlap is at most {_LONGEST_OVERLAP.days}d")
    return length


def _show(webhook: Webhook, secret: SigningSecret, *, as_json: bool) -> None:
    if as_json:
        say_json(webhook_values(webhook) | {"secret": secret.reveal()})
        return
    say(f"webhook {webhook.number} of {webhook.tenant}: {webhook.url}")
    say(f"secret  {secret.reveal()}")
    warn("keep the secret now: it is stored sealed and is not shown again")
