"""Routes, MX and address look-ups: cases 111 to 120."""

from datetime import timedelta
from ipaddress import ip_address
from random import Random

import pytest

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.outcome import Deferred, Failed, Reason
from soboo_mta.transfer.routing.finder import (
    Destination,
    ResolveOptions,
    Site,
    SiteFinder,
)
from soboo_mta.transfer.routing.rules import Mx, NextHop, Route, RouteTo, route
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver

THERE = Domain("there.example")


def a_route(pattern: str, port: int = 2600) -> Route:
    hop = NextHop(host=ip_address("127.0.0.1"), port=port)
    return Route(pattern=pattern, to=RouteTo(hops=(hop,)))


async def found(dns: FakeResolver, **options: object) -> Destination:
    finder = SiteFinder(
        resolver=dns, clock=FakeClock(), options=ResolveOptions(**options)
    )
    return await finder.find(THERE)


def zone(*records: tuple[str, str, str]) -> FakeResolver:
    dns = FakeResolver()
    for record in records:
        dns.add(*record)
    return dns


def addresses(destination: Destination) -> list[str]:
    assert isinstance(destination, Site), destination
    return [str(hop.address) for hop in destination.hops(Random(1))]


def test_the_most_exact_route_wins():
    everything, below, exact = (
        a_route("*", 1),
        a_route(".example", 2),
        a_route(THERE, 3),
    )
    rules = (everything, below, exact)
    assert route(THERE, rules) == exact.to
    assert route(Domain("other.example"), rules) == below.to
    assert route(Domain("example.org"), rules) == everything.to
    assert route(THERE, ()) == Mx()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:2600", "127.0.0.1", 2600),
        ("[::1]:2600", "::1", 2600),
        ("::1", "::1", 25),
        ("relay.example", "relay.example", 25),
    ],
)
def test_a_next_hop_is_read_from_text(text, host, port):
    hop = NextHop.parse(text)
    assert (str(hop.host), hop.port) == (host, port)


@pytest.mark.parametrize("text", ["relay.example:0", "relay.example:x", "", "a b:25"])
def test_what_is_no_next_hop_is_refused(text):
    with pytest.raises(FormatError):
        NextHop.parse(text)


async def test_a_route_asks_for_no_mx_and_may_be_private():
    dns = FakeResolver()
    site = await found(dns, routes=(a_route("*"),))
    assert addresses(site) == ["127.0.0.1"]
    assert dns.asked == []


async def test_hosts_come_by_preference():
    dns = zone(
        (THERE, "MX", "20 second.there.example"),
        (THERE, "MX", "10 first.there.example"),
        ("first.there.example", "A", "9.9.9.1"),
        ("second.there.example", "A", "9.9.9.2"),
    )
    assert addresses(await found(dns)) == ["9.9.9.1", "9.9.9.2"]


async def test_case_117_equal_preferences_are_shuffled():
    dns = zone(*[(THERE, "MX", f"10 mx{n}.there.example") for n in range(3)])
    for n in range(3):
        dns.add(f"mx{n}.there.example", "A", f"9.9.9.{n + 1}")
    site = await found(dns)
    assert isinstance(site, Site)
    firsts = {str(site.hops(Random(seed))[0].address) for seed in range(30)}
    assert firsts == {"9.9.9.1", "9.9.9.2", "9.9.9.3"}


async def test_case_111_118_no_mx_means_the_address_of_the_domain():
    dns = zone((THERE, "A", "9.9.9.1"), (THERE, "AAAA", "2620:fe::9"))
    assert sorted(addresses(await found(dns))) == ["2620:fe::9", "9.9.9.1"]


async def test_case_113_an_mx_that_is_a_cname_is_followed():
    dns = zone(
        (THERE, "MX", "10 alias.there.example"),
        ("alias.there.example", "CNAME", "real.there.example"),
        ("real.there.example", "A", "9.9.9.1"),
    )
    assert addresses(await found(dns)) == ["9.9.9.1"]


async def test_case_112_null_mx_fails_without_looking_for_addresses():
    dns = zone((THERE, "MX", "0 ."), (THERE, "A", "9.9.9.1"))
    outcome = await found(dns)
    assert isinstance(outcome, Failed)
    assert str(outcome.reply).startswith("556 5.1.10")
    assert [kind for _, kind in dns.asked] == ["MX"]


async def test_case_112_a_null_mx_beside_others_is_ignored():
    dns = zone(
        (THERE, "MX", "0 ."),
        (THERE, "MX", "10 mx.there.example"),
        ("mx.there.example", "A", "9.9.9.1"),
    )
    assert addresses(await found(dns)) == ["9.9.9.1"]


async def test_case_111_nxdomain_is_permanent():
    outcome = await found(FakeResolver())
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.DNS_PERMANENT
    assert "5.1.2" in str(outcome.reply)


