"""What a released domain leaves behind is watched until it was clean for a week."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from soboo_mta.identity.standing import RecordName
from soboo_mta.identity.state import DomainSettings, Mode
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.watch.released import (
    Leads,
    ReleasedLook,
    ReleasedOptions,
    ReleasedWatch,
    judged,
    names_left,
)
from soboo_mta.ports import Delegation, RecordType, ServerAnswer, Unanswered
from soboo_mta.tenancy.domains import LeftName, ReleasedDomain
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, SETTINGS

OPTIONS = ReleasedOptions()
DAY = 86_400_000
BOUNCE = RecordName(DnsName("bounce.customer.com"), RecordType.CNAME)
SB1 = RecordName(DnsName("sb1._domainkey.customer.com"), RecordType.CNAME)
TARGET = DnsName("tok7.b.esp.example")
ZONE = replace(SETTINGS, mode=Mode.ZONE, zone=Domain("em.customer.com"), keys=())
EM = RecordName(DnsName("em.customer.com"), RecordType.NS)
LEFT = LeftName(name=BOUNCE, target=TARGET, since=3, seen_at=5)


def released(
    *left: LeftName, clean_looks: int = 0, settings: DomainSettings = SETTINGS
) -> ReleasedDomain:
    return ReleasedDomain(
        settings=replace(settings, keys=()),
        released_at=1,
        clean_looks=clean_looks,
        next_look_at=0,
        left=left,
    )


def look(domain: ReleasedDomain, seen: Mapping[RecordName, Leads]) -> ReleasedLook:
    return judged(domain, seen, OPTIONS, now=100)


def test_what_leads_to_us_is_news_once_and_keeps_its_first_day() -> None:
    first = look(released(), {BOUNCE: TARGET, SB1: ""})
    seen = LeftName(name=BOUNCE, target=TARGET, since=100, seen_at=100)
    assert (first.left, first.found, first.cleared) == ((seen,), (seen,), ())
    assert (first.clean_looks, first.next_look_at) == (0, 100 + DAY)
    again = look(released(LEFT), {BOUNCE: TARGET, SB1: ""})
    assert again.left == (replace(LEFT, seen_at=100),)
    assert (again.found, again.cleared) == ((), ())


def test_what_is_gone_is_said_and_counts_as_clean() -> None:
    gone = look(released(LEFT), {BOUNCE: "", SB1: ""})
    assert (gone.left, gone.found, gone.cleared) == ((), (), (LEFT,))
    assert gone.clean_looks == 1


def test_no_answer_neither_clears_nor_counts() -> None:
    silent = look(released(LEFT, clean_looks=0), {BOUNCE: None, SB1: ""})
    assert (silent.left, silent.found, silent.cleared) == ((LEFT,), (), ())
    half = look(released(clean_looks=6), {BOUNCE: None, SB1: ""})
    assert (half.clean_looks, half.next_look_at) == (6, 100 + DAY)


def test_the_watch_ends_after_a_week_of_clean_looks_in_a_row() -> None:
    assert look(released(clean_looks=5), {BOUNCE: ""}).next_look_at == 100 + DAY
    assert look(released(clean_looks=6), {BOUNCE: ""}).next_look_at is None
    back = look(released(clean_looks=6), {BOUNCE: TARGET})
    assert (back.clean_looks, back.next_look_at) == (0, 100 + DAY)


@pytest.mark.parametrize("mode", [Mode.MANUAL, Mode.MAILBOX])
def test_a_mode_that_leads_nowhere_leaves_nothing_to_watch(mode: Mode) -> None:
    settings = replace(SETTINGS, mode=mode)
    assert names_left(settings, OPERATOR) == {}
    assert look(released(settings=settings), {}).next_look_at is None


def test_the_names_that_led_to_us_are_those_we_asked_for() -> None:
    cname = names_left(replace(SETTINGS, keys=()), OPERATOR)
    assert cname[BOUNCE] == (TARGET,)
    assert cname[SB1] == ("sb1.tok7.k.esp.example",)
    assert len(cname) == 4
    assert names_left(ZONE, OPERATOR) == {
        EM: ("ns1.tok7.n.esp.example", "ns2.tok7.n.esp.example")
    }


class Parents:
    """An `Authority` that knows delegations alone."""

    def __init__(self, *servers: str) -> None:
        self.said: Delegation | Unanswered = Delegation(
            tuple(map(DnsName, servers)), has_ds=False
        )

    async def each(
        self, name: str, kind: RecordType
    ) -> tuple[ServerAnswer, ...] | Unanswered:
        raise AssertionError("nobody asks")

    async def delegation(self, zone: str) -> Delegation | Unanswered:
        assert zone == "em.customer.com"
        return self.said

    async def is_bogus(self, name: str, kind: RecordType) -> bool:
        raise AssertionError("nobody asks")


class Book:
    """A `ReleasedBook` in memory: one domain that is due."""

    def __init__(self, domain: ReleasedDomain) -> None:
        self.domain = domain
        self.told: list[ReleasedLook] = []

    async def due(self, *, now: int, limit: int) -> tuple[ReleasedDomain, ...]:
        return (self.domain,)

    async def record(self, look: ReleasedLook) -> None:
        self.told.append(look)


async def one_round(
    domain: ReleasedDomain, dns: FakeResolver, parents: Parents
) -> ReleasedLook:
    book = Book(domain)
    watch = ReleasedWatch(
        resolver=dns,
        authority=parents,
        book=book,
        operator=OPERATOR,
        clock=FakeClock(),
        options=OPTIONS,
    )
    assert await watch.round() == 1
    (told,) = book.told
    return told


async def test_a_cname_to_the_released_token_dangles_and_any_other_does_not() -> None:
    dns = FakeResolver()
    dns.add("bounce.customer.com", "CNAME", "tok7.b.esp.example.")
    dns.add("sb1._domainkey.customer.com", "CNAME", "sb1.new8.k.esp.example.")
    told = await one_round(released(), dns, Parents())
    assert {one.name: one.target for one in told.left} == {BOUNCE: TARGET}
    dns.silent.add("bounce.customer.com")
    assert (await one_round(released(LEFT), dns, Parents())).left == (LEFT,)


async def test_a_look_that_breaks_keeps_the_watch_from_no_other_domain() -> None:
    class Broken(FakeResolver):
        async def lookup(self, name, kind, *, fresh=False):
            raise RuntimeError("a bug")

    told = await one_round(released(LEFT, clean_looks=0), Broken(), Parents())
    assert (told.left, told.clean_looks) == ((LEFT,), 0)
    assert told.next_look_at is not None
    assert told.next_look_at > FakeClock().unix_ms()


async def test_a_delegation_dangles_while_it_names_one_of_our_servers() -> None:
    parents = Parents("ns1.other.example", "ns2.tok7.n.esp.example")
    told = await one_round(released(settings=ZONE), FakeResolver(), parents)
    assert {one.name: one.target for one in told.left} == {EM: "ns2.tok7.n.esp.example"}
    parents.said = Unanswered(cause="time-out")
    told = await one_round(released(settings=ZONE), FakeResolver(), parents)
    assert (told.left, told.clean_looks) == ((), 0)
    parents = Parents("ns1.new8.n.esp.example")
    told = await one_round(released(settings=ZONE), FakeResolver(), parents)
    assert (told.left, told.clean_looks) == ((), 1)
