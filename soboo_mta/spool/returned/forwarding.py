"""Returns on their way home: noted with what they are, then made, each once.

A row is written in the transaction that settles the return, and names no content. Making
it is claimed by a time and a count, as reading is, and each claim draws an id for the
message that is made: under a number no worker has, above all drawn before, and unique, so
that of two processes with one id only one commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.mail.address import (
    Mailbox,
    ReversePath,
    parse_mailbox,
    parse_reverse_path,
)
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import FORWARDER_NUMBER, MessageId, MessageIds, TenantId
from soboo_mta.mail.notify import Asked
from soboo_mta.spool.content import asked_of
from soboo_mta.spool.moves.one import THIS
from soboo_mta.store.schema import forward, message, recipient, tenant
from soboo_mta.store.unit import Statement

CLAIMED_AT_ONCE = 16
_SWEPT_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What was submitted for one recipient of a message, as far as it is kept."""

    reverse_path: ReversePath
    author: Mailbox
    recipient: Mailbox
    header_message_id: str
    envelope_id: str
    accepted_at: int  # unix ms
    asked: Asked
    returns: str  # what the tenant wants done with returns; "" where it is gone


@dataclass(frozen=True, slots=True)
class Whose:
    """A return, the tenant whose it is, and which recipient of which message it is about;
    None: no message."""

    returned_id: int
    tenant: TenantId
    message_id: MessageId | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedForward:
    """One that is this process's to make; `tries` counts this one."""

    whose: Whose
    tries: int
    forward_id: MessageId  # of the message that is made


def submitted(
    connection: Connection, message_id: MessageId, position: int
) -> Submitted | None:
    """Return what was submitted; None once it is forgotten."""
    this = {"this": int(message_id), "at": position}
    row = connection.execute(_SUBMITTED, this).one_or_none()
    if row is None:
        return None
    try:
        return Submitted(
            reverse_path=parse_reverse_path(row.reverse_path),
            author=parse_mailbox(row.author),
            recipient=parse_mailbox(row.address),
            header_message_id=row.header_message_id,
            envelope_id=row.envelope_id or "",
            accepted_at=row.accepted_at,
            asked=asked_of(row.notify, row.orcpt),
            returns=row.returns or "",
        )
    except FormatError:
        return None  # a damaged row: `store check` tells of it


def noted_of_recipient(connection: Connection, one: Whose) -> int:
    """Return how many forwards about the same recipient of the same message were noted."""
    if one.message_id is None:
        return 0
    this = {"this": int(one.message_id), "at": one.position}
    return int(connection.execute(_OF_RECIPIENT, this).scalar_one())


def noted_of_tenant(connection: Connection, one: Whose, *, since: int) -> int:
    """Return how many of the tenant's were noted since then (unix ms)."""
    this = {"whose": one.tenant, "since": since}
    return int(connection.execute(_OF_TENANT, this).scalar_one())


def note_forward(connection: Connection, one: Whose, *, now: int) -> None:
    """Note that it goes home."""
    connection.execute(_NOTE, {**_row(one, now), "due_at": now})


def note_stay(connection: Connection, one: Whose, *, now: int) -> None:
    """Note the first that is one too many: the others are not noted."""
    connection.execute(_NOTE, {**_row(one, now), "due_at": None})


def any_forward_due(connection: Connection, now: int) -> bool:
    """Whether one is to be made: a look that takes no lock."""
    return connection.execute(_ANY, {"now": now}).first() is not None


def claim_forwards(
    connection: Connection, *, now: int, until: int
) -> tuple[ClaimedForward, ...]:
    """Claim some that are due, the oldest first, until `until` (unix ms)."""
    due = connection.execute(_DUE, {"now": now}).all()
    last = connection.execute(_LAST_ID).scalar_one() or 0
    ids = MessageIds(worker=FORWARDER_NUMBER, unix_ms=lambda: now, floor=last)
    claimed = []
    for row in due:
        drawn = ids.next()
        this = {"this": row.returned_id, "until": until, "drawn": int(drawn)}
        connection.execute(_CLAIM, this)
        message_id = None if row.message_id is None else MessageId(row.message_id)
        claimed.append(
            ClaimedForward(
                whose=Whose(
                    row.returned_id, TenantId(row.tenant_id), message_id, row.position
                ),
                tries=row.tries + 1,
                forward_id=drawn,
            )
        )
    return tuple(claimed)