async def test_case_113_a_dangling_cname_is_permanent():
    outcome = await found(zone((THERE, "CNAME", "gone.example")))
    assert isinstance(outcome, Failed)


@pytest.mark.parametrize("silent", [THERE, "mx.there.example"])
async def test_case_111_servfail_defers_and_is_never_no_mx(silent):
    dns = zone((THERE, "MX", "10 mx.there.example"), (THERE, "A", "9.9.9.1"))
    dns.silent.add(silent)
    outcome = await found(dns)
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.DNS_TEMPORARY


async def test_case_111_an_mx_whose_host_does_not_exist_is_permanent():
    outcome = await found(zone((THERE, "MX", "10 gone.there.example")))
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.DNS_PERMANENT


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.1.1",
        "224.0.0.1",
    ],
)
async def test_case_114_an_mx_at_a_private_address_is_not_connected(address):
    dns = zone((THERE, "MX", "10 mx.there.example"), ("mx.there.example", "A", address))
    outcome = await found(dns)
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.LOOP
    assert f"mx.there.example[{address}]:25" in outcome.reply.text
    assert "private_destinations" in outcome.reply.text


@pytest.mark.parametrize("address", ["::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1"])
async def test_case_114_an_mx_at_a_private_ipv6_address_is_not_connected(address):
    dns = zone(
        (THERE, "MX", "10 m.there.example"), ("m.there.example", "AAAA", address)
    )
    assert isinstance(await found(dns), Failed)


async def test_private_destinations_may_be_allowed():
    dns = zone((THERE, "A", "127.0.0.1"))
    assert addresses(await found(dns, private_destinations=True)) == ["127.0.0.1"]


async def test_case_114_our_own_listener_is_a_loop_even_where_private_is_allowed():
    dns = zone((THERE, "A", "127.0.0.1"))
    own = frozenset({(ip_address("127.0.0.1"), 25)})
    outcome = await found(dns, private_destinations=True, own_listeners=own)
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.LOOP


async def test_case_114_an_mx_written_as_an_address_is_no_host():
    assert isinstance(await found(zone((THERE, "MX", "10 9.9.9.1"))), Failed)


async def test_case_115_we_and_all_not_better_than_us_drop_out_of_the_mx_list():
    dns = zone(
        (THERE, "MX", "10 better.there.example"),
        (THERE, "MX", "20 us.esp.example"),
        (THERE, "MX", "20 equal.there.example"),
        ("better.there.example", "A", "9.9.9.1"),
        ("equal.there.example", "A", "9.9.9.2"),
    )
    own = frozenset({"us.esp.example"})
    assert addresses(await found(dns, own_names=own)) == ["9.9.9.1"]
    dns.remove(THERE)
    dns.add(THERE, "MX", "10 us.esp.example")
    outcome = await found(dns, own_names=own)
    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.LOOP


async def test_case_116_118_many_hosts_are_capped_and_both_families_kept():
    dns = zone(*[(THERE, "MX", f"{n} mx{n}.there.example") for n in range(50)])
    for n in range(50):
        for k in range(4):
            dns.add(f"mx{n}.there.example", "AAAA", f"2620:fe::{n + 1}:{k + 1}")
            dns.add(f"mx{n}.there.example", "A", f"9.9.{n}.{k + 1}")
    found_addresses = addresses(await found(dns))
    assert len(found_addresses) == 5
    assert {":" in address for address in found_addresses} == {True, False}
    assert len(dns.asked) <= 1 + 2 * 8


async def test_domains_with_the_same_hosts_share_a_site():
    dns = zone(("mx.host.example", "A", "9.9.9.1"))
    names = []
    for domain in ("one.example", "two.example"):
        dns.add(domain, "MX", "10 mx.host.example")
        finder = SiteFinder(resolver=dns, clock=FakeClock(), options=ResolveOptions())
        site = await finder.find(Domain(domain))
        assert isinstance(site, Site)
        names.append(site.name)
    assert names[0] == names[1]


async def test_case_120_a_destination_is_kept_for_its_ttl_and_no_longer():
    dns, clock = zone((THERE, "A", "9.9.9.1")), FakeClock()
    finder = SiteFinder(resolver=dns, clock=clock, options=ResolveOptions())
    assert finder.cached(THERE) is None
    site = await finder.find(THERE)
    clock.advance(59)
    assert finder.cached(THERE) is site
    clock.advance(2)
    assert finder.cached(THERE) is None


async def test_case_120_no_answer_is_kept_for_at_most_thirty_seconds():
    dns, clock = FakeResolver(silent={THERE}), FakeClock()
    finder = SiteFinder(resolver=dns, clock=clock, options=ResolveOptions())
    await finder.find(THERE)
    clock.advance(31)
    assert finder.cached(THERE) is None


