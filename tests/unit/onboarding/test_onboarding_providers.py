"""DNS hosts: told by their name servers, and what is said of their forms."""

import re

import pytest

from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.providers.provider import HostNames
from soboo_mta.onboarding.providers.recognition import (
    Zone,
    provider_named,
    recognised,
    zone_of,
)
from soboo_mta.onboarding.providers.table import PROVIDERS
from soboo_mta.ports import Unanswered
from tests.fakes.dns import FakeResolver

ZONE = Domain("customer.com")


@pytest.mark.parametrize(
    ("servers", "key"),
    [
        ("emma.ns.cloudflare.com scott.ns.cloudflare.com", "cloudflare"),
        ("ns-1.awsdns-00.com ns-1999.awsdns-54.co.uk ns-7.awsdns-1.net", "route53"),
        ("ns-cloud-c1.googledomains.com ns-cloud-c4.googledomains.com", "google-cloud"),
        ("ns01.domaincontrol.com ns02.domaincontrol.com", "godaddy"),
        ("dns1.registrar-servers.com", "namecheap"),
        ("ns1026.ui-dns.org ns1071.ui-dns.de", "ionos"),
        ("dns12.ovh.net ns12.ovh.net", "ovh"),
        ("ns-12-a.gandi.net", "gandi"),
        ("hydrogen.ns.hetzner.com helium.ns.hetzner.de", "hetzner"),
        ("ns1-07.azure-dns.com ns4-07.azure-dns.info", "azure"),
        ("ns1.digitalocean.com", "digitalocean"),
        ("ns1.dnsimple.com ns2.dnsimple-edge.net", "dnsimple"),
        ("dns1.p01.nsone.net", "ns1"),
        ("ns1.vercel-dns.com", "vercel"),
        ("ns4.wixdns.net", "wix"),
        ("ns1.dns-parking.com", "hostinger"),
        ("ns.inwx.de ns2.inwx.de ns3.inwx.eu", "inwx"),
        ("nsany1.infomaniak.com", "infomaniak"),
        ("salvador.ns.porkbun.com", "porkbun"),
        ("ns1.desec.io ns2.desec.org", "desec"),
        ("kiki.bunny.net coco.bunny.net", "bunny"),
        ("a1-12.akam.net", "akamai"),
        ("ns1.p68.dns.oraclecloud.net", "oracle"),
        ("ns1.linode.com ns5.linode.com", "linode"),
    ],
)
def test_a_dns_host_is_told_by_its_name_servers(servers: str, key: str) -> None:
    found = recognised(map(DnsName, servers.split()))
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize(
    "servers",
    [
        "",
        "ns1.customer.com ns2.customer.com",
        "ns1.customer.com emma.ns.cloudflare.com",
        "ns1.linode.com emma.ns.cloudflare.com",
        "ns.cloudflare.com.customer.com",
        "evil-linode.com",
    ],
)
def test_what_is_unknown_or_mixed_is_nobodys(servers: str) -> None:
    assert recognised(map(DnsName, servers.split())) is None


def test_keys_are_unique_words_and_no_pattern_is_of_two_hosts() -> None:
    keys = [one.key for one in PROVIDERS]
    assert len(set(keys)) == len(keys) >= 25
    assert all(re.fullmatch(r"[a-z0-9-]{1,32}", key) for key in keys)
    patterns = [pattern for one in PROVIDERS for pattern in one.servers]
    assert len(set(patterns)) == len(patterns)
    for provider in PROVIDERS:
        for pattern in provider.servers:
            server = pattern.replace("*", "ns1").replace("?", "1")
            assert recognised([DnsName(server)]) is provider, pattern


def test_a_host_is_named_by_its_key_in_any_case() -> None:
    for provider in PROVIDERS:
        assert provider_named(provider.key.upper()) is provider
    assert provider_named("none") is None
    with pytest.raises(FormatError, match=r"no DNS host 'clodflare'.*cloudflare.*none"):
        provider_named("clodflare")


def test_advice_is_of_the_form_of_the_host() -> None:
    aws, flare = provider_named("route53"), provider_named("cloudflare")
    electric, wix = provider_named("hurricane-electric"), provider_named("wix")
    assert aws
    assert flare
    assert electric
    assert wix
    assert aws.advice(zone=ZONE)[:2] == (
        "the DNS of customer.com is at Amazon Route 53: "
        "console > Route 53 > Hosted zones > the zone > Create record",
        "its form adds .customer.com to what is typed: leave that off",
    )
    assert "DNS only" in " ".join(flare.advice())
    assert "leave that off" not in " ".join(flare.advice())
    assert "its form takes names in full" in electric.advice(zone=ZONE)
    assert "mode cname" in wix.advice(with_ns=True)[-1]
    assert "mode cname" not in " ".join(wix.advice() + aws.advice(with_ns=True))


def test_no_sentence_of_advice_ends_in_a_full_stop() -> None:
    for provider in PROVIDERS:
        for sentence in provider.advice(with_ns=True):
            assert sentence == sentence.strip().removesuffix(".")


def test_a_name_is_typed_as_the_form_wants_it() -> None:
    aws, electric = provider_named("route53"), provider_named("hurricane-electric")
    assert aws
    assert electric
    assert aws.host_names is HostNames.RELATIVE
    assert aws.typed_name("sb1._domainkey.customer.com", ZONE) == "sb1._domainkey"
    assert aws.typed_name("customer.com", ZONE) == "@"
    assert electric.typed_name("em.customer.com", ZONE) == "em.customer.com"


async def test_the_zone_of_a_name_is_the_closest_with_name_servers() -> None:
    dns = FakeResolver()
    dns.add("customer.com", "NS", "ns1.linode.com")
    dns.add("customer.com", "NS", "ns2.linode.com")
    dns.add("alias.customer.com", "CNAME", "elsewhere.net")
    dns.add("elsewhere.net", "NS", "emma.ns.cloudflare.com")
    servers = (DnsName("ns1.linode.com"), DnsName("ns2.linode.com"))
    for name in ("customer.com", "a.news.customer.com", "alias.customer.com"):
        assert await zone_of(Domain(name), dns) == Zone(ZONE, servers)


async def test_without_an_answer_no_zone_is_made_up() -> None:
    dns = FakeResolver()
    dns.add("customer.com", "NS", "ns1.linode.com")
    dns.silent = {"news.customer.com"}
    assert isinstance(await zone_of(Domain("news.customer.com"), dns), Unanswered)
    assert isinstance(await zone_of(Domain("other.net"), dns), Unanswered)