def ending(claimed: ClaimedForward, to: Mailbox | None) -> Statement:
    """Return the statement that ends it: with the message that is made to that address, or
    with the event that none is. Fenced where another process has it, or had it."""
    this = {
        "this": claimed.whose.returned_id,
        "drawn": int(claimed.forward_id),
        "went_to": None if to is None else str(to),
    }
    return Statement(_END, (this,), expected=1)


def forwarded(connection: Connection, returned_id: int) -> tuple[str, MessageId] | None:
    """Return where a return was forwarded to, and as which message; None: it was not."""
    row = connection.execute(_MADE, {"this": returned_id}).one_or_none()
    return None if row is None else (row.address, MessageId(row.forward_id))


def sweep_forwards(connection: Connection, *, before: int) -> int:
    """Delete some that were noted before then (unix ms) and are made; return how many."""
    old: Sequence[int] = connection.scalars(_OLD, {"before": before}).all()
    if not old:
        return 0
    return connection.execute(_DROP, {"ids": list(old)}).rowcount


def _row(one: Whose, now: int) -> dict[str, object]:
    return {
        "returned_id": one.returned_id,
        "tenant_id": one.tenant,
        "message_id": None if one.message_id is None else int(one.message_id),
        "position": one.position,
        "noted_at": now,
        "tries": 0,
    }


_SUBMITTED = (
    select(
        message.c.reverse_path,
        message.c.author,
        message.c.header_message_id,
        message.c.envelope_id,
        message.c.accepted_at,
        recipient.c.address,
        recipient.c.notify,
        recipient.c.orcpt,
        tenant.c.returns,
    )
    .join(recipient, recipient.c.message_id == message.c.id)
    .join(tenant, tenant.c.id == message.c.tenant_id, isouter=True)
    .where(THIS)
)
_OF_RECIPIENT = (
    select(func.count())
    .select_from(forward)
    .where(
        forward.c.message_id == bindparam("this"), forward.c.position == bindparam("at")
    )
)
_OF_TENANT = (
    select(func.count())
    .select_from(forward)
    .where(
        forward.c.tenant_id == bindparam("whose"),
        forward.c.noted_at >= bindparam("since"),
    )
)
# PostgreSQL's form: SQLite's compiler writes the same. What is read again goes home once.
_NOTE = insert_or(forward).on_conflict_do_nothing(index_elements=["returned_id"])
_ANY = (
    select(forward.c.returned_id).where(forward.c.due_at <= bindparam("now")).limit(1)
)
_DUE = (
    select(forward)
    .where(forward.c.due_at <= bindparam("now"))
    .order_by(forward.c.due_at, forward.c.returned_id)
    .limit(CLAIMED_AT_ONCE)
    .with_for_update(skip_locked=True)  # SQLite's writers are one at a time anyway
)
_LAST_ID = select(func.max(forward.c.forward_id))
_CLAIM = (
    update(forward)
    .where(forward.c.returned_id == bindparam("this"))
    .values(
        due_at=bindparam("until"),
        tries=forward.c.tries + 1,
        forward_id=bindparam("drawn"),
    )
)
_END = (
    update(forward)
    .where(
        forward.c.returned_id == bindparam("this"),
        forward.c.forward_id == bindparam("drawn"),
        forward.c.due_at.is_not(None),
    )
    .values(due_at=text("NULL"), address=bindparam("went_to"))
)
_MADE = (
    select(forward.c.address, forward.c.forward_id)
    .join(message, message.c.id == forward.c.forward_id)
    .where(forward.c.returned_id == bindparam("this"), forward.c.address.is_not(None))
)
_OLD = (
    select(forward.c.returned_id)
    .where(forward.c.noted_at < bindparam("before"), forward.c.due_at.is_(None))
    .limit(_SWEPT_AT_ONCE)
)
_DROP = delete(forward).where(
    forward.c.returned_id.in_(bindparam("ids", expanding=True))
)
