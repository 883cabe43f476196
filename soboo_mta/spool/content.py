"""How a message lies in the store: its rows, its pieces, and reading it back verified.

What does not read back octet for octet is a value, `Corrupt`, never a crash.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from soboo_mta.formats.dsn.parameters import read_notify, written_notify
from soboo_mta.mail.address import Mailbox, parse_mailbox, parse_reverse_path
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import CredentialId, DomainId, MessageId, Stream, TenantId
from soboo_mta.mail.notify import (
    ASKED_NOTHING,
    Asked,
    DsnRequest,
    OriginalRecipient,
    Returned,
)
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.once import taking
from soboo_mta.store.schema import message, piece, recipient
from soboo_mta.store.unit import Statement

PIECE_OCTETS = 262_144  # larger content is staged in pieces of so many octets
_GIL_OCTETS = 5_120
_HASH_OCTETS = 32  # of SHA-256
INSERT_MESSAGE = insert(message)
INSERT_RECIPIENT = insert(recipient)
# Clauses of their own: who asked for nothing pays for no further columns.
_INSERT_ASKING_MESSAGE = insert(message)
_INSERT_ASKING_RECIPIENT = insert(recipient)
INSERT_PIECE = insert(piece)


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A message that cannot be read back as it was accepted."""

    message_id: MessageId
    cause: str


def readable_id(found: object) -> MessageId:
    """Return a row's id of a message; 0 where a damaged row has no number there."""
    return MessageId(found) if isinstance(found, int) else MessageId(0)


def accepting(
    spooled: SpooledMessage,
    *,
    pieces: int,
    holder: tuple[int, int] | None,
    state: RecipientState,
    due_at: int | None = None,
) -> list[Statement]:
    """Return the unit that accepts `spooled`; `holder` (worker, epoch) claims it.
    `due_at`: not at once, but at that time (unix ms)."""
    number, epoch = holder or (None, None)
    message_id, tenant = int(spooled.message_id), str(spooled.tenant)
    row: dict[str, object] = {
        "id": message_id,
        "tenant_id": tenant,
        "stream": spooled.stream,
        "domain_id": spooled.domain_id,
        "credential_id": spooled.credential,
        "reverse_path": str(spooled.reverse_path),
        "author": str(spooled.author),
        "header_message_id": spooled.header_message_id,
        "client": spooled.client,
        "eight_bit": spooled.eight_bit,
        "smtputf8": spooled.smtputf8,
        "size": len(spooled.content),
        "pieces": pieces,
        "recipients": len(spooled.recipients),
        "accepted_at": spooled.accepted_at,
        "expires_at": spooled.expires_at,
        "body_hash": spooled.body_hash,
        "checksum": checksum(spooled.content),
        "content": None if pieces else spooled.content,
    }
    recipients: tuple[dict[str, object], ...] = tuple(
        {
            "message_id": message_id,
            "position": position,
            "address": str(mailbox),
            "domain": str(mailbox.domain),
            "tenant_id": tenant,
            "domain_id": spooled.domain_id,
            "state": state.value,
            "reason": (Reason.SCHEDULED if due_at else Reason.ACCEPTED).value,
            "due_at": due_at or spooled.accepted_at,
            "attempts": 0,
            "worker": number,
            "epoch": epoch,
            "last_reply": "",
        }
        for position, mailbox in enumerate(spooled.recipients)
    )
    unit = [Statement(INSERT_MESSAGE, (row,)), Statement(INSERT_RECIPIENT, recipients)]
    if spooled.dsn is not None:
        unit = _asking(spooled.dsn, row, recipients)
    if spooled.once is not None:
        unit.append(taking(spooled.once, spooled.message_id, spooled.accepted_at))
    return unit


def _asking(
    request: DsnRequest, row: dict[str, object], recipients: Iterable[dict[str, object]]
) -> list[Statement]:
    """The same unit with what the sender asked to be told."""
    row["returned"] = request.returned.value if request.returned else None
    row["envelope_id"] = request.envelope_id or None
    rows = tuple(
        {
            **one,
            "notify": written_notify(asked.notify) or None,
            "orcpt": None if asked.orcpt is None else str(asked.orcpt),
        }
        for one, asked in zip(recipients, request.asked, strict=True)
    )
    return [
        Statement(_INSERT_ASKING_MESSAGE, (row,)),
        Statement(_INSERT_ASKING_RECIPIENT, rows),
    ]


def checksum(content: bytes) -> int:
    """Return the CRC-32 of `content`."""
    if len(content) > PIECE_OCTETS:
        return zlib.crc32(content)
    # For more octets at once zlib lets go of the interpreter, and getting it back from
    # the writer's thread costs ten times the sum.
    value = 0
    for start in range(0, len(content), _GIL_OCTETS):
        value = zlib.crc32(content[start : start + _GIL_OCTETS], value)
    return value


def pieces_of(content: bytes) -> Iterator[bytes]:
    """Cut `content` into pieces, in order."""
    for start in range(0, len(content), PIECE_OCTETS):
        yield content[start : start + PIECE_OCTETS]


def staged(message_id: MessageId, number: int, octets: bytes, at: int) -> Statement:
    """Return the statement that stages one piece."""
    row = {
        "message_id": int(message_id),
        "number": number,
        "staged_at": at,
        "octets": octets,
    }
    return Statement(INSERT_PIECE, (row,))


