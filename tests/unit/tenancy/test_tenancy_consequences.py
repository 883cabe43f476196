"""What failures, complaints and unsubscriptions bring into a list, and what they do not."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from soboo_mta.mail.bounce_class import Charged, Classified, Consequence
from soboo_mta.mail.ids import NO_STREAM, MessageId, Stream
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.suppression import (
    NO_EVIDENCE,
    Evidence,
    SoftRule,
    Suppression,
    SuppressionRules,
    complained,
    consequences,
    count_soft,
    entries_of,
    folded,
    forgive,
    history,
    soft_failures,
    sweep_suppressions,
    unsubscribed,
)
from tests.fakes.suppression import BOB, classified
from tests.fakes.tenancy import ACME, RIVAL, with_tenants

DAY = 86_400_000
RULE = SoftRule(limit=3, within=timedelta(days=7), lasts=timedelta(days=30))
RULES = SuppressionRules(soft=RULE)


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def of_message(number: int) -> Evidence:
    return Evidence(message=MessageId(number), position=0, said="452 4.2.2 full")


def soft(store: Engine, *, at: int, number: int | None = None) -> Suppression | None:
    evidence = of_message(at if number is None else number)
    return write_now(store, lambda to: count_soft(to, ACME, BOB, at, evidence, RULE))


def standing(store: Engine) -> tuple[Suppression, ...]:
    return read_now(store, lambda at: entries_of(at, ACME, {folded(BOB)}))


def counted(store: Engine) -> list[int]:
    return [one.at for one in read_now(store, lambda at: soft_failures(at, ACME, BOB))]


def test_an_invalid_address_is_suppressed_at_once(store: Engine) -> None:
    def failed(at: Connection) -> tuple[Suppression, ...]:
        return consequences(at, ACME, BOB, classified(), of_message(5), 7, RULES)

    (one,) = write_now(store, failed)
    assert standing(store) == (one,)
    assert (one.reason, one.stream, one.expires_at) == ("invalid", NO_STREAM, None)
    assert one.because == "There is no such mailbox."
    assert one.evidence.as_json() == {
        "message": str(MessageId(5)),
        "position": 0,
        "said": "452 4.2.2 full",
        "class": "invalid-mailbox",
    }
    assert write_now(store, failed) == ()


@pytest.mark.parametrize("charged", sorted(set(Charged) - {Charged.RECIPIENT}))
@pytest.mark.parametrize("consequence", list(Consequence))
def test_what_is_another_s_fault_never_suppresses_the_recipient(
    store: Engine, charged: Charged, consequence: Consequence
) -> None:
    found = classified(consequence, charged)
    is_counted = (charged, consequence) == (Charged.DESTINATION, Consequence.COUNT)
    limit_one = SuppressionRules(soft=SoftRule(limit=2, within=timedelta(days=7)))
    write_now(
        store,
        lambda at: consequences(at, ACME, BOB, found, of_message(1), 7, limit_one),
    )
    assert standing(store) == ()
    assert bool(counted(store)) == is_counted


@pytest.mark.parametrize(
    "consequence", [Consequence.CHECK_DNS, Consequence.TELL, Consequence.NOTHING]
)
def test_nothing_follows_where_the_class_says_nothing_of_it(
    store: Engine, consequence: Consequence
) -> None:
    found: Classified = classified(consequence)
    write_now(
        store, lambda at: consequences(at, ACME, BOB, found, NO_EVIDENCE, 7, RULES)
    )
    assert (standing(store), counted(store)) == ((), [])


def test_soft_failures_suppress_for_a_time_once_they_are_too_many(
    store: Engine,
) -> None:
    assert [soft(store, at=n) for n in (1, 2)] == [None, None]
    one = soft(store, at=3)
    assert one is not None
    assert standing(store) == (one,)
    assert (one.reason, one.expires_at) == ("soft-bounces", 3 + 30 * DAY)
    assert one.because == "3 soft failures within 7d"
    assert one.evidence.failures == (1, 2, 3)
    assert counted(store) == []


def test_failures_that_are_long_ago_do_not_count(store: Engine) -> None:
    assert soft(store, at=1) is None
    assert soft(store, at=2) is None
    assert soft(store, at=1 + 7 * DAY) is None  # the first is forgotten
    assert counted(store) == [2, 1 + 7 * DAY]


def test_a_failure_that_is_told_twice_counts_once(store: Engine) -> None:
    assert [soft(store, at=n, number=5) for n in (1, 2, 3, 4)] == [None] * 4
    assert counted(store) == [1]


def test_without_a_rule_nothing_is_counted(store: Engine) -> None:
    rules = SuppressionRules(soft=None)
    found = classified(Consequence.COUNT)
    write_now(
        store, lambda at: consequences(at, ACME, BOB, found, of_message(1), 7, rules)
    )
    assert counted(store) == []


def test_a_delivery_forgets_the_failures_of_its_tenant(store: Engine) -> None:
    soft(store, at=1)
    write_now(store, lambda at: forgive(at, RIVAL, folded(BOB)))
    assert counted(store) == [1]
    write_now(store, lambda at: forgive(at, ACME, folded(BOB)))
    assert counted(store) == []


async def test_failures_that_do_not_count_any_more_are_swept(
    store: Engine, writer: Writer
) -> None:
    soft(store, at=1)
    sweep = {"soft_within": RULE.within, "keep_history": timedelta(days=9)}
    assert await sweep_suppressions(writer, now=7 * DAY, **sweep) == 0
    assert await sweep_suppressions(writer, now=1 + 7 * DAY, **sweep) == 1
    assert counted(store) == []


def test_a_complaint_holds_for_all_streams_for_ever(store: Engine) -> None:
    (one,) = write_now(store, lambda at: complained(at, ACME, BOB, of_message(1), 7))
    assert (one.reason, one.stream, one.expires_at) == ("complaint", NO_STREAM, None)
    assert standing(store) == (one,)


def test_an_unsubscription_holds_for_its_stream_or_for_all(store: Engine) -> None:
    for stream in (Stream("news"), NO_STREAM):
        (one,) = write_now(
            store,
            lambda at, of=stream: unsubscribed(at, ACME, of, BOB, NO_EVIDENCE, 7),
        )
        assert (one.reason, one.stream) == ("unsubscribe", stream)
    assert len(standing(store)) == 2


def test_two_who_count_at_once_reach_the_limit_exactly_once(store: Engine) -> None:
    rule = SoftRule(limit=20, within=timedelta(days=7))
    reached: list[Suppression] = []
    faults: list[BaseException] = []

    def count(first: int) -> None:
        try:
            for number in range(first, first + 10):
                evidence = of_message(number)
                one = write_now(
                    store,
                    lambda at, told=evidence: count_soft(at, ACME, BOB, 7, told, rule),
                )
                reached.extend([one] if one else [])
        except BaseException as fault:
            faults.append(fault)

    workers = [threading.Thread(target=count, args=(first,)) for first in (1, 11)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert faults == []
    assert len(reached) == 1
    assert standing(store) == tuple(reached)
    assert len(reached[0].evidence.failures) == 20
    told = read_now(store, lambda at: history(at, ACME, BOB, limit=9))
    assert [one.change for one in told] == ["added"]
    assert counted(store) == []
