"""The delivery log of webhooks: what each attempt was answered, the last ones of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from soboo_mta.store.schema import webhook, webhook_log

KEPT_OF_A_WEBHOOK: Final = 1_000
MAX_SAID: Final = 300  # characters of an answer or a cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One attempt. `status` None: no answer came, and `said` is the cause; else `said` is
    the beginning of an answer that is no 2xx. `at` is unix ms."""

    webhook: int
    event_id: str
    type: str
    at: int
    attempt: int
    status: int | None
    duration_ms: int
    said: str


def log_deliveries(connection: Connection, deliveries: Iterable[Delivery]) -> None:
    """Add to the log."""
    rows = [
        {
            "webhook_id": one.webhook,
            "event_id": one.event_id,
            "type": one.type,
            "at": one.at,
            "attempt": one.attempt,
            "status": one.status,
            "duration_ms": one.duration_ms,
            "said": one.said[:MAX_SAID],
        }
        for one in deliveries
    ]
    if rows:
        connection.execute(_INSERT, rows)


def last_deliveries(
    connection: Connection, number: int, *, limit: int
) -> tuple[Delivery, ...]:
    """Return the last deliveries of a webhook, the latest first."""
    rows = connection.execute(_LAST, {"this": number, "most": limit})
    return tuple(
        Delivery(
            webhook=row.webhook_id,
            event_id=row.event_id,
            type=row.type,
            at=row.at,
            attempt=row.attempt,
            status=row.status,
            duration_ms=row.duration_ms,
            said=row.said,
        )
        for row in rows
    )


def overlong_logs(connection: Connection) -> tuple[int, ...]:
    """Return the webhooks whose logs are over the bound."""
    numbers = connection.scalars(select(webhook.c.id)).all()
    return tuple(
        one for one in numbers if connection.scalar(_OVER, {"this": one}) is not None
    )


def shorten_log(connection: Connection, number: int) -> int:
    """Delete what is over the bound of a webhook's log; return how many rows."""
    newest_over = connection.scalar(_OVER, {"this": number})
    if newest_over is None:
        return 0
    return connection.execute(_SHORTEN, {"this": number, "upto": newest_over}).rowcount


_INSERT = insert(webhook_log)
_LAST = (
    select(webhook_log)
    .where(webhook_log.c.webhook_id == bindparam("this"))
    .order_by(webhook_log.c.id.desc())
    .limit(bindparam("most"))
)
_OVER = (
    select(webhook_log.c.id)
    .where(webhook_log.c.webhook_id == bindparam("this"))
    .order_by(webhook_log.c.id.desc())
    .offset(KEPT_OF_A_WEBHOOK)
    .limit(1)
)
_SHORTEN = delete(webhook_log).where(
    webhook_log.c.webhook_id == bindparam("this"), webhook_log.c.id <= bindparam("upto")
)
