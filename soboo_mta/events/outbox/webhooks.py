"""Webhooks in the store: whose, where, for which types, and whether they still work.

Functions over one connection; the caller owns the transaction. Secrets come sealed and go
sealed: who opens them has the master key.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    Connection,
    Row,
    ScalarSelect,
    delete,
    func,
    insert,
    select,
    update,
)

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.outbox.cursors import WEBHOOKS, begin, end
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.schema import outbox, webhook, webhook_log, webhook_secret
from soboo_mta.store.unit import perform

MOST_OF_A_TENANT: Final = 20  # each event goes to each of them
_column = webhook.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One of a tenant's endpoints. `types` empty: all of them; times are unix ms.

    It is told what happens from `since` on, while `disabled_at` is None. `failing_since`:
    nothing was accepted from then on; `dropped` events it was never told, or not in time.
    """

    number: int
    tenant: TenantId
    url: str
    types: tuple[str, ...]
    created_at: int
    since: int
    disabled_at: int | None = None
    disabled_because: str = ""
    failing_since: int | None = None
    dropped: int = 0

    @property
    def state(self) -> str:
        """ "active", "failing" or "disabled"."""
        if self.disabled_at is not None:
            return "disabled"
        return "active" if self.failing_since is None else "failing"

    def wants(self, type_: str) -> bool:
        return not self.types or type_ in self.types


def add_webhook(
    connection: Connection,
    *,
    tenant: TenantId,
    url: str,
    types: tuple[str, ...],
    now: int,
) -> Webhook:
    """Store a new webhook, which has no secret yet; FormatError for one too many."""
    if len(list_webhooks(connection, tenant=tenant)) >= MOST_OF_A_TENANT:
        raise FormatError(
            f"{tenant} has {MOST_OF_A_TENANT} webhooks: remove one of them first"
        )
    _begin_if_first(connection, now)
    row = {
        "tenant_id": tenant,
        "url": url,
        "types": json.dumps(types),
        "created_at": now,
        "since": now,
        "disabled_because": "",
        "dropped": 0,
    }
    made = connection.execute(insert(webhook).values(row).returning(webhook))
    return _to_webhook(made.one())


def list_webhooks(
    connection: Connection, *, tenant: TenantId | None = None
) -> tuple[Webhook, ...]:
    """Return the webhooks, of one tenant where it is given, by number."""
    query = select(webhook).order_by(_column.id)
    if tenant is not None:
        query = query.where(_column.tenant_id == tenant)
    return tuple(map(_to_webhook, connection.execute(query)))


def active_webhooks(connection: Connection) -> tuple[Webhook, ...]:
    """Return those that are told what happens."""
    rows = connection.execute(select(webhook).where(_column.disabled_at.is_(None)))
    return tuple(map(_to_webhook, rows))


@dataclass(frozen=True, slots=True)
class WebhookFigures:
    """All webhooks together: how many by state ("active", "failing", "disabled"), the
    events that wait for them, and those that they were never told."""

    states: Mapping[str, int]
    waiting: int
    dropped: int


def webhook_figures(connection: Connection) -> WebhookFigures:
    """Return what there is of webhooks now."""
    found = list_webhooks(connection)
    return WebhookFigures(
        states=Counter(one.state for one in found),
        waiting=connection.scalar(select(func.count()).select_from(outbox)) or 0,
        dropped=sum(one.dropped for one in found),
    )


def the_webhook(connection: Connection, number: int) -> Webhook:
    """Return a webhook; FormatError where there is none of that number."""
    row = connection.execute(select(webhook).where(_column.id == number)).one_or_none()
    if row is None:
        raise FormatError(
            f"there is no webhook {number}: `soboo-mta webhook list` shows them"
        )
    return _to_webhook(row)


def disable_webhook(
    connection: Connection, number: int, *, because: str, actor: str, now: int
) -> bool:
    """Tell a webhook nothing more, and let go of what waits for it; False where it was
    disabled before, or is gone."""
    changed = connection.execute(
        update(webhook)
        .where(_column.id == number, _column.disabled_at.is_(None))
        .values(
            disabled_at=now,
            disabled_because=because,
            dropped=_column.dropped + _waiting_of(number),
        )
    )
    if not changed.rowcount:
        return False
    connection.execute(delete(outbox).where(outbox.c.webhook_id == number))
    _end_if_last(connection)
    note(
        connection,
        EventKind.WEBHOOK_DISABLED,
        the_webhook(connection, number),
        actor=actor,
        now=now,
        because=because,
    )
    return True


