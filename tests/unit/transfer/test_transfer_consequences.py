"""What an attempt's outcome brings into its tenant's list, with its settlement."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, select

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import (
    Deferred,
    Delivered,
    Failed,
    Held,
    Outcome,
    Reason,
    Scope,
)
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import Claimed
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.suppression import (
    SoftRule,
    Suppression,
    SuppressionRules,
    entries_of,
    folded,
    soft_failures,
)
from soboo_mta.transfer.leaving.consequences import Consequences
from tests.fakes.connector import a_message
from tests.fakes.tenancy import with_tenants

RULES = SuppressionRules(soft=SoftRule(limit=2, within=timedelta(days=7)))


class FakeFailures:
    def __init__(self) -> None:
        self.counted: set[Mailbox] = set()

    def has_failures(self, tenant: TenantId, address: Mailbox) -> bool:
        return address in self.counted

    def forgiven(self, tenant: TenantId, address: Mailbox) -> None:
        self.counted.discard(address)


def failed(
    text: str, reason: Reason = Reason.REPLY, scope: Scope = Scope.RECIPIENT
) -> Failed:
    return Failed(reply=answer(text), reason=reason, scope=scope)


def answer(text: str) -> Reply:
    return Reply.received(int(text[:3]), text[4:])


class Place:
    """A store, and what follows in it."""

    def __init__(self, engine: Engine, writer: Writer) -> None:
        write_now(engine, with_tenants)
        self.engine, self.writer = engine, writer
        self.failures = FakeFailures()
        self.follows = Consequences(
            classes=own_rules(), rules=RULES, failures=self.failures
        )
        self.message = a_message()
        self.who = self.message.recipients[0]

    async def settle(
        self, tried: Outcome, settled: Outcome | None = None, **values: object
    ) -> int:
        self.message = replace(self.message, **values)
        claimed = Claimed(message=self.message, position=0, attempts=0)
        steps = self.follows.of(
            claimed, tried, settled or tried, host="mx.there.example[9.9.9.1]:25", at=7
        )
        await self.writer.commit(steps)
        return len(steps)

    def standing(self) -> tuple[Suppression, ...]:
        return read_now(
            self.engine,
            lambda at: entries_of(at, self.message.tenant, {folded(self.who)}),
        )

    def counted(self) -> int:
        return len(
            read_now(
                self.engine,
                lambda at: soft_failures(at, self.message.tenant, self.who),
            )
        )


@pytest.fixture
def place(engine: Engine, writer: Writer) -> Place:
    return Place(engine, writer)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("550 5.1.1 no such user", Reason.REPLY),
        ("556 5.1.10 the domain takes no mail", Reason.DNS_PERMANENT),
    ],
)
async def test_a_mailbox_that_is_not_there_is_suppressed_and_told(
    place: Place, text: str, reason: Reason
) -> None:
    await place.settle(failed(text, reason))
    (one,) = place.standing()
    assert (one.reason, one.actor, one.evidence.said) == ("invalid", "relay", text)
    assert one.evidence.message == place.message.message_id
    row = read_now(
        place.engine, lambda at: at.execute(select(schema.event)).mappings().one()
    )
    assert (row["kind"], row["tenant_id"]) == ("suppression-added", "acme")
    assert row["message_id"] == place.message.message_id
    told = json.loads(row["detail"])
    assert (told["address"], told["reason"]) == (str(place.who), "invalid")
    assert told["evidence"]["class"] in ("invalid-mailbox", "invalid-domain")


@pytest.mark.parametrize(
    "outcome",
    [
        failed("550 5.7.26 the mail is unauthenticated: SPF and DKIM failed"),
        failed("554 5.7.1 blocked using zen.spamhaus.org", Reason.BLOCKED),
        failed("550 5.7.1 the message looks like spam", Reason.CONTENT_BLOCKED),
        failed("550 5.7.1 the message looks like spam"),
        failed("550 5.7.1 the recipient is suppressed: x", Reason.SUPPRESSED),
        failed("554 5.6.3 no 8BITMIME there", Reason.UNSUPPORTED),
        failed("451 4.4.1 no connection", Reason.CONNECTION),
        Deferred(
            reply=answer("450 4.1.1 no such user"),
            reason=Reason.REPLY,
            scope=Scope.RECIPIENT,
        ),
        Held(reason=Reason.DOMAIN_BROKEN, explanation="no key"),
        Delivered(reply=answer("250 2.0.0 kept")),
    ],
)
async def test_nothing_else_touches_the_list(place: Place, outcome: Outcome) -> None:
    assert await place.settle(outcome) == 0
    assert (place.standing(), place.counted()) == ((), 0)


async def test_a_full_mailbox_counts_and_suppresses_in_the_end(place: Place) -> None:
    full = failed("552 5.2.2 the mailbox is full")
    await place.settle(full)
    assert (place.standing(), place.counted()) == ((), 1)
    await place.settle(full)  # the same message
    assert (place.standing(), place.counted()) == ((), 1)
    await place.settle(full, message_id=MessageId(99))
    (one,) = place.standing()
    assert one.reason == "soft-bounces"


@pytest.mark.parametrize(
    ("reason", "text", "counted"),
    [
        (Reason.REPLY, "452 4.2.2 over quota", 1),
        (Reason.REPLY, "451 words that no rule knows", 1),
        (Reason.REPLY, "421 4.7.0 greylisted, come back", 0),
        (Reason.CONNECTION, "451 4.4.1 no connection", 0),
        (Reason.TIMEOUT, "451 4.4.2 no answer in time", 0),
        (Reason.INTERNAL, "451 4.3.0 an error of ours", 0),
        (Reason.BLOCKED, "451 4.7.1 words that no rule knows", 0),
    ],
)
async def test_the_end_of_the_retries_counts_where_the_peer_gave_the_cause(
    place: Place, reason: Reason, text: str, counted: int
) -> None:
    tried = Deferred(reply=answer(text), reason=reason, scope=Scope.RECIPIENT)
    over = failed(text, Reason.LIFETIME)
    await place.settle(tried, over)
    assert (place.standing(), place.counted()) == ((), counted)


async def test_a_report_of_ours_that_fails_suppresses_nobody(place: Place) -> None:
    unknown = failed("550 5.1.1 no such user")
    assert await place.settle(unknown, domain_id=DomainId(-7)) == 0


async def test_a_delivery_forgets_failures_where_there_are_any(place: Place) -> None:
    await place.settle(failed("552 5.2.2 the mailbox is full"))
    place.failures.counted.add(place.who)
    delivered = Delivered(reply=answer("250 2.0.0 kept"))
    assert await place.settle(delivered) == 1
    assert place.counted() == 0
    assert await place.settle(delivered) == 0


async def test_a_row_that_makes_no_sense_does_not_keep_mail_from_being_settled(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    row = {
        "tenant_id": "acme",
        "key": folded(place.who),
        "generation": 1,
        "last_at": 7,
        "failures": "no JSON",
    }
    write_now(place.engine, lambda at: at.execute(insert(schema.soft_failure), row))
    await place.settle(failed("552 5.2.2 the mailbox is full"))
    assert "what follows from a failure could not be done" in caplog.text
