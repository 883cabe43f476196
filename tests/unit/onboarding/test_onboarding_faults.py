"""Which questions a look asks: one a record while all is well, more where it is new or
wrong; and what resolvers that lag behind are told apart by."""

from dataclasses import replace
from datetime import timedelta

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import (
    DomainSettings,
    Facts,
    Fault,
    Mode,
    RecordCheck,
    RecordStatus,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from soboo_mta.onboarding.judging.targets import OurNames, stray
from soboo_mta.ports import NamedResolver, RecordType
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, SETTINGS, published

_SUFFIXES = SuffixList()
_SB1 = "sb1._domainkey.customer.com"
_TOKEN = "abcdefghijklmnopqrstuvwx"
_HOUR = 3_600.0  # seconds


class Watch:
    """Looks as the monitor does, at the zones' servers and at one cache."""

    def __init__(self, settings: DomainSettings = SETTINGS) -> None:
        self.settings = settings
        self.clock = FakeClock()
        self.servers, self.cache = _dns(settings), _dns(settings)
        self.facts: Facts | None = None
        self.checks: tuple[RecordCheck, ...] = ()
        self._check = DomainCheck(
            resolver=self.servers,
            operator=OPERATOR,
            suffixes=_SUFFIXES,
            clock=self.clock,
            options=CheckOptions(negative_ttl=timedelta(hours=1)),
            resolvers=[NamedResolver("192.0.2.53", self.cache)],
        )

    async def look(self, *, is_thorough: bool = False) -> CheckResult:
        self.servers.asked.clear()
        self.cache.asked.clear()
        result = await self._check.check(
            self.settings, self.facts, self.checks, is_thorough=is_thorough
        )
        self.facts, self.checks = result.facts, result.checks
        return result

    def at(self, owner: str) -> RecordCheck:
        return next(check for check in self.checks if check.record.owner == owner)

    def remembered(self) -> list[tuple[str, RecordType]]:
        """What the cache was asked of this domain; all ask it for what is above."""
        return [one for one in self.cache.asked if one[0] != "_dmarc.com"]


def _dns(settings: DomainSettings) -> FakeResolver:
    dns = published(settings)
    dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")
    if settings.mode is Mode.MANUAL:
        for one in settings.keys:
            dns.add(f"{one.selector}._domainkey.customer.com", "TXT", key_text(one))
        return dns
    dns.add("bounce.customer.com", "CNAME", "tok7.b.esp.example.")
    for slot in ("sb1", "sb2", "sb3"):
        dns.add(
            f"{slot}._domainkey.customer.com", "CNAME", f"{slot}.tok7.k.esp.example"
        )
    return dns


# ---- caches


async def test_caches_are_asked_while_a_record_is_new_and_then_no_more() -> None:
    watch = Watch()

    await watch.look()
    assert (_SB1, RecordType.TXT) in watch.cache.asked

    watch.clock.advance(_HOUR)
    await watch.look()
    assert (_SB1, RecordType.TXT) in watch.cache.asked

    watch.clock.advance(watch.cache.ttl)
    await watch.look()
    assert watch.remembered() == []


async def test_a_person_who_asks_sees_into_the_caches_at_any_time() -> None:
    watch = Watch()
    await watch.look()
    watch.clock.advance(2 * _HOUR)

    await watch.look(is_thorough=True)

    assert (_SB1, RecordType.TXT) in watch.cache.asked


async def test_a_record_that_is_mended_is_new_again() -> None:
    watch = Watch()
    await watch.look()
    watch.clock.advance(2 * _HOUR)
    watch.servers.replace(_SB1, "CNAME", "s1.other.example.")
    await watch.look()
    assert watch.at(_SB1).status is RecordStatus.WRONG
    assert watch.remembered() == []  # wrong at its servers: not asked elsewhere

    watch.servers.replace(_SB1, "CNAME", "sb1.tok7.k.esp.example.")
    watch.cache.replace(_SB1, "CNAME", "s1.other.example.")
    await watch.look()

    check = watch.at(_SB1)
    assert (check.status, check.fault) == (RecordStatus.GOOD, Fault.STALE_CACHE)
    assert "remember CNAME s1.other.example. until about" in check.cause
    assert watch.facts
    assert watch.facts.usable == (1, 2)


async def test_a_stale_cache_is_asked_until_it_has_forgotten() -> None:
    watch = Watch()
    watch.cache.remove(_SB1)
    await watch.look()
    assert watch.at(_SB1).fault is Fault.NEGATIVE_CACHE

    watch.clock.advance(10 * _HOUR)
    await watch.look()
    assert watch.at(_SB1).fault is Fault.NEGATIVE_CACHE

    watch.cache.add(_SB1, "CNAME", "sb1.tok7.k.esp.example.")
    await watch.look()
    assert watch.at(_SB1).fault is Fault.NONE


async def test_a_silent_cache_tells_nothing() -> None:
    watch = Watch()
    watch.cache.silent.add(_SB1)

    await watch.look()

    assert watch.at(_SB1).fault is Fault.NONE


async def test_a_key_of_before_is_what_a_cache_remembers() -> None:
    watch = Watch(replace(SETTINGS, mode=Mode.MANUAL))
    watch.cache.replace(_SB1, "TXT", "v=DKIM1; p=AAAA")

    await watch.look()

    assert "remember v=DKIM1; p=AAAA until" in watch.at(_SB1).cause


# ---- questions


async def test_what_is_settled_costs_one_question_a_record() -> None:
    watch = Watch()
    await watch.look()
    watch.clock.advance(2 * _HOUR)

    await watch.look()

    below = [name for name, _ in watch.servers.asked if name.endswith("customer.com")]
    records = [check.record.owner for check in watch.checks]
    names_of_dmarc = ["_dmarc.bounce.customer.com"]  # of the walks
    spf = ["bounce.customer.com"]  # is TXT at the bounce host
    assert sorted(below) == sorted([*records, *names_of_dmarc, *spf])


async def test_who_is_to_take_reports_is_asked_once_and_while_they_refuse() -> None:
    watch = Watch()
    watch.servers.replace(
        "_dmarc.customer.com", "TXT", "v=DMARC1; p=none; rua=mailto:d@reports.example"
    )
    agreed = "customer.com._report._dmarc.reports.example"

    await watch.look()
    check = watch.at("_dmarc.customer.com")
    assert (check.status, check.fault) == (RecordStatus.GOOD, Fault.DMARC_REPORTS)
    assert f'{agreed} TXT "v=DMARC1"' in check.mend

    watch.servers.add(agreed, "TXT", "v=DMARC1")
    await watch.look()
    assert watch.at("_dmarc.customer.com").fault is Fault.NONE

    await watch.look()
    assert (agreed, RecordType.TXT) not in watch.servers.asked
    await watch.look(is_thorough=True)
    assert (agreed, RecordType.TXT) in watch.servers.asked


async def test_a_check_says_what_was_asked_and_when_it_is_asked_again() -> None:
    watch = Watch()

    result = await watch.look()

    assert watch.at(_SB1).query == f"{_SB1}. TXT"
    assert watch.at("bounce.customer.com").query == "bounce.customer.com. MX"
    assert {check.next_check_at for check in result.checks} == {result.next_check_at}


async def test_our_cname_beside_a_text_is_a_conflict() -> None:
    """Few DNS hosts keep both; what receivers then get is a matter of luck."""
    watch = Watch()
    watch.servers.add(_SB1, "TXT", "v=DKIM1; p=AAAA")

    await watch.look()

    check = watch.at(_SB1)
    assert (check.status, check.fault) == (RecordStatus.WRONG, Fault.CONFLICT)
    assert check.found.startswith("CNAME sb1.tok7.k.esp.example., ")


# ---- targets


def test_a_token_typed_wrongly_is_no_other_accounts() -> None:
    ours = OurNames(operator=OPERATOR.domain, token=_TOKEN)
    wanted = DnsName(f"{_TOKEN}.b.esp.example")

    def whose(target: str) -> Fault:
        return stray(DnsName(target), wanted, ours).fault

    assert whose(f"{_TOKEN[:-1]}.b.esp.example") is Fault.MISTYPED_TARGET
    assert whose(f"{_TOKEN[::-1]}.b.esp.example") is Fault.OTHER_ACCOUNT
    assert whose("b.esp.example") is Fault.MISTYPED_TARGET
    assert whose("u1.wl.sendgrid.net") is Fault.OTHER_PROVIDER
    assert whose("notsendgrid.net") is Fault.WRONG_TARGET
