"""Attempts, events, plans and log lines: written once, read back by the trace."""

from typing import Any

from soboo_mta.events.attempt import AttemptFacts, attempted, plan_interned
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.log import EventLog
from soboo_mta.events.trace import trace
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.address import NULL_REVERSE_PATH, parse_mailbox
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.content import accepting
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.sweep import CORRUPT_EVENT
from soboo_mta.store.writer import Writer

OK = Delivered(reply=reply(250, "2.0.0", "taken"))
MESSAGE = SpooledMessage(
    message_id=MessageId(5),
    tenant=TenantId("acme"),
    domain_id=DomainId(1),
    credential=None,
    reverse_path=NULL_REVERSE_PATH,
    author=parse_mailbox("a@example.com"),
    recipients=(parse_mailbox("b@example.net"),),
    header_message_id="<1@example.com>",
    client="192.0.2.1",
    eight_bit=False,
    smtputf8=False,
    body_hash=b"",
    accepted_at=1,
    expires_at=2,
    content=b"Secret-Header: x\r\n\r\nsecret body",
)


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    warning = info


async def test_trace_tells_attempts_and_events_in_order(writer: Writer) -> None:
    plan_id, interned = plan_interned('{"rung": "full"}')
    later = Deferred(
        reply=reply(451, "4.7.1", "wait"), reason=Reason.REPLY, scope=Scope.RECIPIENT
    )
    await writer.commit(
        accepting(MESSAGE, pieces=0, holder=None, state=RecipientState.QUEUED)
    )
    facts = AttemptFacts(at=20, host="mx[192.0.2.1]:25", plan_id=plan_id)
    await writer.commit([attempted(MessageId(5), 0, OK, facts), interned])
    await writer.commit([attempted(MessageId(5), 0, later, AttemptFacts(at=10))])
    held = recorded(EventKind.MESSAGE_HELD, at=15, actor="cli", message_id=MessageId(5))
    await writer.commit([held])
    found = await writer.read(
        lambda connection: trace(connection, MessageId(5), own_rules())
    )
    assert found is not None
    assert [one.outcome for one in found.attempts] == ["deferred", "delivered"]
    assert [one.plan for one in found.attempts] == [None, {"rung": "full"}]
    assert found.attempts[1].recipient == "b@example.net"
    assert [one.kind for one in found.events] == ["message-held"]
    assert found.recipients == (("b@example.net", "queued"),)


async def test_unknown_message_has_no_trace(writer: Writer) -> None:
    assert await writer.read(lambda c: trace(c, MessageId(1), own_rules())) is None


async def test_plan_is_kept_once_however_often_it_is_interned(writer: Writer) -> None:
    first, statement = plan_interned('{"a": 1}')
    second, again = plan_interned('{"a": 1}')
    assert first == second
    assert 0 <= first < 1 << 63
    await writer.commit([statement])
    await writer.commit([again, statement])
    assert plan_interned('{"a": 2}')[0] != first


def test_spool_and_events_name_a_corrupt_message_alike() -> None:
    assert EventKind(CORRUPT_EVENT) is EventKind.MESSAGE_CORRUPT


def test_each_outcome_is_one_line_with_its_reason() -> None:
    sink = Lines()
    log = EventLog(sink)
    no = reply(550, "5.1.1", "unknown")
    for outcome in (
        OK,
        Deferred(reply=no, reason=Reason.TIMEOUT, scope=Scope.HOST),
        Failed(reply=no, reason=Reason.REPLY, scope=Scope.RECIPIENT),
        Held(reason=Reason.DOMAIN_BROKEN, explanation="mend it"),
    ):
        log.settled(MESSAGE, 0, outcome, host="mx", next_attempt=7)
    assert [line for line, _facts in sink.lines] == [
        "delivered",
        "deferred",
        "failed",
        "held",
    ]
    assert sink.lines[1][1]["reason"] == "timeout"
    assert sink.lines[1][1]["next_attempt"] == 7
    assert sink.lines[3][1]["explanation"] == "mend it"


def test_accepted_line_has_no_content() -> None:
    sink = Lines()
    EventLog(sink).accepted(MESSAGE)
    assert "secret" not in repr(sink.lines).lower()
    assert sink.lines[0][1]["message"] == str(MessageId(5))