def load(
    connection: Connection, message_ids: Sequence[int]
) -> dict[int, SpooledMessage | Corrupt]:
    """Read whole messages back; every id has an entry."""
    loaded: dict[int, SpooledMessage | Corrupt] = {}
    for number in message_ids:
        row = connection.execute(_ONE_MESSAGE, {"this": number}).one_or_none()
        if row is None:
            loaded[number] = Corrupt(MessageId(number), "its message row is missing")
        else:
            loaded[number] = _whole(connection, row)
    return loaded


def _whole(connection: Connection, row: Row[Any]) -> SpooledMessage | Corrupt:
    content = _octets(connection, row)
    if content is None or len(content) != row.size:
        return Corrupt(MessageId(row.id), "its content is missing or cut")
    if checksum(content) != row.checksum:
        return Corrupt(MessageId(row.id), "its content differs from what was accepted")
    recipients = connection.execute(_RECIPIENTS, {"this": row.id}).all()
    if len(recipients) != row.recipients:
        return Corrupt(MessageId(row.id), "its recipient rows are incomplete")
    try:
        return _value(row._mapping, recipients, content)
    except FormatError as error:
        return Corrupt(MessageId(row.id), f"its row is broken: {error}")


def _octets(connection: Connection, row: Row[Any]) -> bytes | None:
    if not row.pieces:
        return row.content if isinstance(row.content, bytes) else None
    pieces = connection.scalars(_PIECES, {"this": row.id}).all()
    is_whole = len(pieces) == row.pieces and all(type(one) is bytes for one in pieces)
    return b"".join(pieces) if is_whole else None


def _value(
    row: Mapping[Any, Any], recipients: Sequence[Any], content: bytes
) -> SpooledMessage:
    _check_types(row)
    if len(row["body_hash"]) != _HASH_OCTETS:
        raise FormatError("its body hash is cut")
    credential = row["credential_id"]
    return SpooledMessage(
        message_id=MessageId(row["id"]),
        tenant=TenantId(row["tenant_id"]),
        domain_id=DomainId(row["domain_id"]),
        credential=None if credential is None else CredentialId(credential),
        reverse_path=parse_reverse_path(row["reverse_path"]),
        author=parse_mailbox(row["author"]),
        recipients=tuple(_mailbox(row, one) for one in recipients),
        header_message_id=row["header_message_id"],
        client=row["client"],
        eight_bit=bool(row["eight_bit"]),
        smtputf8=bool(row["smtputf8"]),
        body_hash=bytes(row["body_hash"]),
        accepted_at=row["accepted_at"],
        expires_at=row["expires_at"],
        content=content,
        stream=Stream(row["stream"]),
        dsn=_request(row, recipients),
    )


def _request(row: Mapping[Any, Any], recipients: Sequence[Any]) -> DsnRequest | None:
    returned, envelope_id = row["returned"], row["envelope_id"]
    request = DsnRequest(
        returned=None if returned is None else Returned(returned),
        envelope_id=envelope_id or "",
        asked=tuple(asked_of(one.notify, one.orcpt) for one in recipients),
    )
    return None if request.is_empty else request


def asked_of(notify: str | None, orcpt: str | None) -> Asked:
    """Return what a recipient's row says was asked; may raise FormatError."""
    if notify is None and orcpt is None:
        return ASKED_NOTHING
    kind, _, address = (orcpt or "").partition(";")
    return Asked(
        notify=read_notify(notify) if notify else frozenset(),
        orcpt=OriginalRecipient(kind, address) if orcpt else None,
    )


def _check_types(row: Mapping[Any, Any]) -> None:
    """SQLite takes any type in any column; what is read must be what was written."""
    for name, kind in _TYPES.items():
        if not isinstance(row[name], kind):
            raise FormatError(f"{name} is {row[name]!r:.40}")


def _mailbox(row: Mapping[Any, Any], one: Any) -> Mailbox:
    """A recipient's address, whose row agrees with itself and with the message's."""
    mailbox = parse_mailbox(one.address)
    if (one.domain, one.tenant_id, one.domain_id) != (
        mailbox.domain,
        row["tenant_id"],
        row["domain_id"],
    ):
        raise FormatError(f"the row of recipient {mailbox} contradicts itself")
    return mailbox


_TYPES: dict[str, type] = {
    "tenant_id": str,
    "stream": str,
    "domain_id": int,
    "reverse_path": str,
    "author": str,
    "header_message_id": str,
    "client": str,
    "body_hash": bytes,
    "accepted_at": int,
    "expires_at": int,
}
_ONE_MESSAGE = select(message).where(message.c.id == bindparam("this"))
_RECIPIENTS = (
    select(
        recipient.c.address,
        recipient.c.domain,
        recipient.c.tenant_id,
        recipient.c.domain_id,
        recipient.c.notify,
        recipient.c.orcpt,
    )
    .where(recipient.c.message_id == bindparam("this"))
    .order_by(recipient.c.position)
)
_PIECES = (
    select(piece.c.octets)
    .where(piece.c.message_id == bindparam("this"))
    .order_by(piece.c.number)
)
