"""`soboo-mta webhook list`, `show` and `log`: what there is, and how it does."""

from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, open_store, say, say_json
from soboo_mta.cli.queue.words import moment
from soboo_mta.cli.webhooks.words import (
    Json,
    Number,
    answer_of,
    delivery_values,
    state_of,
    webhook_values,
)
from soboo_mta.events.outbox.journal import (
    KEPT_OF_A_WEBHOOK,
    Delivery,
    last_deliveries,
)
from soboo_mta.events.outbox.queue import waiting_count
from soboo_mta.events.outbox.webhooks import (
    Webhook,
    list_webhooks,
    sealed_secrets,
    the_webhook,
)
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import parse_tenant_id, the_tenant


def list_all(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant.")] = None,
    as_json: Json = False,
) -> None:
    """List webhooks: whose, where, what waits for them, and whether they fail."""
    store = open_store(config)
    most = store.settings.webhooks.max_waiting

    def read(at: Connection) -> list[tuple[Webhook, int]]:
        owner = None if tenant is None else parse_tenant_id(tenant)
        if owner is not None:
            the_tenant(at, owner)
        found = list_webhooks(at, tenant=owner)
        return [(one, waiting_count(at, one.number, most)) for one in found]

    found = read_now(store.engine, read)
    if as_json:
        say_json([webhook_values(one) | {"waiting": waits} for one, waits in found])
        return
    heads = ("webhook", "tenant", "url", "types", "waiting", "dropped", "state")
    table = Table(*heads)
    for one, waits in found:
        table.add_row(
            str(one.number),
            one.tenant,
            one.url,
            ", ".join(one.types) or "all",
            str(waits),
            str(one.dropped),
            state_of(one),
        )
    say(table if found else "there are no webhooks: soboo-mta webhook add")


def show(
    number: Number, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Show one webhook, and the last answer it gave."""
    store = open_store(config)
    most, now = store.settings.webhooks.max_waiting, store.clock.unix_ms()

    def read(at: Connection) -> tuple[Webhook, int, int, tuple[Delivery, ...]]:
        one = the_webhook(at, number)
        waits = waiting_count(at, number, most)
        secrets = len(sealed_secrets(at, number, now=now))
        return one, waits, secrets, last_deliveries(at, number, limit=1)

    one, waits, secrets, last = read_now(store.engine, read)
    if as_json:
        say_json(
            webhook_values(one)
            | {
                "waiting": waits,
                "secrets": secrets,
                "last": [delivery_values(each) for each in last],
            }
        )
        return
    say(f"webhook  {one.number}")
    say(f"tenant   {one.tenant}")
    say(f"url      {one.url}")
    say(f"types    {', '.join(one.types) or 'all'}")
    say(f"added    {moment(one.created_at)}")
    say(f"state    {state_of(one)}")
    say(f"secrets  {secrets} in use")
    say(f"waiting  {waits} events")
    say(f"dropped  {one.dropped} events that it was never told")
    for each in last:
        say(f"last     {moment(each.at)}: {answer_of(each)}")


def log(
    number: Number,
    config: ConfigPath = DEFAULT_CONFIG,
    limit: Annotated[
        int, typer.Option(min=1, max=KEPT_OF_A_WEBHOOK, help="Deliveries at most.")
    ] = 50,
    as_json: Json = False,
) -> None:
    """Show the last deliveries to a webhook, the latest first, with their answers."""
    store = open_store(config)

    def read(at: Connection) -> tuple[Delivery, ...]:
        the_webhook(at, number)
        return last_deliveries(at, number, limit=limit)

    found = read_now(store.engine, read)
    if as_json:
        say_json([delivery_values(one) for one in found])
        return
    table = Table("at", "event", "type", "attempt", "answer", "ms")
    for one in found:
        table.add_row(
            moment(one.at),
            one.event_id,
            one.type,
            str(one.attempt),
            answer_of(one),
            str(one.duration_ms),
        )
    say(table if found else f"nothing was delivered to webhook {number} yet")
