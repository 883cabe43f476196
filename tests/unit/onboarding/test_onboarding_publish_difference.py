"""What is changed on a name server, and that it is never more than what is ours."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.zones.zone import ZoneContent
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.publish.difference import (
    applied,
    difference,
    drifts,
    names_of,
    next_serial,
)
from soboo_mta.ports import ZoneRecord

ZONE = DnsName("esp.example")
GROUNDS = (DnsName("b.esp.example"), DnsName("_report._dmarc.esp.example"))
_OURS = "tok7.b.esp.example"


def _one(owner: str, kind: str, value: str, ttl: int = 300) -> ZoneRecord:
    return ZoneRecord(owner=DnsName(owner), kind=kind, value=value, ttl=ttl)


def _shared(*records: ZoneRecord, wishes: tuple[ZoneRecord, ...] = ()) -> ZoneContent:
    return ZoneContent(zone=ZONE, records=records, grounds=GROUNDS, wishes=wishes)


def _whole(*records: ZoneRecord) -> ZoneContent:
    return ZoneContent(zone=ZONE, records=records, grounds=(ZONE,))


_OWNERS = st.sampled_from(
    [ZONE, "a.esp.example", _OURS, "b.esp.example", "xb.esp.example"]
)
_KINDS = st.sampled_from(["A", "MX", "NS", "TXT", "SOA", "RRSIG", "DNSKEY", "CDS"])
_VALUES = st.sampled_from(["v=spf1 -all", "v=spf1 ip4:1.2.3.4 -all", "x", "y"])
_RECORDS = st.builds(_one, _OWNERS, _KINDS, _VALUES, st.sampled_from([60, 300]))
_WANTED = st.builds(
    _one, _OWNERS, st.sampled_from(["A", "MX", "TXT"]), _VALUES, st.just(300)
)


@given(st.lists(_WANTED), st.lists(_RECORDS), st.booleans())
def test_a_change_mends_all_drift_at_once(
    wanted: list[ZoneRecord], served: list[ZoneRecord], shared: bool
) -> None:
    content = _shared(*wanted) if shared else _whole(*wanted)
    after = applied(difference(content, served), served)

    assert not difference(content, after)
    assert set(wanted) <= set(after)


@given(st.lists(_WANTED), st.lists(_RECORDS))
def test_in_a_zone_of_ours_nothing_else_is_left(
    wanted: list[ZoneRecord], served: list[ZoneRecord]
) -> None:
    after = applied(difference(_whole(*wanted), served), served)
    left = {one for one in after if one.kind in ("A", "MX", "TXT")}

    assert left == set(wanted)


@given(st.lists(_WANTED), st.lists(_RECORDS))
def test_nothing_outside_our_territory_is_taken_away(
    wanted: list[ZoneRecord], served: list[ZoneRecord]
) -> None:
    change = difference(_shared(*wanted), served)
    named = {(one.owner, one.kind) for one in wanted}

    for one in change.removed:
        assert one.kind not in ("SOA", "RRSIG", "DNSKEY", "CDS")
        is_below = one.owner in ("b.esp.example", _OURS)
        assert is_below or (one.owner, one.kind) in named
        assert is_below or one.kind != "TXT" or one.value.startswith("v=spf1")


@pytest.mark.parametrize(
    "foreign",
    [
        _one("esp.example", "TXT", "google-site-verification=1"),
        _one("esp.example", "NS", "ns.elsewhere.example."),
        _one("www.esp.example", "A", "192.0.2.80"),
        _one("xb.esp.example", "A", "192.0.2.80"),
        _one("_dmarc.esp.example", "TXT", "v=DMARC1; p=reject"),
    ],
)
def test_what_others_keep_in_the_operators_zone_stays(foreign: ZoneRecord) -> None:
    ours = _one("esp.example", "TXT", "v=spf1 -all")

    assert difference(_shared(ours), [foreign]).removed == ()


def test_an_old_spf_record_gives_way_to_ours() -> None:
    old = _one("esp.example", "TXT", "v=spf1 mx -all")
    ours = _one("esp.example", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    change = difference(_shared(ours), [old])

    assert (change.removed, change.added) == ((old,), (ours,))


def test_a_name_of_a_released_domain_goes() -> None:
    left = _one(_OURS, "MX", "10 mx.esp.example.")

    assert difference(_shared(), [left]).removed == (left,)


@pytest.mark.parametrize("kind", ["TXT", "CNAME"])
def test_a_wish_gives_way_to_what_is_there(kind: str) -> None:
    wish = _one("_dmarc.esp.example", "TXT", "v=DMARC1; p=none")
    content = _shared(wishes=(wish,))
    there = _one("_dmarc.esp.example", kind, "anything")

    assert difference(content, []).added == (wish,)
    assert not difference(content, [there])


def test_drift_is_said_a_record_each() -> None:
    ours, stray = _one(_OURS, "A", "192.0.2.1"), _one(_OURS, "A", "192.0.2.2")
    said = drifts(difference(_shared(ours), [stray, replace(ours, ttl=9)]))

    assert {(one.record.value, one.what) for one in said} == {
        ("192.0.2.1", "has another TTL"),
        ("192.0.2.2", "is not to be there"),
    }
    assert [one.what for one in drifts(difference(_shared(ours), []))] == ["is missing"]


def test_every_name_is_asked_for_and_the_zone_itself() -> None:
    ours = _one(_OURS, "A", "192.0.2.1")

    assert names_of(_shared(ours, ours)) == (ZONE, _OURS)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**33))
def test_a_serial_rises_always(served: int, now: int) -> None:
    rise = (next_serial(served, unix_seconds=now) - served) % 2**32

    assert 0 < rise < 2**31


def test_a_serial_is_the_time_where_it_can_be() -> None:
    assert next_serial(7, unix_seconds=1_800_000_000) == 1_800_000_000
    assert next_serial(2026_11_28_01, unix_seconds=1_800_000_000) == 2026_11_28_02
