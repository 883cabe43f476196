"""What a preflight asks of DNS, and how silence and foreign addresses come out."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from soboo_mta.formats.keys import generate_rsa
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.preflight.values import Observed
from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import DomainState, Plan
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.preflight import Intended, observe
from soboo_mta.ports import TlsPolicy
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import FACTS, OPERATOR, OUT_1, SETTINGS, key, published

_SUFFIXES = SuffixList()
_PAIR = generate_rsa(1024)
_ONE = replace(SETTINGS, keys=(key(1, "sb1", p=_PAIR.p),))
_SB1 = "sb1._domainkey.customer.com"


def _dns() -> FakeResolver:
    dns = published(_ONE)
    dns.add("bounce.customer.com", "CNAME", "tok7.b.esp.example.")
    dns.add(_SB1, "CNAME", "sb1.tok7.k.esp.example.")
    dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")
    dns.add("customer.com", "MX", "10 mx.customer.com")
    dns.add("1.2.0.192.in-addr.arpa", "PTR", "mta1.esp.example.")
    return dns


async def _observed(dns: FakeResolver, **changes: object) -> Observed:
    facts = replace(FACTS, usable=(_ONE.keys[0].key_id,), **changes)  # type: ignore[arg-type]
    state = DomainState(settings=_ONE, was_verified=True, facts=facts)
    intended = Intended(
        state=state, source=OUT_1, operator=OPERATOR, tls=TlsPolicy.OPPORTUNISTIC
    )
    return await observe(intended, dns, _SUFFIXES)


async def test_a_receivers_look_ups_are_made_and_their_cost_counted() -> None:
    seen = await _observed(_dns())

    assert isinstance(seen.departure, Plan)
    assert [(one.owner, one.bits, one.fault) for one in seen.keys] == [(_SB1, 1024, "")]
    assert seen.spf is not None
    assert (seen.spf.domain, seen.spf.result, seen.spf.lookups) == (
        "bounce.customer.com",
        "pass",
        0,
    )
    assert seen.ehlo_spf.result == "pass"
    assert seen.reverse.names == (("mta1.esp.example", (ip_address("192.0.2.1"),)),)
    assert seen.ehlo_addresses == (ip_address("192.0.2.1"),)
    assert [hosts.hosts for hosts in seen.mail_hosts] == [
        ("mx.customer.com",),
        ("mx1.esp.example", "mx2.esp.example"),
    ]
    assert seen.dmarc is not None
    assert seen.dmarc.found_at == "_dmarc.customer.com"


async def test_each_question_is_asked_once() -> None:
    dns = _dns()

    await _observed(dns)

    assert len(dns.asked) == len(set(dns.asked))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (key_text(replace(_ONE.keys[0], p="AAAA")), "another key"),
        (key_text(_ONE.keys[0]) + "; t=y", "t=y"),
    ],
)
async def test_a_key_that_receivers_cannot_use_says_why(text: str, fault: str) -> None:
    dns = _dns()
    dns.replace("sb1.tok7.k.esp.example", "TXT", text)

    (seen,) = (await _observed(dns)).keys

    assert seen.fault is not None
    assert fault in seen.fault


async def test_what_is_silent_is_told_from_what_is_missing() -> None:
    dns = _dns()
    dns.silent |= {
        _SB1,
        "tok7.b.esp.example",
        "_dmarc.com",
        "1.2.0.192.in-addr.arpa",
        "mta1.esp.example",
    }
    silent = await _observed(dns)

    assert silent.keys[0].fault is None
    assert silent.spf is not None
    assert silent.spf.is_unknown
    assert silent.dmarc is None
    assert silent.reverse.names is None
    assert silent.ehlo_addresses is None
    assert silent.mail_hosts[1].hosts is None

    empty = await _observed(FakeResolver())

    assert empty.keys[0].fault == "there is no TXT record"
    assert empty.reverse.names == ()
    assert empty.ehlo_addresses == ()
    assert empty.dmarc is not None
    assert not empty.dmarc.walk.has_record


async def test_where_nothing_departs_the_keys_are_looked_at_all_the_same() -> None:
    dns = _dns()
    dns.remove(_SB1)

    seen = await _observed(dns, bounce_ready=False, spf_bounce=())
    state = DomainState(settings=_ONE, was_verified=False, facts=None)
    never = await observe(
        Intended(state=state, source=OUT_1, operator=OPERATOR, tls=TlsPolicy.NONE),
        dns,
        _SUFFIXES,
    )

    assert seen.keys[0].fault == "there is no TXT record"
    assert never.spf is None
    assert [one.owner for one in never.keys] == [_SB1]


async def test_foreign_report_addresses_have_to_agree() -> None:
    dns = _dns()
    rua = "mailto:a@customer.com, mailto:b@r1.example!10m,mailto:c@r2.example,mailto:d@r3.example"
    dns.replace("_dmarc.customer.com", "TXT", f"v=DMARC1; p=none; rua={rua}")
    dns.add("customer.com._report._dmarc.r1.example", "TXT", "v=DMARC1;")
    dns.silent.add("customer.com._report._dmarc.r3.example")

    seen = await _observed(dns)

    assert seen.dmarc is not None
    assert [(one.host, one.is_authorised) for one in seen.dmarc.reports] == [
        ("r1.example", True),
        ("r2.example", False),
        ("r3.example", None),
    ]


async def test_a_record_above_is_found_and_its_owner_is_the_one_to_authorise() -> None:
    settings = replace(_ONE, name=Domain("news.customer.com"))
    dns = _dns()
    dns.replace(
        "_dmarc.customer.com", "TXT", "v=DMARC1; p=none; rua=mailto:b@r1.example"
    )
    state = DomainState(settings=settings, was_verified=True, facts=FACTS)

    seen = await observe(
        Intended(state=state, source=OUT_1, operator=OPERATOR, tls=TlsPolicy.NONE),
        dns,
        _SUFFIXES,
    )

    assert seen.dmarc is not None
    assert seen.dmarc.found_at == DnsName("_dmarc.customer.com")
    assert seen.dmarc.reports[0].owner == "customer.com._report._dmarc.r1.example"
