"""The operator's own domain: looked at when it is asked for, by TTL, and after key changes."""

from dataclasses import replace

from soboo_mta.formats.keys import dkim_txt, generate_rsa
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.plan import depart
from soboo_mta.identity.state import (
    Algorithm,
    KeyState,
    Operator,
    Plan,
    PublicKey,
    Verdict,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import KeyId
from soboo_mta.onboarding.check import CheckOptions, DomainCheck, OwnDomainCheck
from tests.fakes.clock import FakeClock
from tests.fakes.connector import OPERATOR, SOURCE
from tests.fakes.dns import FakeResolver

PAIR, NEXT = generate_rsa(), generate_rsa()
PLACE = "op1._domainkey.esp.example"


def with_key(p: str, number: int = 1) -> Operator:
    key = PublicKey(
        key_id=KeyId(number),
        selector=DnsName("op1"),
        algorithm=Algorithm.RSA,
        state=KeyState.ACTIVE,
        p=p,
    )
    return replace(OPERATOR, keys=(key,))


class Own:
    """The check with its DNS; `looks` counts the looks."""

    def __init__(self, clock: FakeClock, *, is_assumed: bool = False) -> None:
        self.dns = FakeResolver()
        self.dns.add(PLACE, "TXT", dkim_txt(PAIR.p, Algorithm.RSA))
        self.dns.add("_dmarc.esp.example", "TXT", "v=DMARC1; p=reject")
        self.clock = clock
        self.looks = 0
        self.check = OwnDomainCheck(check=self.make, clock=clock, is_assumed=is_assumed)

    def make(self, operator: Operator) -> DomainCheck:
        self.looks += 1
        return DomainCheck(
            resolver=self.dns,
            operator=operator,
            suffixes=SuffixList(),
            clock=self.clock,
            options=CheckOptions(),
        )

    async def plan(self, operator: Operator) -> object:
        return depart(await self.check.state(operator), SOURCE, operator)


async def test_a_published_key_signs_and_aligns_with_the_operators_domain(
    clock: FakeClock,
) -> None:
    own = Own(clock)
    plan = await own.plan(with_key(PAIR.p))
    assert isinstance(plan, Plan)
    assert plan.verdict is Verdict.PASS
    assert [str(one.domain) for one in plan.signatures] == ["esp.example"]


async def test_a_key_that_is_not_the_published_one_signs_nothing(
    clock: FakeClock,
) -> None:
    assert not isinstance(await Own(clock).plan(with_key(NEXT.p)), Plan)


async def test_it_is_looked_at_by_ttl_and_anew_when_the_keys_change(
    clock: FakeClock,
) -> None:
    own = Own(clock)
    for _ in range(3):
        await own.plan(with_key(PAIR.p))
    assert own.looks == 1
    clock.advance(2 * 3_600)
    await own.plan(with_key(PAIR.p))
    assert own.looks == 2
    await own.plan(with_key(NEXT.p, 2))
    assert own.looks == 3


async def test_a_test_harness_needs_no_dns(clock: FakeClock) -> None:
    own = Own(clock, is_assumed=True)
    own.dns = FakeResolver()
    assert isinstance(await own.plan(with_key(PAIR.p)), Plan)
