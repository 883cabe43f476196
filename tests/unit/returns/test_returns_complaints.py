"""From complaints and deliveries to what is done: pure."""

import pytest

from soboo_mta.events.tally.standings import Level, Scope, Standing, Subject
from soboo_mta.events.tally.view import Sent
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.returns.complaints import (
    Move,
    Rate,
    Thresholds,
    level_of,
    moves,
    rates,
    said,
)

ACME = TenantId("acme")
TENANT = Subject(scope=Scope.TENANT, name="acme", tenant=ACME)
LIMITS = Thresholds()


def sent(
    complaints: int,
    delivered: int,
    *,
    provider: str = "yahoo",
    domain: int = 1,
    tenant: TenantId = ACME,
) -> Sent:
    return Sent(
        tenant=tenant,
        domain_id=DomainId(domain),
        provider=provider,
        delivered=delivered,
        complaints=complaints,
    )


def rate(complaints: int, delivered: int, subject: Subject = TENANT) -> Rate:
    return Rate(subject=subject, complaints=complaints, delivered=delivered)


def standing(level: Level, **values: object) -> Standing:
    given = {"complaints": 20, "delivered": 10_000, "since": 5, **values}
    return Standing(subject=TENANT, level=level, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("complaints", "delivered", "level"),
    [
        (0, 0, Level.GOOD),
        (9, 9, Level.GOOD),  # too few to speak of a rate
        (10, 10_001, Level.GOOD),
        (10, 10_000, Level.WARN),
        (20, 10_000, Level.SLOW),
        (30, 10_000, Level.HOLD),
        (10, 0, Level.HOLD),  # of mail whose days are over
    ],
)
def test_levels_rise_with_the_share(
    complaints: int, delivered: int, level: Level
) -> None:
    assert level_of(rate(complaints, delivered), LIMITS) is level


def test_a_level_that_is_off_is_not_reached() -> None:
    limits = Thresholds(slow=None, hold=None)
    assert level_of(rate(50, 100), limits) is Level.WARN
    assert level_of(rate(50, 100), Thresholds(warn=None, slow=None, hold=None)) is (
        Level.GOOD
    )


def test_a_provider_s_rate_is_told_of_and_no_more() -> None:
    yahoo = Subject(scope=Scope.PROVIDER, name="yahoo")
    assert level_of(rate(50, 100, yahoo), LIMITS) is Level.WARN


def test_deliveries_count_where_complaints_are_reported() -> None:
    rival = TenantId("rival")
    found = {
        one.subject: one
        for one in rates(
            [
                sent(4, 1_000),
                sent(2, 500, domain=2),
                sent(0, 90_000, provider="google"),  # reports nothing
                sent(0, 300, provider="yahoo", tenant=rival, domain=3),
            ]
        )
    }
    assert found[TENANT] == rate(6, 1_500)
    domain = Subject(scope=Scope.DOMAIN, name="2", tenant=ACME)
    assert found[domain] == rate(2, 500, domain)
    yahoo = Subject(scope=Scope.PROVIDER, name="yahoo")
    assert found[yahoo] == rate(6, 1_800, yahoo)
    assert not any(one.tenant == rival for one in found)  # nobody complained of it


def test_the_worst_rate_comes_first() -> None:
    worst, *_ = rates([sent(1, 1_000), sent(5, 100, domain=2)])
    assert worst.subject == Subject(scope=Scope.DOMAIN, name="2", tenant=ACME)


def moved(found: list[Rate], known: list[Standing], now: int = 100) -> list[Move]:
    return list(moves(found, known, LIMITS, now=now))


def test_a_level_is_told_of_when_it_is_reached_and_when_it_is_left() -> None:
    (rose,) = moved([rate(30, 10_000)], [])
    assert (rose.before, rose.now.level, rose.now.since) == (
        Level.GOOD,
        Level.HOLD,
        100,
    )
    (fell,) = moved([], [rose.now], now=200)
    assert (fell.before, fell.now.level, fell.now.since) == (
        Level.HOLD,
        Level.GOOD,
        200,
    )


def test_numbers_move_without_the_level() -> None:
    (move,) = moved([rate(21, 10_000)], [standing(Level.SLOW)])
    assert (move.before, move.now.level, move.now.since) == (Level.SLOW, Level.SLOW, 5)
    assert moved([rate(20, 10_000)], [standing(Level.SLOW)]) == []
    assert moved([rate(1, 10_000)], []) == []


def test_who_is_spared_is_warned_of_until_that_is_over() -> None:
    held = standing(Level.HOLD, complaints=30, spared_until=150)
    (move,) = moved([rate(30, 10_000)], [held], now=100)
    assert (move.before, move.now.level) == (Level.HOLD, Level.WARN)
    (again,) = moved([rate(30, 10_000)], [move.now], now=150)
    assert (again.now.level, again.now.spared_until) == (Level.HOLD, 0)


def test_a_rate_is_said_in_one_sentence() -> None:
    assert said(rate(21, 10_000), {TENANT: "acme"}) == (
        "0.21 % of the mail of tenant acme was complained of: 21 of 10000 recipients"
    )
