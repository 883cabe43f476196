"""One event as others are told of it: its id, its type, and its JSON form.

The form is a promise to receivers: docs/webhooks.md has a row for each field and type, and
a test compares. No message content and no secret is in it.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from soboo_mta.events.event import EventKind
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId, TenantId

ATTEMPT_TYPES: Final = ("delivered", "deferred", "failed", "expired", "held")
"""What an attempt on one recipient came to (events.attempt.outcome_word)."""
TEST_TYPE: Final = "test"
"""Sent by `webhook test` alone."""
TYPES: Final = (*ATTEMPT_TYPES, *(kind.value for kind in EventKind), TEST_TYPE)

COMMON_FIELDS: Final = (
    "id",
    "type",
    "at",
    "tenant",
    "message",
    "message_id",
    "recipient",
    "domain",
)
"""In every event; null where it does not apply."""
ATTEMPT_FIELDS: Final = ("reply", "reason", "host", "source", "tls", "duration_ms")
"""In the types of attempts."""
OTHER_FIELDS: Final = ("actor", "detail")
"""In all other types."""
REPLAYED_FIELD: Final = "replayed"
"""True in what `webhook replay` queued again; else it is not there."""
_ID_OCTETS: Final = 15  # 120 bits, 24 letters


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldEvent:
    """One event. `at` is unix ms; `own` are the fields of its kind, JSON-ready.

    `is_report`: it is about a report of ours to the sender, which no tenant submitted.
    """

    event_id: str
    type: str
    at: int
    tenant: TenantId | None
    message: MessageId | None = None
    header_message_id: str | None = None
    recipient: str | None = None
    domain: str | None = None
    own: Mapping[str, object]
    is_report: bool = False

    @property
    def lane(self) -> str:
        """Events of one lane are told one after another: those of a message, and those of
        a domain that are of no message; "": in no order."""
        if self.message is not None:
            return f"m{self.message}"
        return f"d{self.domain}" if self.domain else ""

    def text(self, *, is_replayed: bool = False) -> str:
        """Return the JSON form: one line of ASCII."""
        form: dict[str, object] = {
            "id": self.event_id,
            "type": self.type,
            "at": rfc3339(self.at),
            "tenant": self.tenant,
            "message": None if self.message is None else str(self.message),
            "message_id": self.header_message_id,
            "recipient": self.recipient,
            "domain": self.domain,
            **self.own,
        }
        if is_replayed:
            form[REPLAYED_FIELD] = True
        return json.dumps(form, separators=(",", ":"))


def event_id_of(*facts: object) -> str:
    """Return `evt_…`, the same whenever the same facts are given: an event that is told
    again, replayed too, is known by it."""
    text = "\0".join(map(str, facts)).encode(errors="surrogatepass")
    digest = hashlib.blake2b(text, digest_size=_ID_OCTETS).digest()
    return "evt_" + base64.b32encode(digest).decode("ascii").lower()


def rfc3339(unix_ms: int) -> str:
    """Return a time of the store as RFC 3339 §5.6 writes it, in UTC."""
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_types(text: str) -> tuple[str, ...]:
    """Return the types in a list with commas, sorted; none at all stands for every type.
    Raise FormatError where one does not exist."""
    wanted = sorted({one.strip() for one in text.split(",")} - {""})
    for one in wanted:
        if one not in TYPES:
            raise FormatError(f"{one[:40]!r} is no type of events: docs/webhooks.md")
    return tuple(wanted)
