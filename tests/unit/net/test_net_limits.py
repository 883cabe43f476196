"""The limits by themselves: rates, failed logins, the pace of a message, shared times."""

import os
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.mail.ids import CredentialId
from soboo_mta.net.smtp_server.limits.logins import FailedLogins
from soboo_mta.net.smtp_server.limits.pace import Pace
from soboo_mta.net.smtp_server.limits.rates import Rates
from soboo_mta.net.smtp_server.limits.times import SharedTimes, Times
from soboo_mta.submission.options import ListenerOptions
from tests.fakes.clock import FakeClock

APP, OTHER = CredentialId(1), CredentialId(2)


def new_rates(clock: FakeClock, **options: int) -> Rates:
    return Rates(ListenerOptions(**options), SharedTimes(), clock.monotonic)


# ---- rates


def test_case_039_a_minutes_worth_may_come_at_once_and_then_evenly() -> None:
    clock = FakeClock()
    rates = new_rates(clock, messages_per_minute_per_credential=6)
    assert [rates.may_send("a", APP) for _ in range(8)] == [True] * 6 + [False] * 2
    clock.advance(9.9)
    assert not rates.may_send("a", APP)
    clock.advance(0.2)  # a tenth of a minute gives one of six
    assert rates.may_send("b", APP)
    assert not rates.may_send("b", APP)
    clock.advance(60.1)
    assert [rates.may_send("a", APP) for _ in range(7)] == [True] * 6 + [False]


def test_case_039_clients_and_credentials_are_counted_each_for_itself() -> None:
    clock = FakeClock()
    rates = new_rates(
        clock,
        recipients_per_minute_per_address=2,
        recipients_per_minute_per_credential=3,
    )
    assert rates.may_address("a", APP)
    assert rates.may_address("a", APP)
    assert not rates.may_address("a", APP)  # the address; nothing is counted for APP
    assert rates.may_address("b", APP)
    assert not rates.may_address("c", APP)
    assert rates.may_address("c", OTHER)
    assert rates.may_address("d", None)  # a trusted network has no credential


def test_without_a_limit_nothing_is_counted() -> None:
    clock = FakeClock()
    rates = new_rates(clock)
    assert all(rates.may_connect("a") for _ in range(1_000))
    assert all(rates.may_send("a", APP) for _ in range(1_000))


@given(
    limit=st.integers(1, 100),
    waits=st.lists(st.floats(0, 90, allow_nan=False), min_size=1, max_size=60),
)
def test_over_any_time_a_rate_lets_through_its_limit_and_one_minutes_worth(
    limit: int, waits: list[float]
) -> None:
    clock = FakeClock()
    rates = new_rates(clock, connections_per_minute_per_address=limit)
    began, passed = clock.monotonic(), 0
    for wait in waits:
        clock.advance(wait)
        while rates.may_connect("a"):
            passed += 1
    minutes = (clock.monotonic() - began) / 60
    assert passed <= limit * (minutes + 1) + 1
    assert passed >= limit  # the first minute's worth came at once


# ---- failed logins


def test_case_010_a_name_guessed_from_many_addresses_is_barred_and_its_user_is_not() -> (
    None
):
    clock = FakeClock()
    options = ListenerOptions(
        max_failed_logins_per_user=50, failed_login_window=timedelta(minutes=10)
    )
    failed = FailedLogins(options, SharedTimes(), clock.monotonic)
    failed.succeeded("home", "acme")
    clock.advance(86_400)  # the application sends once a day
    guesses = 0
    for bot in range(1_000):
        if not failed.is_barred(f"bot{bot}", "acme"):
            failed.failed(f"bot{bot}", "acme")
            guesses += 1
    assert guesses == 50
    assert not failed.is_barred("home", "acme")
    assert not failed.is_barred("bot1", "another")
    clock.advance(600 / 50 + 1)  # one more guess each window's fiftieth
    assert not failed.is_barred("bot1", "acme")
    failed.failed("bot1", "acme")
    assert failed.is_barred("bot2", "acme")


def test_case_010_one_address_guessing_many_names_is_barred_and_its_users_are_not() -> (
    None
):
    clock = FakeClock()
    failed = FailedLogins(ListenerOptions(), SharedTimes(), clock.monotonic)
    failed.succeeded("nat", "acme")
    for guess in range(20):
        assert not failed.is_barred("nat", f"user{guess}")
        failed.failed("nat", f"user{guess}")
    assert failed.is_barred("nat", "user99")
    assert not failed.is_barred("nat", "acme")
    assert not failed.is_barred("elsewhere", "user99")


# ---- pace

OPTIONS = ListenerOptions(
    data_grace=timedelta(seconds=60),
    data_block_timeout=timedelta(seconds=180),
    min_data_rate=500,
)


def seconds_until_cut(octets: int, every: float, *, at_first: int = 0) -> float:
    """How long a client is kept that sends so much so often; 24 h at most."""
    now = 0.0
    pace = Pace(OPTIONS, now)
    if at_first:
        pace.count(at_first, now)
    while now < 86_400:
        if pace.deadline(now) < now + every:
            return pace.deadline(now)
        now += every
        pace.count(octets, now)
    return now


def test_case_038_an_octet_every_ten_seconds_is_cut_after_the_grace() -> None:
    assert 60 <= seconds_until_cut(1, 10) <= 61


def test_case_038_a_burst_buys_no_more_than_one_pause() -> None:
    assert seconds_until_cut(1, 10, at_first=25 << 20) <= 181


def test_case_038_a_slow_upload_of_25_mib_passes() -> None:
    """At 4 KB a second it takes two hours; no pause of it is over three minutes."""
    assert seconds_until_cut(65_536, 16) == 86_400
    assert seconds_until_cut(65_536, 120, at_first=65_536) == 86_400


def test_case_038_silence_is_cut_after_the_time_between_two_blocks() -> None:
    assert seconds_until_cut(1 << 20, 181) == 60
    assert seconds_until_cut(1 << 20, 181, at_first=1 << 20) == 180


# ---- shared times


def test_times_are_seen_by_processes_that_were_forked() -> None:
    times = Times()
    child = os.fork()
    if child == 0:
        times.put_off("here", 17.0)
        os._exit(0)
    os.waitpid(child, 0)
    assert times.get("here") == 17.0
    assert times.get("there") == 0.0
    times.put_off("here", 5.0)
    assert times.get("here") == 17.0


@pytest.mark.parametrize("keys", [10_000])
def test_few_keys_seem_later_than_they_are(keys: int) -> None:
    times = Times()
    for number in range(keys):
        times.put_off(f"key {number}", 1.0)
    wrong = sum(times.get(f"other {number}") > 0 for number in range(keys))
    assert wrong < keys / 50
