"""Attempts and events in a store, as workers and commands leave them there."""

from sqlalchemy import Connection, insert

from soboo_mta.events.attempt import AttemptFacts, attempted
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.store import schema
from soboo_mta.store.unit import perform
from tests.fakes.tenancy import ACME

OK = Delivered(reply=reply(250, "2.0.0", "taken"))
LATER = Deferred(
    reply=reply(451, "4.7.1", "wait"), reason=Reason.REPLY, scope=Scope.RECIPIENT
)
NO = Failed(
    reply=reply(550, "5.1.1", "unknown"), reason=Reason.REPLY, scope=Scope.RECIPIENT
)


def with_message(
    at: Connection,
    number: int,
    tenant: TenantId = ACME,
    *,
    domain_id: int = 1,
    settled_at: int | None = None,
) -> MessageId:
    """A message to ann@there.example, whose content is gone."""
    at.execute(
        insert(schema.message).values(
            id=number,
            tenant_id=tenant,
            domain_id=domain_id,
            reverse_path="news@customer.com",
            author="news@customer.com",
            header_message_id=f"<{number}@customer.com>",
            client="",
            eight_bit=False,
            smtputf8=False,
            size=1,
            pieces=0,
            recipients=1,
            accepted_at=1,
            expires_at=2,
            settled_at=settled_at,
            body_hash=b"",
            checksum=0,
        )
    )
    at.execute(
        insert(schema.recipient).values(
            message_id=number,
            position=0,
            address="ann@there.example",
            domain="there.example",
            tenant_id=tenant,
            domain_id=domain_id,
            state="delivered",
            reason="reply",
            due_at=0,
            attempts=1,
            last_reply="",
        )
    )
    return MessageId(number)


def tried(at: Connection, number: int, outcome: Outcome, when: int) -> None:
    """One attempt on the message's recipient."""
    facts = AttemptFacts(at=when, host="mx[192.0.2.1]:25", duration_ms=7)
    perform(at, attempted(MessageId(number), 0, outcome, facts))


def happened(
    at: Connection,
    kind: EventKind,
    when: int,
    *,
    tenant: TenantId | None = ACME,
    domain: str | None = None,
    message: int | None = None,
    actor: str = "monitor",
    detail: dict[str, object] | None = None,
) -> None:
    """One event."""
    event = recorded(
        kind,
        at=when,
        actor=actor,
        tenant=tenant,
        domain=None if domain is None else DnsName(domain),
        message_id=None if message is None else MessageId(message),
        detail=detail,
    )
    perform(at, event)
