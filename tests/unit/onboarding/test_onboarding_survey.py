"""What is read before a domain is set up, and the set-up that fits it."""

from collections.abc import Iterable

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Mode, Operator
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.survey import (
    BOUNCE_LABELS,
    SELECTORS,
    ZONE_LABELS,
    Advice,
    Survey,
    advise,
    survey,
)
from tests.fakes.dns import FakeResolver

NAME = Domain("customer.com")
OPERATOR = Operator(
    domain=Domain("esp.example"),
    bounce_domain=Domain("bounce.esp.example"),
    mx_hosts=(Domain("mx.esp.example"),),
    sources=(),
    keys=(),
)
SUFFIXES = SuffixList()


@pytest.fixture
def dns() -> FakeResolver:
    made = FakeResolver()
    made.add("customer.com", "NS", "ns1.host.example")
    made.add("customer.com", "NS", "ns2.host.example")
    return made


async def look(dns: FakeResolver, name: Domain = NAME) -> Survey:
    return await survey(
        name, resolver=dns, operator=OPERATOR, suffixes=SUFFIXES, probe="made-up"
    )


async def advice(
    dns: FakeResolver, *, zones: bool = False, wanted: Mode | None = None
) -> Advice:
    return advise(await look(dns), serves_zones=zones, wanted=wanted)


async def test_an_empty_domain_gets_the_usual_labels(dns: FakeResolver) -> None:
    found = await advice(dns)
    assert (found.mode, found.zone, found.bounce_label) == (Mode.CNAME, None, "bounce")
    assert found.selectors == ("sb1", "sb2", "sb3")


async def test_a_zone_is_best_where_the_operator_serves_zones(
    dns: FakeResolver,
) -> None:
    found = await advice(dns, zones=True)
    assert (found.mode, found.zone) == (Mode.ZONE, "em.customer.com")


async def test_strict_dkim_alignment_speaks_for_cnames(dns: FakeResolver) -> None:
    dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject; adkim=s")
    found = await advice(dns, zones=True)
    assert found.mode is Mode.CNAME
    assert "adkim=s" in found.because[0]
    assert "policy is reject" in found.because[-1]


async def test_what_is_wanted_is_not_argued_with(dns: FakeResolver) -> None:
    found = await advice(dns, zones=False, wanted=Mode.ZONE)
    assert (found.mode, found.zone) == (Mode.ZONE, "em.customer.com")


@pytest.mark.parametrize(
    ("kind", "value"),
    [("TXT", "v=spf1 -all"), ("A", "192.0.2.1"), ("CNAME", "u1.wl.sendgrid.net")],
)
async def test_a_bounce_host_of_others_is_left_alone(
    dns: FakeResolver, kind: str, value: str
) -> None:
    dns.add("bounce.customer.com", kind, value)
    found = await advice(dns)
    assert found.bounce_label == "bounces"
    assert any("bounce.customer.com is not free" in why for why in found.because)


async def test_selectors_of_others_are_stepped_over(dns: FakeResolver) -> None:
    dns.add("sb2._domainkey.customer.com", "TXT", "v=DKIM1; p=abc")
    found = await advice(dns)
    assert found.selectors == ("sb1", "sb3", "sb5")


async def test_a_name_nothing_was_heard_of_is_not_taken(dns: FakeResolver) -> None:
    dns.silent.add("bounce.customer.com")
    found = await advice(dns)
    assert found.bounce_label == "bounces"


async def test_what_an_earlier_set_up_left_is_taken_again(dns: FakeResolver) -> None:
    dns.add("bounce.customer.com", "CNAME", "old.b.esp.example")
    dns.add("sb1._domainkey.customer.com", "CNAME", "sb1.old.k.esp.example")
    dns.add("em.customer.com", "NS", "ns1.old.n.esp.example")
    found = await advice(dns, zones=True)
    assert (found.zone, found.selectors[0]) == ("em.customer.com", "sb1")
    assert (await advice(dns)).bounce_label == "bounce"


@pytest.mark.parametrize(
    ("kind", "value"), [("CNAME", "shop.example"), ("TXT", "hello"), ("A", "192.0.2.9")]
)
async def test_a_wildcard_says_nothing_of_a_label(kind: str, value: str) -> None:
    dns = _Wild(zone={"customer.com": [("NS", "ns1.host.example")]})
    dns.wild = (kind, value)
    found = await look(dns)
    assert found.has_wildcard
    assert found.taken == {}
    assert any("wildcard" in why for why in advise(found, serves_zones=False).because)


class _Wild(FakeResolver):
    """Answers for every name below customer.com that has no records of its own."""

    wild: tuple[str, str]

    async def lookup(self, name, kind, *, fresh=False):  # type: ignore[no-untyped-def]
        if name.endswith(".customer.com") and name not in self.zone:
            other = FakeResolver(zone={name: [self.wild]})
            return await other.lookup(name, kind)
        return await super().lookup(name, kind)


async def test_a_domain_in_no_zone_is_refused() -> None:
    with pytest.raises(FormatError, match="not registered"):
        await advice(FakeResolver())


async def test_a_zone_above_the_organisation_is_not_its_own() -> None:
    dns = FakeResolver()
    dns.add("com", "NS", "a.gtld.example")
    assert (await look(dns)).zone is None


async def test_a_subdomain_is_held_by_the_zone_above(dns: FakeResolver) -> None:
    found = await look(dns, Domain("news.customer.com"))
    assert found.zone == "customer.com"
    assert found.name_servers == ("ns1.host.example", "ns2.host.example")


@pytest.mark.parametrize(
    ("labels", "below", "mode"),
    [
        (BOUNCE_LABELS, "customer.com", Mode.CNAME),
        (SELECTORS, "_domainkey.customer.com", Mode.CNAME),
        (ZONE_LABELS, "customer.com", Mode.ZONE),
    ],
)
async def test_with_no_label_free_the_option_is_named(
    dns: FakeResolver, labels: Iterable[str], below: str, mode: Mode
) -> None:
    for label in labels:
        dns.add(f"{label}.{below}", "TXT", "something")
    with pytest.raises(FormatError, match=r"free below .*choose"):
        await advice(dns, wanted=mode)


async def test_names_asked_are_few(dns: FakeResolver) -> None:
    await look(dns)
    assert len(dns.asked) < 25
    assert DnsName("made-up.customer.com") in {name for name, _ in dns.asked}
