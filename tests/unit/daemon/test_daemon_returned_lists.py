"""What returns bring into a tenant's suppression list."""

import json
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, Engine, select

from soboo_mta.daemon.returning import StoredConsequences
from soboo_mta.events.event import EventKind
from soboo_mta.mail.bounce_class import Charged, Consequence
from soboo_mta.mail.ids import NO_STREAM, DomainId, MessageId, Stream
from soboo_mta.returns.verdict import Verdict
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.returned.settling import About
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.tenancy.suppression import (
    SoftRule,
    Suppression,
    SuppressionRules,
    entries_of,
    folded,
)
from tests.fakes.clock import FakeClock
from tests.fakes.dmarc_reports import a_desk
from tests.fakes.suppression import BOB, classified
from tests.fakes.tenancy import ACME, with_tenants

RULES = SuppressionRules(soft=SoftRule(limit=2, within=timedelta(days=7)))


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def whom(number: int = 5, stream: Stream = NO_STREAM) -> About:
    return About(
        message_id=MessageId(number),
        position=0,
        tenant=ACME,
        domain_id=DomainId(7),
        domain=None,
        recipient=BOB,
        state=RecipientState.DELIVERED,
        host="",
        stream=stream,
    )


def said(consequence: Consequence, charged: Charged = Charged.RECIPIENT) -> Verdict:
    return Verdict(
        event=EventKind.RETURNED,
        text="no such user",
        status="5.1.1",
        is_final=True,
        classified=classified(consequence, charged),
    )


def standing(store: Engine) -> tuple[Suppression, ...]:
    return read_now(store, lambda at: entries_of(at, ACME, {folded(BOB)}))


def test_a_bounce_suppresses_with_its_words_and_an_event(store: Engine) -> None:
    follows = StoredConsequences(Doubts(FakeClock()), RULES, a_desk(FakeClock()))
    told = said(Consequence.SUPPRESS)
    for now in (7, 8):
        write_now(store, partial(follows.failed, whom=whom(), said=told, now=now))
    (one,) = standing(store)
    assert (one.reason, one.since) == ("invalid", 7)
    assert one.evidence.said == "5.1.1 no such user"
    query = select(
        schema.event.c.kind, schema.event.c.message_id, schema.event.c.detail
    )
    (event,) = read_now(store, lambda at: at.execute(query).all())
    assert (event.kind, event.message_id) == ("suppression-added", MessageId(5))
    assert json.loads(event.detail)["reason"] == "invalid"


def test_soft_bounces_of_several_messages_suppress(store: Engine) -> None:
    follows = StoredConsequences(Doubts(FakeClock()), RULES, a_desk(FakeClock()))
    told = said(Consequence.COUNT)
    for number, expected in ((1, 0), (1, 0), (2, 1)):
        write_now(store, partial(follows.failed, whom=whom(number), said=told, now=7))
        assert len(standing(store)) == expected


@pytest.mark.parametrize("charged", [Charged.DOMAIN, Charged.SOURCE, Charged.CONTENT])
def test_what_is_not_the_recipients_suppresses_nobody(
    store: Engine, charged: Charged
) -> None:
    follows = StoredConsequences(Doubts(FakeClock()), RULES, a_desk(FakeClock()))
    told = said(Consequence.SUPPRESS, charged)
    write_now(store, lambda at: follows.failed(at, whom(), told, now=7))
    assert standing(store) == ()


def test_an_unsubscription_is_of_the_messages_stream_a_complaint_of_all(
    store: Engine,
) -> None:
    follows = StoredConsequences(Doubts(FakeClock()), RULES, a_desk(FakeClock()))

    def both(connection: Connection) -> None:
        follows.unsubscribed(connection, whom(stream=Stream("news")), now=7)
        follows.complained(connection, whom(stream=Stream("news")), now=7)

    write_now(store, both)
    found = {one.stream: one.reason.value for one in standing(store)}
    assert found == {"news": "unsubscribe", NO_STREAM: "complaint"}
