"""A duty's lease: one holder at a time, on both stores."""

from sqlalchemy import Engine

from soboo_mta.spool.duty import DUTY_LENGTH, give_up_duty, take_duty
from soboo_mta.store.writer import write_now

_LENGTH = int(DUTY_LENGTH.total_seconds() * 1000)


def _take(engine: Engine, holder: str, now: int, name: str = "publishing") -> bool:
    return write_now(engine, lambda at: take_duty(at, name, holder, now=now))


def test_a_duty_is_one_holders_while_it_is_renewed(engine: Engine) -> None:
    assert _take(engine, "a", 1_000)
    assert not _take(engine, "b", 1_001)
    assert _take(engine, "a", 1_000 + _LENGTH - 1)  # renewed
    assert not _take(engine, "b", 1_000 + _LENGTH)
    assert _take(engine, "b", 1_000, name="another")


def test_a_duty_that_is_not_renewed_is_taken_over(engine: Engine) -> None:
    assert _take(engine, "a", 1_000)
    assert _take(engine, "b", 1_000 + _LENGTH)
    assert not _take(engine, "a", 1_001 + _LENGTH)  # woken up again


def test_a_duty_that_was_given_up_is_free_at_once(engine: Engine) -> None:
    assert _take(engine, "a", 1_000)
    write_now(engine, lambda at: give_up_duty(at, "publishing", "b"))  # not its own
    assert not _take(engine, "b", 1_001)
    write_now(engine, lambda at: give_up_duty(at, "publishing", "a"))
    assert _take(engine, "b", 1_002)


def test_a_lease_of_a_clock_that_began_anew_is_not_waited_for(engine: Engine) -> None:
    assert _take(engine, "a", 10**9)  # the host has started again since
    assert _take(engine, "b", 1_000)
