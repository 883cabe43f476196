"""What DNS shows of the provider of a customer's mailbox."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from soboo_mta.identity.preflight.values import WaySeen
from soboo_mta.identity.state import DomainState, Mode
from soboo_mta.mail.way_out import MailboxProvider, WayOut
from soboo_mta.onboarding.ways import see_way
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import FACTS, NOTHING, state
from tests.fakes.tenancy import MAILBOX, RELAY

_MICROSOFT = replace(MAILBOX, provider=MailboxProvider.MICROSOFT)
_KEY = "v=DKIM1; k=rsa; p=MIIB"


async def seen(
    dns: FakeResolver, way: WayOut = MAILBOX, one: DomainState | None = None
) -> WaySeen:
    mode = Mode.RELAY if way == RELAY else Mode.MAILBOX
    one = one or state(NOTHING, mode=mode, way_out=way)
    found = await see_way(one, dns, address=ip_address("192.0.2.1"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("way", "owner", "include"),
    [
        (MAILBOX, "google._domainkey", "_spf.google.com"),
        (_MICROSOFT, "selector2._domainkey", "spf.protection.outlook.com"),
    ],
)
async def test_a_providers_key_and_include_are_found(
    way: WayOut, owner: str, include: str
) -> None:
    dns = FakeResolver()
    dns.add(f"{owner}.customer.com", "CNAME", "key.provider.example")
    dns.add("key.provider.example", "TXT", _KEY)
    dns.add("customer.com", "TXT", "v=spf1 include:_own.customer.com ~all")
    dns.add("_own.customer.com", "TXT", f"v=spf1 include:{include} -all")
    dns.add(include, "TXT", "v=spf1 ip4:198.51.100.0/24 -all")
    found = await seen(dns, way)
    assert (found.signs, found.spf, found.is_silent) == (True, True, False)


@pytest.mark.parametrize(
    ("key", "spf"),
    [
        ("v=DKIM1; p=", "v=spf1 -all include:_spf.google.com"),
        ("v=DKIM1; p=; n=p=1", "v=spf1 ?include:_spf.google.com ~all"),
        ("no key", "v=spf1 include:spf.protection.outlook.com ~all"),
    ],
)
async def test_a_revoked_key_and_an_include_that_gives_no_pass_do_not_count(
    key: str, spf: str
) -> None:
    dns = FakeResolver()
    dns.add("google._domainkey.customer.com", "TXT", key)
    dns.add("customer.com", "TXT", spf)
    for name in ("_spf.google.com", "spf.protection.outlook.com"):
        dns.add(name, "TXT", "v=spf1 ip4:198.51.100.0/24 -all")
    found = await seen(dns)
    assert (found.signs, found.spf, found.is_silent) == (False, False, False)


async def test_silence_is_said() -> None:
    dns = FakeResolver(silent={"google._domainkey.customer.com"})
    assert (await seen(dns)).is_silent
    dns = FakeResolver(silent={"customer.com"})
    assert (await seen(dns)).is_silent


async def test_of_a_relay_nothing_but_our_own_key_is_known() -> None:
    assert not (await seen(FakeResolver(), RELAY)).ours
    one = state(FACTS, mode=Mode.RELAY, way_out=RELAY)
    found = await seen(FakeResolver(), RELAY, one)
    assert (found.ours, found.signs, found.spf) == (True, None, None)


async def test_a_domain_without_a_way_of_its_own_has_none_to_see() -> None:
    found = await see_way(state(), FakeResolver(), address=ip_address("192.0.2.1"))
    assert found is None
