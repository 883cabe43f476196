"""From a domain to its signed address, against a real DNS host over TLS."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.http_client import HttpClientOptions, HttpsClient
from soboo_mta.onboarding.connect.discovery import (
    ConnectHost,
    NoAnswer,
    NotOffered,
    discover,
    has_template,
)
from soboo_mta.onboarding.connect.keys import ConnectKey, ConnectKeys
from soboo_mta.onboarding.connect.offer import Connect, Offer
from soboo_mta.tenancy.secrets import MasterKey
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, SETTINGS
from tests.fakes.site import Site

HOST = "dc.provider.example"
ZONE = Domain("customer.com")
TEMPLATE = "/api/v2/domainTemplates/providers/esp.example/services/soboo-cname"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> ConnectKey:
    return ConnectKeys(tmp_path_factory.mktemp("var"), MasterKey(bytes(32))).make()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with made.open(HOST):
        settings_page(made)
        made.page(TEMPLATE, b'{"version": 1}')
        yield made


def settings_page(site: Site, **changes: object) -> None:
    url = f"https://{HOST}:{site.port}"
    plain: dict[str, object] = {
        "providerId": "provider.example",
        "providerName": "Provider",
        "providerDisplayName": "The Provider",
        "urlSyncUX": f"{url}/ux/",
        "urlAPI": f"{url}/api",
        "urlControlPanel": f"{url}/zones?name=%domain%",
    }
    values = {k: v for k, v in {**plain, **changes}.items() if v is not None}
    site.page("/v2/customer.com/settings", json.dumps(values).encode())


@pytest.fixture
def dns(site: Site, key: ConnectKey) -> FakeResolver:
    zones = FakeResolver()
    zones.add(HOST, "A", "127.0.0.1")
    zones.add("customer.com", "NS", "ns1.provider.example")
    zones.add("_domainconnect.customer.com", "TXT", f"{HOST}:{site.port}")
    for text in key.texts:
        zones.add("_dck1.domainconnect.esp.example", "TXT", text)
    return zones


@pytest.fixture
def http(site: Site, dns: FakeResolver) -> HttpsClient:
    return HttpsClient(
        resolver=dns,
        options=HttpClientOptions(
            private_destinations=True, lifetime=timedelta(seconds=5)
        ),
        tls=site.trusted(),
    )


@pytest.fixture
def connect(dns: FakeResolver, http: HttpsClient, key: ConnectKey) -> Connect:
    return Connect(
        operator=OPERATOR,
        keys=(key,),
        resolver=dns,
        http=http,
        suffixes=SuffixList(),
    )


def cause(found: object, kind: type[NotOffered | NoAnswer]) -> str:
    assert isinstance(found, kind), found
    return found.cause


async def test_a_dns_host_is_found_with_its_settings(
    site: Site, dns: FakeResolver, http: HttpsClient
) -> None:
    url = f"https://{HOST}:{site.port}"
    assert await discover(ZONE, dns, http) == ConnectHost(
        provider="provider.example",
        name="The Provider",
        sync_url=f"{url}/ux/",
        api_url=f"{url}/api",
        panel=f"{url}/zones?name=customer.com",
    )


async def test_an_offer_is_a_signed_address_of_all_groups(
    site: Site, connect: Connect
) -> None:
    found = await connect.offer(SETTINGS)
    assert isinstance(found, Offer)
    assert found.left_out == ()
    assert found.url.startswith(
        f"https://{HOST}:{site.port}/ux/v2/domainTemplates/providers/esp.example/"
        "services/soboo-cname/apply?domain=customer.com&token=tok7"
        "&groupId=bounce%2Cdkim%2Cdmarc&sig="
    )


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("customer.com", "_dmarc.customer.com"),
        ("news.customer.com", "_dmarc.customer.com"),
        ("news.customer.com", "_dmarc.news.customer.com"),
    ],
)
async def test_our_dmarc_record_is_left_out_where_one_applies(
    connect: Connect, dns: FakeResolver, name: str, owner: str
) -> None:
    dns.add(owner, "TXT", "v=DMARC1; p=reject")
    found = await connect.offer(replace(SETTINGS, name=Domain(name)))
    assert isinstance(found, Offer)
    assert found.left_out == ("dmarc",)
    assert "&groupId=bounce%2Cdkim&" in found.url


async def test_our_dmarc_record_is_left_out_where_dns_is_silent(
    connect: Connect, dns: FakeResolver
) -> None:
    dns.silent = {"_dmarc.customer.com"}
    found = await connect.offer(SETTINGS)
    assert isinstance(found, Offer)
    assert found.left_out == ("dmarc",)


async def test_without_the_txt_record_nothing_is_asked(
    connect: Connect, dns: FakeResolver, site: Site
) -> None:
    dns.remove("_domainconnect.customer.com")
    said = cause(await connect.offer(SETTINGS), NotOffered)
    assert said == "the DNS host of customer.com names no Domain Connect for it"
    assert site.asked == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "domain-verification=netlify",
        "https://dc.provider.example",
        "user@dc.provider.example",
        "dc.provider.example/a?b=c",
        "dc.provider.example/../x y",
        "localhost",
        "a" * 301 + ".example",
        "\x1b[2J.example",
    ],
)
async def test_a_txt_record_that_is_no_address_is_not_followed(
    connect: Connect, dns: FakeResolver, site: Site, text: str
) -> None:
    dns.replace("_domainconnect.customer.com", "TXT", text)
    said = cause(await connect.offer(SETTINGS), NotOffered)
    assert said.isprintable()
    assert len(said) < 200
    assert site.asked == []


async def test_two_txt_records_are_no_address(
    connect: Connect, dns: FakeResolver
) -> None:
    dns.add("_domainconnect.customer.com", "TXT", "other.example")
    assert "no address" in cause(await connect.offer(SETTINGS), NotOffered)


async def test_a_prefix_may_have_a_path(
    connect: Connect, dns: FakeResolver, site: Site
) -> None:
    dns.replace("_domainconnect.customer.com", "TXT", f"{HOST}:{site.port}/client/v4/")
    site.pages["/client/v4/v2/customer.com/settings"] = site.pages.pop(
        "/v2/customer.com/settings"
    )
    assert isinstance(await connect.offer(SETTINGS), Offer)


async def test_a_host_that_does_not_serve_the_zone_offers_nothing(
    connect: Connect, site: Site
) -> None:
    del site.pages["/v2/customer.com/settings"]
    said = cause(await connect.offer(SETTINGS), NotOffered)
    assert "does not serve customer.com" in said


async def test_a_host_without_our_template_offers_nothing(
    connect: Connect, site: Site
) -> None:
    del site.pages[TEMPLATE]
    said = cause(await connect.offer(SETTINGS), NotOffered)
    assert said.startswith("The Provider does Domain Connect, but has no template")


async def test_a_host_without_a_flow_by_link_offers_nothing(
    connect: Connect, site: Site
) -> None:
    settings_page(site, urlSyncUX=None)
    assert "no flow by link" in cause(await connect.offer(SETTINGS), NotOffered)


@pytest.mark.parametrize(
    "url",
    [
        "http://dns.example/ux",
        "javascript:alert(1)",
        "https://user:word@dns.example/",
        "https://dns.example/ux?to=x",
        "https://dns.example/a b",
        "https://dns.example:99999/",
        "https://" + "a" * 400,
        7,
    ],
)
async def test_a_flow_elsewhere_than_https_is_none(
    connect: Connect, site: Site, url: object
) -> None:
    settings_page(site, urlSyncUX=url)
    assert "no flow by link" in cause(await connect.offer(SETTINGS), NotOffered)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b'{"providerId": "p"}', b"[" * 50_000]
)
async def test_settings_that_are_none_say_nothing(
    connect: Connect, site: Site, body: bytes
) -> None:
    site.page("/v2/customer.com/settings", body)
    assert f"{HOST}" in cause(await connect.offer(SETTINGS), NoAnswer)


async def test_a_name_of_strange_characters_is_made_harmless(
    connect: Connect, site: Site
) -> None:
    settings_page(site, providerDisplayName="\x1b[2J" + "x" * 500)
    found = await connect.offer(SETTINGS)
    assert isinstance(found, Offer)
    assert found.host.name.isprintable()
    assert len(found.host.name) <= 80


@pytest.mark.parametrize("path", ["/v2/customer.com/settings", TEMPLATE])
async def test_trouble_at_the_dns_host_is_no_answer(
    connect: Connect, site: Site, path: str
) -> None:
    site.page(path, b"", status=500)
    assert "answers 500" in cause(await connect.offer(SETTINGS), NoAnswer)
    site.page(path, b"x" * 70_000)
    assert "octets" in cause(await connect.offer(SETTINGS), NoAnswer)
    site.page(path, b"", status=302, location="http://dc.provider.example/")
    assert "not over https" in cause(await connect.offer(SETTINGS), NoAnswer)


async def test_a_dns_host_that_hangs_is_given_up(
    connect: Connect, site: Site, dns: FakeResolver
) -> None:
    site.pages[TEMPLATE] = None
    brief = HttpsClient(
        resolver=dns,
        options=HttpClientOptions(
            private_destinations=True, lifetime=timedelta(seconds=0.5)
        ),
        tls=site.trusted(),
    )
    found = await replace(connect, http=brief).offer(SETTINGS)
    assert "no whole answer" in cause(found, NoAnswer)


async def test_a_wrong_certificate_is_no_answer(
    connect: Connect, dns: FakeResolver, site: Site
) -> None:
    dns.add("other.example", "A", "127.0.0.1")
    dns.replace("_domainconnect.customer.com", "TXT", f"other.example:{site.port}")
    assert "certificate" in cause(await connect.offer(SETTINGS), NoAnswer)


@pytest.mark.parametrize(
    "silent",
    ["customer.com", "_domainconnect.customer.com", "_dck1.domainconnect.esp.example"],
)
async def test_silent_dns_is_no_answer(
    connect: Connect, dns: FakeResolver, silent: str
) -> None:
    dns.silent = {silent}
    assert silent in cause(await connect.offer(SETTINGS), NoAnswer)


async def test_without_a_key_in_dns_nothing_is_signed(
    connect: Connect, dns: FakeResolver
) -> None:
    dns.remove("_dck1.domainconnect.esp.example")
    assert "connect keys" in cause(await connect.offer(SETTINGS), NotOffered)
    none = replace(connect, keys=())
    assert "connect keys" in cause(await none.offer(SETTINGS), NotOffered)


async def test_other_labels_are_in_a_template_of_their_own(
    connect: Connect, site: Site
) -> None:
    other = replace(SETTINGS, bounce_label="returns")
    said = cause(await connect.offer(other), NotOffered)
    assert said.endswith("no template esp.example soboo-cname.returns")
    site.page(f"{TEMPLATE}.returns", b"{}")
    found = await connect.offer(other)
    assert isinstance(found, Offer)
    assert "/services/soboo-cname.returns/apply?" in found.url
    more = replace(SETTINGS, selectors=tuple(map(DnsName, ("a", "b", "c"))))
    said = cause(await connect.offer(more), NotOffered)
    assert said.endswith("no template esp.example soboo-cname.a.b.c")


async def test_a_mode_without_templates_is_refused(connect: Connect) -> None:
    with pytest.raises(FormatError, match="mode manual"):
        await connect.offer(replace(SETTINGS, mode=Mode.MANUAL))


async def test_mode_zone_asks_for_its_own_template(
    connect: Connect, site: Site, http: HttpsClient
) -> None:
    zone = replace(SETTINGS, mode=Mode.ZONE, zone=Domain("em.customer.com"))
    said = cause(await connect.offer(zone), NotOffered)
    assert said.endswith("no template esp.example soboo-zone-em")
    site.page(TEMPLATE.replace("soboo-cname", "soboo-zone-em"), b"{}")
    found = await connect.offer(zone)
    assert isinstance(found, Offer)
    assert "groupId=zone%2Cdkim%2Cdmarc" in found.url
    assert await has_template(found.host, OPERATOR, "soboo-zone-em", http) is True
