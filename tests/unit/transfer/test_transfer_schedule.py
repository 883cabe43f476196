"""When it is tried again, and whose turn it is."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.mail.outcome import Deferred, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import Claimed
from soboo_mta.transfer.ready.fair import FairQueue, Job
from soboo_mta.transfer.schedule import RetrySchedule, next_due
from tests.fakes.connector import a_message

MINUTE = 60_000


def said(answer, reason=Reason.REPLY):
    return Deferred(reply=answer, reason=reason, scope=Scope.MESSAGE)


BUSY = said(reply(451, "4.3.2", "busy"))
SCHEDULE = RetrySchedule(jitter=0)


def due(attempts: int, now: int = 0, expires_at: int = 10**12, **rest: object):
    facts = {"outcome": BUSY, "chance": 0.0, **rest}
    return next_due(
        SCHEDULE, attempts=attempts, now=now, expires_at=expires_at, **facts
    )


def test_case_144_waits_grow_and_the_first_hour_sees_several_attempts():
    now, times = 0, []
    for attempts in range(1, 12):
        now = due(attempts, now)
        times.append(now // MINUTE)
    waits = [
        later - earlier for earlier, later in zip([0, *times], times, strict=False)
    ]
    assert waits == sorted(waits)
    assert sum(time < 60 for time in times) >= 2
    assert waits[-1] >= 30


def test_case_163_greylisting_is_answered_within_minutes():
    grey = reply(450, "4.2.0", "Greylisted, please try again later")
    slow = RetrySchedule(steps=(timedelta(hours=1),), jitter=0)
    facts = {"now": 0, "expires_at": 10**12, "chance": 0.0}
    assert next_due(slow, attempts=1, outcome=said(grey), **facts) == 5 * MINUTE
    assert next_due(slow, attempts=2, outcome=said(grey), **facts) == 60 * MINUTE
    assert next_due(slow, attempts=1, outcome=BUSY, **facts) == 60 * MINUTE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 300 seconds", 300),
        ("4.7.1 try again in 5 minutes", 300),
        ("Please retry after 10 min", 600),
        ("greylisted for 00:04:59", 299),
        ("come back in 2 h", 7_200),
        ("retry in 1s", 30),  # bounded: no peer is asked without pause
        ("try again in 90000 seconds", 14_400),  # nor does one decide about days
        ("wait 5m", 300),
    ],
)
def test_case_163_a_wait_that_the_reply_asks_for_is_kept_within_bounds(text, seconds):
    asked = said(reply(451, "4.7.1", text))
    assert due(1, outcome=asked) == due(7, outcome=asked) == seconds * 1_000


@pytest.mark.parametrize(
    "text", ["try again later", "try again, error 451", "200 messages, wait", "busy"]
)
def test_a_number_that_is_no_wait_is_none(text):
    assert due(2, outcome=said(reply(451, "4.3.2", text))) == 15 * MINUTE


def test_case_162_after_a_block_it_waits_longer():
    listed = reply(
        554, "5.7.1", "Client host [192.0.2.1] blocked using zen.spamhaus.org"
    )
    blocked = said(listed, Reason.BLOCKED)
    assert due(1, outcome=blocked) == 30 * MINUTE
    assert due(4, outcome=blocked) == 60 * MINUTE


def test_what_we_say_of_a_refused_connection_is_no_block_and_asks_for_nothing():
    text = "mx.there.example[192.0.2.1]:25: Connection refused, try again in 3 hours"
    ours = said(reply(451, "4.4.1", text), Reason.CONNECTION)
    assert due(1, outcome=ours) == 5 * MINUTE


def test_case_144_one_last_attempt_is_made_when_the_lifetime_ends():
    assert due(9, now=1_000, expires_at=2_000) == 2_000


def test_case_144_after_the_lifetime_there_is_no_next_time():
    assert due(9, now=2_000, expires_at=2_000) is None


@given(
    attempts=st.integers(1, 100),
    chance=st.floats(0, 1, exclude_max=True),
    now=st.integers(0, 10**11),
)
def test_case_144_a_wait_is_never_shortened_and_bounded_by_the_jitter(
    attempts, chance, now
):
    schedule = RetrySchedule()
    shortest = due(attempts, now)
    at = next_due(
        schedule,
        attempts=attempts,
        now=now,
        expires_at=10**12,
        outcome=BUSY,
        chance=chance,
    )
    assert shortest <= at <= now + (shortest - now) * 1.2 + 1


def a_job(tenant: str, number: int, weight: int = 1) -> Job:
    message = a_message(number, tenant=tenant)
    claimed = Claimed(message=message, position=0, attempts=0)
    return Job(claimed=claimed, weight=weight, epoch=1, since=0.0)


def served(queue: FairQueue, count: int) -> list[str]:
    return [queue.take().claimed.message.tenant for _ in range(count)]


def test_case_060_a_tenant_with_a_backlog_does_not_delay_another():
    queue = FairQueue()
    for number in range(1_000):
        queue.add(a_job("loud", number))
    served(queue, 10)
    queue.add(a_job("quiet", 1_001))
    assert "quiet" in served(queue, 2)


def test_case_060_turns_are_by_weight():
    queue = FairQueue()
    for number in range(400):
        queue.add(a_job("heavy", number, weight=3))
        queue.add(a_job("light", 400 + number))
    turns = served(queue, 200)
    assert 145 <= turns.count("heavy") <= 155


def test_within_a_tenant_the_order_is_kept():
    queue = FairQueue()
    for number in range(5):
        queue.add(a_job("one", number))
    taken = [int(queue.take().claimed.message.message_id) for _ in range(5)]
    assert taken == [0, 1, 2, 3, 4]
    assert queue.take() is None
    assert len(queue) == 0


def test_a_tenant_that_comes_back_has_no_credit_from_its_absence():
    queue = FairQueue()
    queue.add(a_job("b", 0))
    for number in range(50):
        queue.add(a_job("a", number))
    served(queue, 51)
    for number in range(20):
        queue.add(a_job("a", number))
        queue.add(a_job("b", number))
    turns = served(queue, 20)
    assert 9 <= turns.count("b") <= 11
