"""Which recipient of which message a return is about, and how sure that is.

A signed reverse-path proves it: the one the return came to, else one that stands in it, or
the signed CFBL-Feedback-ID of a message to one recipient. An unsubscribe address proves
whose a wish is, and nothing of what else comes to it: no mail leaves from it. A Message-ID
is a claim: whoever saw the message knows it, and who else got it, so that nothing follows
from it but that it is shown. So is a CFBL-Feedback-ID that several recipients have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from soboo_mta.formats.verp import WHOLE_MESSAGE, ReturnToken, VerpSigner
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.returned import Complaint, Dsn, Return, Sent, Unsubscribe
from soboo_mta.returns.reception import DoorKind
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.spool.returned.settling import (
    About,
    about,
    positions,
    with_message_id,
)


class By(StrEnum):
    """What a return is attributed by, the surest first."""

    ADDRESS = "address"  # the signed one that it came to
    REVERSE_PATH = "reverse-path"  # a signed one that stands in it
    FEEDBACK_ID = "feedback-id"  # the signed one of a message to one recipient
    MESSAGE_ID = "message-id"  # and the recipient it names, or the only one

    @property
    def is_proof(self) -> bool:
        return self is not By.MESSAGE_ID


@dataclass(frozen=True, slots=True)
class Attribution:
    """See the module."""

    about: About
    by: By


def attributed(
    connection: Connection, unread: Unread, found: Return, verp: VerpSigner
) -> Attribution | None:
    """Return what `found` is about; None where nothing says it, or it is forgotten."""
    is_proved = unread.door != DoorKind.UNSUBSCRIBE or isinstance(found, Unsubscribe)
    if is_proved and unread.message_id is not None and unread.position is not None:
        whom = about(connection, unread.message_id, unread.position)
        return None if whom is None else Attribution(whom, By.ADDRESS)
    sent = getattr(found, "sent", None)
    if not isinstance(sent, Sent):
        return None
    named_recipients = _named_recipients(found)
    for token in _tokens(sent, verp, unread.received_at):
        proved = _of_token(connection, token, named_recipients)
        if proved is not None:
            return proved
    for named in sent.message_ids:
        messages = with_message_id(connection, named)
        if len(messages) == 1:
            claimed = _of_message(connection, messages[0], named_recipients)
            if claimed is not None:
                return Attribution(claimed.about, By.MESSAGE_ID)
    return None


def _tokens(sent: Sent, verp: VerpSigner, at: int) -> Iterator[ReturnToken]:
    for text in (*sent.reverse_paths, sent.feedback_id):
        try:
            mailbox = parse_mailbox(text)
        except FormatError:
            continue  # "" or not an address
        token = verp.open(mailbox.local_part, mailbox.domain, at)
        if token is not None:
            yield token


def _of_token(
    connection: Connection, token: ReturnToken, recipients: frozenset[str]
) -> Attribution | None:
    if token.position == WHOLE_MESSAGE:
        return _of_message(connection, token.message, recipients)
    whom = about(connection, token.message, token.position)
    return None if whom is None else Attribution(whom, By.REVERSE_PATH)


def _of_message(
    connection: Connection, message: MessageId, recipients: frozenset[str]
) -> Attribution | None:
    """The only recipient of a message, or the one that is named: that is a claim."""
    sent_to = positions(connection, message)
    places, by = list(sent_to), By.FEEDBACK_ID
    if len(sent_to) > 1:
        by = By.MESSAGE_ID
        places = [at for at, to in sent_to.items() if to.lower() in recipients]
    if len(places) != 1:
        return None
    whom = about(connection, message, places[0])
    return None if whom is None else Attribution(whom, by)


def _named_recipients(found: Return) -> frozenset[str]:
    """Addresses that a return says it is about, in lower case."""
    if isinstance(found, Dsn):
        named = [
            one for r in found.recipients for one in (r.original, r.recipient) if one
        ]
    elif isinstance(found, Complaint):
        named = list(found.recipients)
    else:
        named = []
    return frozenset(map(str.lower, named))