def enable_webhook(connection: Connection, number: int, *, now: int) -> bool:
    """Tell a webhook what happens from now on; False where it was enabled before."""
    _begin_if_first(connection, now)
    changed = connection.execute(
        update(webhook)
        .where(_column.id == number, _column.disabled_at.is_not(None))
        .values(disabled_at=None, disabled_because="", failing_since=None, since=now)
    )
    return changed.rowcount == 1


def remove_webhook(connection: Connection, number: int) -> None:
    """Forget a webhook, its secrets, its log, and what waits for it."""
    for table in (outbox, webhook_log, webhook_secret):
        connection.execute(delete(table).where(table.c.webhook_id == number))
    connection.execute(delete(webhook).where(_column.id == number))
    _end_if_last(connection)


def mark_failing(connection: Connection, number: int, since: int | None) -> None:
    """Note since when a webhook accepts nothing; None: it does again."""
    is_news = (
        _column.failing_since.is_(None)
        if since is not None
        else _column.failing_since.is_not(None)
    )
    connection.execute(
        update(webhook).where(_column.id == number, is_news).values(failing_since=since)
    )


def note(
    connection: Connection,
    kind: EventKind,
    what: Webhook,
    *,
    actor: str,
    now: int,
    because: str = "",
) -> None:
    """Record an event about a webhook. Its URL is left out: it may hold a password."""
    detail: dict[str, object] = {"webhook": what.number}
    if because:
        detail["because"] = because
    perform(
        connection,
        recorded(kind, at=now, actor=actor, tenant=what.tenant, detail=detail),
    )


# ---- secrets


def put_secret(
    connection: Connection, number: int, place: int, sealed: bytes, *, old_until: int
) -> None:
    """Store a webhook's new secret as its `place`-th; those before sign beside it until
    `old_until` (unix ms) at the latest."""
    secret = webhook_secret.c
    connection.execute(
        update(webhook_secret)
        .where(secret.webhook_id == number)
        .where((secret.expires_at.is_(None)) | (secret.expires_at > old_until))
        .values(expires_at=old_until)
    )
    row = {"webhook_id": number, "number": place, "sealed": sealed}
    connection.execute(insert(webhook_secret).values(row))


def next_place(connection: Connection, number: int) -> int:
    """Return which secret of the webhook its next one is: 1 for the first."""
    secret = webhook_secret.c
    last = connection.scalar(
        select(func.max(secret.number)).where(secret.webhook_id == number)
    )
    return (last or 0) + 1


def sealed_secrets(
    connection: Connection, number: int, *, now: int
) -> tuple[tuple[int, bytes], ...]:
    """Return the secrets that sign now, each with its place, the newest first."""
    secret = webhook_secret.c
    rows = connection.execute(
        select(secret.number, secret.sealed)
        .where(secret.webhook_id == number)
        .where((secret.expires_at.is_(None)) | (secret.expires_at > now))
        .order_by(secret.number.desc())
    )
    return tuple((row.number, bytes(row.sealed)) for row in rows)


def forget_secrets(connection: Connection, *, now: int) -> None:
    """Destroy the secrets whose time is over."""
    connection.execute(delete(webhook_secret).where(webhook_secret.c.expires_at <= now))


# ---- rows


def _begin_if_first(connection: Connection, now: int) -> None:
    """Nobody read while there was nobody to tell."""
    if not active_webhooks(connection):
        begin(connection, WEBHOOKS, since=now)


def _end_if_last(connection: Connection) -> None:
    """What nobody wants to hear is not counted as lost when it goes."""
    if not active_webhooks(connection):
        end(connection, WEBHOOKS)


def _waiting_of(number: int) -> ScalarSelect[int]:
    return select(func.count()).where(outbox.c.webhook_id == number).scalar_subquery()


def _to_webhook(row: Row[tuple[object, ...]]) -> Webhook:
    one = row._mapping
    return Webhook(
        number=one["id"],
        tenant=TenantId(one["tenant_id"]),
        url=one["url"],
        types=tuple(json.loads(one["types"])),
        created_at=one["created_at"],
        since=one["since"],
        disabled_at=one["disabled_at"],
        disabled_because=one["disabled_because"],
        failing_since=one["failing_since"],
        dropped=one["dropped"],
    )
