"""What a return is about, and what settling it changes; over one connection.

The caller owns the transaction, in which a return is settled once: by whoever's claim
still stands.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, text, update

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import NO_STREAM, DomainId, MessageId, Stream, TenantId
from soboo_mta.spool.lifecycle import RecipientState, move
from soboo_mta.spool.moves.one import THIS
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.store.schema import attempt, message, recipient, returned, sending_domain

_MAX_REPLY = 500  # characters of what is kept as a recipient's last reply
_MANY = 2  # of messages with one Message-ID: enough to know that it says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """One recipient of one message that was sent, last by the attempt of that id to `host`,
    "name[address]:port". `domain` is the sending domain, None
    once it is gone."""

    message_id: MessageId
    position: int
    tenant: TenantId
    domain_id: DomainId
    domain: Domain | None
    recipient: Mailbox
    state: RecipientState
    host: str
    stream: Stream = NO_STREAM  # of the message
    attempt: int | None = None  # its number; None: there was none

    @property
    def is_report(self) -> bool:
        """Whether the message is mail of the operator's: a report, or what went home."""
        return self.domain_id < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledReturn:
    """What is noted of a return. `detail` is JSON."""

    kind: str
    detail: str
    bounce_class: str | None = None
    authentication: str | None = None
    about: About | None = None


def about(connection: Connection, message_id: MessageId, position: int) -> About | None:
    """Return what is known of a recipient; None where that is nothing any more."""
    row = connection.execute(
        _ABOUT, {"this": int(message_id), "at": position}
    ).one_or_none()
    if row is None:
        return None
    try:
        address = parse_mailbox(row.address)
    except FormatError:
        return None  # a damaged row: `store check` tells of it
    return About(
        message_id=message_id,
        position=position,
        tenant=TenantId(row.tenant_id),
        domain_id=DomainId(row.domain_id),
        domain=None if row.name is None else Domain(row.name),
        recipient=address,
        state=RecipientState(row.state),
        host=row.host or "",
        stream=Stream(row.stream or ""),
        attempt=row.attempt,
    )


def with_message_id(
    connection: Connection, header_message_id: str
) -> tuple[MessageId, ...]:
    """Return the messages of one Message-ID, with its angle brackets: none, one, or two
    where there are more."""
    found = connection.scalars(_BY_MESSAGE_ID, {"named": header_message_id})
    return tuple(map(MessageId, found))


def positions(connection: Connection, message_id: MessageId) -> dict[int, str]:
    """Return a message's recipients by position."""
    rows = connection.execute(_POSITIONS, {"this": int(message_id)})
    return {row.position: row.address for row in rows}


def settle_return(
    connection: Connection, unread: Unread, result: SettledReturn, *, now: int
) -> bool:
    """Note what a return is; False, and nothing noted, where another reader has it."""
    whom = result.about
    row = {
        "this": unread.returned_id,
        "claim": unread.reads,
        "at": now,
        "is": result.kind,
        "class": result.bounce_class,
        "proved": result.authentication,
        "says": result.detail,
        "message": int(whom.message_id) if whom else unread.message_id,
        "place": whom.position if whom else unread.position,
        "whose": whom.tenant if whom else None,
    }
    return connection.execute(_SETTLE, row).rowcount == 1


def mark_returned(connection: Connection, whom: About, reply: str) -> bool:
    """Move a delivered recipient to RETURNED; False where it is in another state."""
    row = {
        "this": int(whom.message_id),
        "at": whom.position,
        "said": reply[:_MAX_REPLY],
    }
    return connection.execute(_MARK_RETURNED, row).rowcount == 1


_tried = attempt.alias()
_last_attempt = (
    select(_tried.c.id)
    .where(
        _tried.c.message_id == recipient.c.message_id,
        _tried.c.position == recipient.c.position,
    )
    .order_by(_tried.c.at.desc(), _tried.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_ABOUT = (
    select(
        recipient,
        message.c.stream,
        sending_domain.c.name,
        attempt.c.id.label("attempt"),
        attempt.c.host,
    )
    .join(message, message.c.id == recipient.c.message_id, isouter=True)
    .join(sending_domain, sending_domain.c.id == recipient.c.domain_id, isouter=True)
    .join(attempt, attempt.c.id == _last_attempt, isouter=True)
    .where(THIS)
)
_BY_MESSAGE_ID = (
    select(message.c.id)
    .where(message.c.header_message_id == bindparam("named"))
    .limit(_MANY)
)
_POSITIONS = (
    select(recipient.c.position, recipient.c.address)
    .where(recipient.c.message_id == bindparam("this"))
    .order_by(recipient.c.position)
)
_SETTLE = (
    update(returned)
    .where(
        returned.c.id == bindparam("this"),
        returned.c.reads == bindparam("claim"),
        returned.c.due_at.is_not(None),
    )
    .values(
        due_at=text("NULL"),
        settled_at=bindparam("at"),
        kind=bindparam("is"),
        bounce_class=bindparam("class"),
        authentication=bindparam("proved"),
        detail=bindparam("says"),
        message_id=bindparam("message"),
        position=bindparam("place"),
        tenant_id=bindparam("whose"),
    )
)
_MARK_RETURNED = (
    update(recipient)
    .where(THIS, recipient.c.state == text("'delivered'"))
    .values(
        state=move(RecipientState.DELIVERED, RecipientState.RETURNED).value,
        last_reply=bindparam("said"),
    )
)
