"""One message for a client's key: a row that is committed with the message, or neither.

A key is taken by the unit that accepts its message. Of several units that try, at once or
after a crash, one succeeds and the others are Fenced: what they look up then is the
message that was kept. A key is free again after `KEPT_FOR`.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, bindparam, delete, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.spooled import OnceKey
from soboo_mta.store.schema import idempotency
from soboo_mta.store.unit import Statement

KEPT_FOR = timedelta(hours=24)
_KEPT_FOR_MS = KEPT_FOR // timedelta(milliseconds=1)
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """The message that a key stands for, and the digest of what was submitted then."""

    message_id: MessageId
    digest: bytes


def taking(once: OnceKey, message_id: MessageId, now: int) -> Statement:
    """Return the statement that takes the key; its unit is Fenced where it is taken."""
    row = {
        "scope": once.scope,
        "key": once.key,
        "digest": once.digest,
        "message_id": int(message_id),
        "kept_at": now,
    }
    return Statement(_TAKE, (row,), expected=1)


def kept_under(connection: Connection, once: OnceKey, now: int) -> Kept | None:
    """Return what the key stands for at `now` (unix ms); None where it is free."""
    row = connection.execute(
        _FIND, {"of": once.scope, "named": once.key, "since": now - _KEPT_FOR_MS}
    ).one_or_none()
    return None if row is None else Kept(MessageId(row.message_id), bytes(row.digest))


def forget_keys(connection: Connection, now: int) -> int:
    """Delete keys that are free again, one transaction's worth; return how many."""
    old = connection.execute(_OLD, {"before": now - _KEPT_FOR_MS}).all()
    for row in old:
        connection.execute(_FORGET, {"of": row.scope, "named": row.key})
    return len(old)


_key = idempotency.c
_insert = insert_or(idempotency)  # PostgreSQL's form: SQLite's compiler writes the same
_TAKE = _insert.on_conflict_do_update(
    index_elements=["scope", "key"],
    set_={
        "digest": _insert.excluded.digest,
        "message_id": _insert.excluded.message_id,
        "kept_at": _insert.excluded.kept_at,
    },
    where=_key.kept_at <= _insert.excluded.kept_at - text(str(_KEPT_FOR_MS)),
)
_FIND = select(_key.message_id, _key.digest).where(
    _key.scope == bindparam("of"),
    _key.key == bindparam("named"),
    _key.kept_at > bindparam("since"),
)
_OLD = (
    select(_key.scope, _key.key)
    .where(_key.kept_at <= bindparam("before"))
    .limit(_ROWS_AT_ONCE)
)
_FORGET = delete(idempotency).where(
    _key.scope == bindparam("of"), _key.key == bindparam("named")
)
