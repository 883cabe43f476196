"""What a delegated zone holds, what we keep in the operator's, and the customer's own."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from soboo_mta.identity.state import Mode
from soboo_mta.identity.zones.zone import (
    TTL,
    ZoneOptions,
    fitted_options,
    operator_zone,
    zone_records,
)
from soboo_mta.identity.zones.zone_extra import MAX_EXTRA, extra_record
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from tests.fakes.domains import OPERATOR, OUT_1, SETTINGS

ZONE = Domain("em.customer.com")
DELEGATED = replace(SETTINGS, mode=Mode.ZONE, zone=ZONE)


def _lines(options: ZoneOptions | None = None, **changes: object) -> list[str]:
    settings = replace(DELEGATED, **changes)  # type: ignore[arg-type]
    content = zone_records(settings, OPERATOR, options or ZoneOptions())
    return [f"{one.owner} {one.kind} {one.value[:40]}" for one in content.records]


def test_a_delegated_zone_is_whole() -> None:
    lines = _lines()

    for expected in (
        "em.customer.com NS ns1.tok7.n.esp.example.",
        "em.customer.com NS ns2.tok7.n.esp.example.",
        "em.customer.com MX 10 mx1.esp.example.",
        "bounce.em.customer.com MX 10 mx1.esp.example.",
        "_dmarc.em.customer.com TXT v=DMARC1; p=reject",
        "_soboo.em.customer.com TXT v=soboo1; t=tok7",
    ):
        assert expected in lines
    for owner in ("em.customer.com", "bounce.em.customer.com"):
        (spf,) = [one for one in lines if one.startswith(f"{owner} TXT v=spf1 ip4:")]
        assert "include" not in spf
    keys = [one for one in lines if "._domainkey." in one]
    assert [one.split(".")[0] for one in keys] == ["sb1", "sb2"]
    assert len(lines) == len(set(lines))


def test_a_zone_that_is_the_from_domain_says_what_it_said_before() -> None:
    text = "v=DMARC1; p=quarantine; pct=50"

    lines = _lines(ZoneOptions(dmarc=text), zone=None)
    assert f"_dmarc.customer.com TXT {text}" in lines
    lines = _lines(ZoneOptions(dmarc="v=DMARC1;p=reject;psd=n"), zone=None)
    assert "_dmarc.customer.com TXT v=DMARC1; p=reject" in lines


def test_a_zone_for_which_one_above_speaks_says_nothing_of_dmarc() -> None:
    lines = _lines(ZoneOptions(dmarc=""), zone=None)

    assert not [one for one in lines if one.startswith("_dmarc.")]


def test_what_is_no_dmarc_record_is_refused() -> None:
    with pytest.raises(FormatError, match="is no DMARC record"):
        _lines(ZoneOptions(dmarc="p=reject"), zone=None)


def test_hosts_of_the_zone_have_addresses_and_one_spf_record() -> None:
    inside = replace(OUT_1, ehlo_name=Domain("mta1.em.customer.com"))
    at_apex = replace(OUT_1, ehlo_name=ZONE, public_address=ip_address("2001:db8::7"))
    operator = replace(OPERATOR, sources=(inside, at_apex))
    records = zone_records(DELEGATED, operator, ZoneOptions()).records
    found = [(one.owner, one.kind, one.value) for one in records]

    assert ("mta1.em.customer.com", "A", "192.0.2.1") in found
    assert ("mta1.em.customer.com", "TXT", "v=spf1 ip4:192.0.2.1 -all") in found
    assert (ZONE, "AAAA", "2001:db8::7") in found
    assert len([one for one in found if one[0] == ZONE and one[1] == "TXT"]) == 1


def test_what_is_configured_is_said() -> None:
    lines = _lines(
        ZoneOptions(certificate_issuers=("ca.example",), tls_reports="mailto:t@e.test")
    )

    assert 'em.customer.com CAA 0 issue "ca.example"' in lines
    tls = "_smtp._tls.bounce.em.customer.com TXT v=TLSRPTv1; rua=mailto:t@e.test"
    assert tls in lines


# ---- the customer's own


def _with(*own: tuple[str, str, str]) -> list[str]:
    extra = tuple(extra_record(*one, zone=ZONE) for one in own)
    return _lines(ZoneOptions(extra=extra))


def test_texts_of_other_services_stand_beside_ours() -> None:
    lines = _with(
        ("@", "txt", "google-site-verification=abc"),
        ("www.em.customer.com", "CNAME", "Pages.Example."),
        ("_sip._tcp.em.customer.com", "SRV", "10 5 5060 sip.example"),
    )

    assert "em.customer.com TXT google-site-verification=abc" in lines
    assert "www.em.customer.com CNAME pages.example." in lines
    assert "_sip._tcp.em.customer.com SRV 10 5 5060 sip.example." in lines
    extra = extra_record("@", "TXT", "x", zone=ZONE)
    content = zone_records(DELEGATED, OPERATOR, ZoneOptions(extra=(extra,)))
    texts = [one for one in content.records if (one.owner, one.kind) == (ZONE, "TXT")]
    assert {one.ttl for one in texts} == {TTL}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ((("other.example", "A", "192.0.2.9"),), "does not lie in the zone"),
        ((("xem.customer.com", "A", "192.0.2.9"),), "does not lie in the zone"),
        ((("@", "MX", "5 mx.example"),), "the record is ours"),
        ((("_dmarc.em.customer.com", "TXT", "v=DMARC1; psd=n"),), "is ours"),
        ((("sb1._domainkey.em.customer.com", "TXT", "v=DKIM1"),), "is ours"),
        ((("@", "TXT", "v=spf1 +all"),), "two SPF records"),
        ((("bounce.em.customer.com", "CNAME", "x.example"),), "the name is ours"),
        ((("sb3._domainkey.em.customer.com", "A", "192.0.2.9"),), "the name is ours"),
        ((("_smtp._tls.bounce.em.customer.com", "TXT", "x"),), "the name is ours"),
        ((("@", "CNAME", "x.example"),), "stands alone"),
        (
            (
                ("www.em.customer.com", "CNAME", "a.example"),
                ("www.em.customer.com", "CNAME", "b.example"),
            ),
            "stands alone",
        ),
        ((("@", "NS", "ns.example"),), "is one of A, AAAA"),
        ((("@", "A", "192.0.2.256"),), "not an IPv4 address"),
        ((("@", "AAAA", "::ffff:192.0.2.1"),), "not an address to publish"),
        ((("@", "TXT", "a\nb"),), "printable ASCII"),
        ((("@", "TXT", "x" * 2049),), "at most 2048"),
        ((("@", "CAA", '0 issue "a"; b'),), "not a CAA value"),
        ((("a.em.customer.com", "SRV", "1 2 70000 x.example"),), "of the form"),
    ],
)
def test_what_does_not_fit_is_refused(
    own: tuple[tuple[str, str, str], ...], said: str
) -> None:
    with pytest.raises(FormatError, match=said):
        _with(*own)


def test_a_record_that_no_longer_fits_is_left_out_and_named() -> None:
    """The operator came to state who issues certificates, after the customer had."""
    own = (
        extra_record("@", "CAA", '0 issue "ca.example"', zone=ZONE),
        extra_record("www.em.customer.com", "A", "192.0.2.9", zone=ZONE),
    )
    options = ZoneOptions(certificate_issuers=("ours.example",), extra=own)

    kept, reasons = fitted_options(DELEGATED, OPERATOR, options)
    assert kept.extra == own[1:]
    assert reasons == ("em.customer.com CAA: the record is ours",)
    assert own[1] in zone_records(DELEGATED, OPERATOR, kept).records


def test_a_zone_has_a_bounded_number_of_own_records() -> None:
    own = [(f"h{n}.em.customer.com", "A", "192.0.2.9") for n in range(MAX_EXTRA + 1)]

    with pytest.raises(FormatError, match="over 100"):
        _with(*own)
    assert len(_with(*own[1:])) == MAX_EXTRA + len(_lines())


# ---- the operator's own zone


def test_the_operators_zone_leads_to_each_tenants_name_servers() -> None:
    content = operator_zone(
        OPERATOR,
        [DELEGATED, replace(SETTINGS, token="tok9")],
        reporting=[DnsName("customer.com")],
        name_servers=[ip_address(a) for a in ("192.0.2.53", "192.0.2.54", "::53")],
    )
    found = {(one.owner, one.kind, one.value[:20]) for one in content.records}

    assert ("ns1.tok7.n.esp.example", "A", "192.0.2.53") in found
    assert ("ns1.tok7.n.esp.example", "AAAA", "::53") in found
    assert ("ns2.tok7.n.esp.example", "A", "192.0.2.54") in found
    assert ("tok9.b.esp.example", "MX", "10 mx1.esp.example.") in found
    assert ("customer.com._report._dmarc.esp.example", "TXT", "v=DMARC1") in found
    assert not any("tok9.n." in one.owner for one in content.records)
    assert all(one.owner.endswith("esp.example") for one in content.records)
    assert [one.owner for one in content.wishes] == ["_dmarc.esp.example"]
    assert content.is_shared


def test_a_released_domains_names_are_gone() -> None:
    content = operator_zone(OPERATOR, [], reporting=[], name_servers=[])

    assert not any("tok7" in one.owner for one in content.records)
