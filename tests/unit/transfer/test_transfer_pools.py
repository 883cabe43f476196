"""Which source a recipient's mail leaves from (case 163), and what becomes of a dead one (166)."""

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

from soboo_mta.identity.state import Source
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.spooled import Claimed
from soboo_mta.transfer.routing.pools import Pool, Pools
from tests.fakes.connector import SOURCE, a_message

A = replace(SOURCE, name="a")
B = replace(SOURCE, name="b")
SIX = replace(SOURCE, name="six", address=ip_address("2001:db8::1"))
FOUR = replace(SOURCE, name="four", address=ip_address("192.0.2.1"))
BOTH = frozenset((4, 6))


def a_recipient(number: int, attempts: int = 0) -> Claimed:
    to = (f"reader-{number}@there.example",)
    return Claimed(message=a_message(number, to=to), position=0, attempts=attempts)


def pools(*sources: tuple[Source, int]) -> Pools:
    return Pools(by_name={"default": Pool(name="default", sources=sources)})


def choose(
    of: Pools, number: int = 0, chosen: str | None = None, **rest: object
) -> str:
    facts = {"families": BOTH, "paused": frozenset(), **rest}
    return of.choose(a_recipient(number), chosen, **facts).name


def test_weights_are_shares_of_the_recipients():
    counted = Counter(choose(pools((A, 3), (B, 1)), number) for number in range(4_000))
    assert 0.72 < counted["a"] / 4_000 < 0.78


def test_case_163_a_recipient_keeps_its_source():
    of = pools((A, 1), (B, 1))
    first = a_recipient(7)
    later = replace(first, attempts=5, message=replace(first.message, accepted_at=99))
    facts = {"families": BOTH, "paused": frozenset()}
    assert of.choose(first, None, **facts) == of.choose(later, None, **facts)


def test_a_paused_source_moves_its_own_recipients_alone():
    of = pools((A, 1), (B, 1), (FOUR, 1))
    before = {number: choose(of, number) for number in range(300)}
    after = {n: choose(of, n, paused=frozenset(("b",))) for n in range(300)}
    assert "b" not in after.values()
    assert all(after[n] == source for n, source in before.items() if source != "b")
    everything = frozenset(("a", "b", "four"))
    assert choose(of, 1, paused=everything) == before[1]


def test_case_118_the_source_is_one_that_reaches_the_destination():
    of = pools((SIX, 1), (FOUR, 1))
    assert {choose(of, n, families=frozenset((4,))) for n in range(20)} == {"four"}
    assert {choose(of, n, families=frozenset((6,))) for n in range(20)} == {"six"}
    assert {choose(of, n) for n in range(20)} == {"six", "four"}
    assert choose(pools((SIX, 1)), families=frozenset((4,))) == "six"  # it will say so


def test_a_domain_has_its_pool_before_the_tenants_choice_before_the_default():
    of = Pools(
        by_name={
            "default": Pool(name="default", sources=((A, 1),)),
            "vip": Pool(name="vip", sources=((B, 1),)),
            "six": Pool(name="six", sources=((SIX, 1),)),
        },
    )
    assert choose(of) == "a"
    assert choose(of, chosen="vip") == "b"
    assert choose(of, chosen="gone from the settings") == "a"
    own = replace(of, of_domain={Domain("customer.example"): "six"})
    assert choose(own, chosen="vip") == "six"