async def test_the_cache_is_bounded():
    clock = FakeClock()
    options = ResolveOptions(cached_domains=2)
    finder = SiteFinder(resolver=FakeResolver(), clock=clock, options=options)
    for n in range(3):
        await finder.find(Domain(f"d{n}.example"))
    assert finder.cached(Domain("d0.example")) is None
    assert finder.cached(Domain("d2.example")) is not None


@pytest.mark.parametrize(
    "address",
    ["64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:a00:1::1", "::7f00:1", "fec0::1"],
)
async def test_case_114_a_private_address_in_other_clothes_is_not_connected(address):
    dns = FakeResolver()
    dns.add("x.example", "AAAA", address)
    finder = SiteFinder(resolver=dns, clock=FakeClock(), options=ResolveOptions())
    found = await finder.find(Domain("x.example"))
    assert isinstance(found, Failed)
    assert found.reason is Reason.LOOP


@pytest.mark.parametrize(
    ("kind", "address"), [("A", "9.9.9.1"), ("AAAA", "2620:fe::9")]
)
async def test_case_118_a_host_of_one_family_is_enough(kind, address):
    dns = zone((THERE, "MX", "10 m.there.example"), ("m.there.example", kind, address))
    assert addresses(await found(dns)) == [address]


async def test_case_113_a_domain_that_is_a_cname_goes_where_that_leads():
    dns = zone(
        (THERE, "CNAME", "real.example"),
        ("real.example", "MX", "10 mx.real.example"),
        ("mx.real.example", "A", "9.9.9.1"),
    )
    assert addresses(await found(dns)) == ["9.9.9.1"]


@pytest.mark.parametrize("looping", [THERE, "mx.there.example"])
async def test_case_113_a_cname_loop_defers_and_is_never_followed_for_ever(looping):
    dns = zone(
        ("mx.there.example", "CNAME", "mx.there.example"),
        (THERE, "MX", "10 mx.there.example"),
    )
    if looping == THERE:
        dns = zone((THERE, "CNAME", THERE))
    outcome = await found(dns)
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.DNS_TEMPORARY
    assert len(dns.asked) <= 3


async def test_case_114_an_mx_beside_a_forbidden_one_is_still_used():
    dns = zone(
        (THERE, "MX", "10 inside.there.example"),
        (THERE, "MX", "20 mx.there.example"),
        ("inside.there.example", "A", "169.254.169.254"),
        ("mx.there.example", "A", "9.9.9.1"),
    )
    assert addresses(await found(dns)) == ["9.9.9.1"]


async def test_case_119_the_port_is_the_settings_whatever_the_names_say():
    dns = zone(
        (THERE, "MX", "10 mx.there.example:2525"),
        (THERE, "MX", "20 mx.there.example"),
        ("mx.there.example", "A", "9.9.9.1"),
    )
    site = await found(dns)
    assert isinstance(site, Site)
    assert {hop.port for hop in site.hops(Random(1))} == {25}


async def test_case_120_a_changed_mx_is_used_once_the_old_ones_ttl_is_over():
    dns, clock = zone((THERE, "MX", "10 old.there.example")), FakeClock()
    dns.add("old.there.example", "A", "9.9.9.1")
    dns.add("new.there.example", "A", "9.9.9.2")
    finder = SiteFinder(resolver=dns, clock=clock, options=ResolveOptions())
    assert addresses(await finder.find(THERE)) == ["9.9.9.1"]
    dns.replace(THERE, "MX", "10 new.there.example")
    clock.advance(61)
    assert finder.cached(THERE) is None
    assert addresses(await finder.find(THERE)) == ["9.9.9.2"]


async def test_case_120_an_hour_without_a_resolver_defers_and_fails_nothing():
    dns, clock = FakeResolver(silent={THERE}), FakeClock()
    dns.add(THERE, "A", "9.9.9.1")
    finder = SiteFinder(resolver=dns, clock=clock, options=ResolveOptions())
    for _ in range(60):
        assert isinstance(await finder.find(THERE), Deferred)
        clock.advance(60)
        assert finder.cached(THERE) is None
    dns.silent.clear()
    assert addresses(await finder.find(THERE)) == ["9.9.9.1"]


@pytest.mark.parametrize(
    ("shortest", "longest", "ttl", "kept"), [(5, 3_600, 0, 5), (5, 60, 86_400, 60)]
)
async def test_case_120_a_ttl_counts_within_bounds(shortest, longest, ttl, kept):
    dns, clock = zone((THERE, "A", "9.9.9.1")), FakeClock()
    dns.ttl = ttl
    bounds = ResolveOptions(
        shortest_ttl=timedelta(seconds=shortest), longest_ttl=timedelta(seconds=longest)
    )
    finder = SiteFinder(resolver=dns, clock=clock, options=bounds)
    site = await finder.find(THERE)
    clock.advance(kept - 1)
    assert finder.cached(THERE) is site
    clock.advance(1)
    assert finder.cached(THERE) is None
