"""The resolver against a name server on loopback that a test scripts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import IPv4Address
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.authority import AuthoritativeResolver
from soboo_mta.net.dns.questions import MAX_CHAIN, ResolverOptions, shortened
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.ports import (
    Found,
    MxRecord,
    NoData,
    NoName,
    RecordType,
    Unanswered,
)
from tests.fakes.clock import FakeClock

_SOA = ("example. 60 IN SOA", "ns.example. h.example. 1 60 60 60 30")


class _Server(asyncio.DatagramProtocol):
    """Answers from `answers`: (name, type) → lines of the answer section, or an rcode."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[str] | int] = {}
        self.asked: list[tuple[str, str]] = []
        self.delay: asyncio.Event | None = None
        self.was_asked = asyncio.Event()
        self.with_soa = True
        self.authoritative = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, octets: bytes, address: object) -> None:
        query = dns.message.from_wire(octets)
        question = query.question[0]
        place = (
            question.name.to_text(omit_final_dot=True),
            dns.rdatatype.to_text(question.rdtype),
        )
        self.asked.append(place)
        self.was_asked.set()
        reply = dns.message.make_response(query)
        if self.authoritative:
            reply.flags |= dns.flags.AA
        lines = self.answers.get(place, dns.rcode.NXDOMAIN)
        if isinstance(lines, int):
            reply.set_rcode(dns.rcode.Rcode(lines))
        else:
            for line in lines:
                name, ttl, _, kind, value = line.split(" ", 4)
                reply.answer.append(
                    dns.rrset.from_text(name, int(ttl), "IN", kind, value)
                )
        if self.with_soa and not any(place[1] in line for line in self._text(lines)):
            reply.authority.append(
                dns.rrset.from_text("example.", 60, "IN", "SOA", _SOA[1])
            )
        self._send(reply.to_wire(), address)

    def _text(self, lines: list[str] | int) -> list[str]:
        return [] if isinstance(lines, int) else lines

    def _send(self, wire: bytes, address: object) -> None:
        if self.delay is None or self.delay.is_set():
            self.transport.sendto(wire, address)  # type: ignore[arg-type]
            return
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, self._send, wire, address)


@pytest.fixture
async def server() -> AsyncIterator[_Server]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        _Server, local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


def _options(server: _Server, **changes: object) -> ResolverOptions:
    host, port = server.transport.get_extra_info("sockname")
    return ResolverOptions(
        servers=((IPv4Address(host), port),),
        timeout=timedelta(milliseconds=300),
        lifetime=timedelta(milliseconds=600),
        authoritative_port=port,
        **changes,  # type: ignore[arg-type]
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def resolver(server: _Server, clock: FakeClock) -> DnsResolver:
    return DnsResolver(options=_options(server), clock=clock)


@pytest.mark.parametrize(
    ("kind", "value", "record"),
    [
        ("A", "192.0.2.1", IPv4Address("192.0.2.1")),
        ("MX", "10 MX1.Example.", MxRecord(10, "mx1.example")),
        ("MX", "0 .", MxRecord(0, "")),
        ("NS", "NS1.Example.", "ns1.example"),
        ("TXT", '"v=DKIM1; p=ab" "cd\\195"', "v=DKIM1; p=abcd\u00c3"),
    ],
)
async def test_each_type_becomes_its_value(
    server: _Server, resolver: DnsResolver, kind: str, value: str, record: object
) -> None:
    server.answers[("a.example", kind)] = [f"a.example. 60 IN {kind} {value}"]

    answer = await resolver.lookup("a.example", RecordType(kind))

    assert answer == Found(records=(record,), chain=(), ttl=60)  # type: ignore[arg-type]


async def test_the_chain_of_cnames_is_reported_with_the_lowest_ttl(
    server: _Server, resolver: DnsResolver
) -> None:
    server.answers[("a.example", "A")] = [
        "a.example. 40 IN CNAME B.example.",
        "b.example. 50 IN CNAME c.example.",
        "c.example. 60 IN A 192.0.2.1",
    ]

    answer = await resolver.lookup("A.Example.", RecordType.A)

    assert isinstance(answer, Found)
    assert answer.chain == ("b.example", "c.example")
    assert answer.ttl == 40


async def test_case_113_a_chain_that_the_server_left_open_is_followed(
    server: _Server, resolver: DnsResolver
) -> None:
    server.with_soa = False
    server.answers[("a.example", "TXT")] = ["a.example. 60 IN CNAME b.other."]
    server.answers[("b.other", "TXT")] = ['b.other. 60 IN TXT "there"']

    answer = await resolver.lookup("a.example", RecordType.TXT)

    assert answer == Found(records=("there",), chain=("b.other",), ttl=60)


async def test_case_113_a_cname_loop_ends_unanswered(
    server: _Server, resolver: DnsResolver
) -> None:
    server.with_soa = False
    server.answers[("a.example", "A")] = ["a.example. 60 IN CNAME b.example."]
    server.answers[("b.example", "A")] = ["b.example. 60 IN CNAME a.example."]

    assert isinstance(await resolver.lookup("a.example", RecordType.A), Unanswered)
    assert len(server.asked) < 12


@pytest.mark.parametrize(
    ("links", "kind"), [(MAX_CHAIN, Found), (MAX_CHAIN + 1, Unanswered)]
)
async def test_case_113_a_chain_is_followed_to_its_limit_and_no_further(
    server: _Server, resolver: DnsResolver, links: int, kind: type[object]
) -> None:
    server.with_soa = False
    for n in range(links):
        server.answers[(f"n{n}.example", "A")] = [
            f"n{n}.example. 60 IN CNAME n{n + 1}.example."
        ]
    server.answers[(f"n{links}.example", "A")] = [
        f"n{links}.example. 60 IN A 192.0.2.1"
    ]

    assert isinstance(await resolver.lookup("n0.example", RecordType.A), kind)


async def test_case_111_no_name_no_data_and_no_answer_are_told_apart(
    server: _Server, resolver: DnsResolver
) -> None:
    server.answers[("data.example", "A")] = []
    server.answers[("broken.example", "A")] = dns.rcode.SERVFAIL
    server.answers[("refused.example", "A")] = dns.rcode.REFUSED

    async def ask(name: str) -> object:
        return await resolver.lookup(name, RecordType.A)

    assert await ask("gone.example") == NoName(chain=(), ttl=30)
    assert await ask("data.example") == NoData(chain=(), ttl=30)
    assert isinstance(await ask("broken.example"), Unanswered)
    assert isinstance(await ask("refused.example"), Unanswered)
    assert isinstance(await ask("x" * 64 + ".example"), NoName)
    assert isinstance(await ask("a..example"), NoName)


async def test_a_cname_to_a_name_that_is_gone_keeps_its_chain(
    server: _Server, resolver: DnsResolver
) -> None:
    server.answers[("a.example", "MX")] = ["a.example. 60 IN CNAME gone.example."]
    server.with_soa = False

    answer = await resolver.lookup("a.example", RecordType.MX)

    assert isinstance(answer, NoName)
    assert answer.chain == ("gone.example",)


async def test_case_120_an_answer_is_kept_for_its_ttl(
    server: _Server, resolver: DnsResolver, clock: FakeClock
) -> None:
    server.answers[("a.example", "A")] = ["a.example. 60 IN A 192.0.2.1"]

    await resolver.lookup("a.example", RecordType.A)
    clock.advance(59)
    await resolver.lookup("a.example", RecordType.A)
    assert len(server.asked) == 1
    clock.advance(2)
    await resolver.lookup("a.example", RecordType.A)
    assert len(server.asked) == 2


async def test_case_120_a_no_is_kept_for_the_negative_ttl(
    server: _Server, resolver: DnsResolver, clock: FakeClock
) -> None:
    await resolver.lookup("gone.example", RecordType.A)
    clock.advance(29)
    await resolver.lookup("gone.example", RecordType.A)
    assert len(server.asked) == 1
    clock.advance(2)
    await resolver.lookup("gone.example", RecordType.A)
    assert len(server.asked) == 2


async def test_case_120_silence_is_never_kept_for_more_than_30_seconds(
    server: _Server, clock: FakeClock
) -> None:
    options = _options(server, unanswered_ttl=timedelta(hours=1))
    resolver = DnsResolver(options=options, clock=clock)
    server.answers[("a.example", "A")] = dns.rcode.SERVFAIL
    await resolver.lookup("a.example", RecordType.A)
    server.answers[("a.example", "A")] = ["a.example. 60 IN A 192.0.2.1"]

    assert isinstance(await resolver.lookup("a.example", RecordType.A), Unanswered)
    clock.advance(31)
    assert isinstance(await resolver.lookup("a.example", RecordType.A), Found)


async def test_a_fresh_look_up_passes_by_the_cache_and_renews_it(
    server: _Server, resolver: DnsResolver
) -> None:
    server.answers[("a.example", "A")] = ["a.example. 60 IN A 192.0.2.1"]
    await resolver.lookup("a.example", RecordType.A)
    server.answers[("a.example", "A")] = ["a.example. 60 IN A 192.0.2.2"]

    fresh = await resolver.lookup("a.example", RecordType.A, fresh=True)
    cached = await resolver.lookup("a.example", RecordType.A)

    assert isinstance(fresh, Found)
    assert fresh.records == (IPv4Address("192.0.2.2"),)
    assert cached == fresh


async def test_the_cache_holds_no_more_entries_than_its_bound(
    server: _Server, clock: FakeClock
) -> None:
    resolver = DnsResolver(options=_options(server, entries=2), clock=clock)
    for name in ("a.example", "b.example", "a.example", "c.example", "a.example"):
        await resolver.lookup(name, RecordType.A)
    assert [name for name, _ in server.asked] == ["a.example", "b.example", "c.example"]

    await resolver.lookup("b.example", RecordType.A)
    assert len(server.asked) == 4


async def test_equal_look_ups_in_flight_are_one_question(
    server: _Server, resolver: DnsResolver
) -> None:
    server.answers[("a.example", "A")] = ["a.example. 60 IN A 192.0.2.1"]

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(resolver.lookup("a.example", RecordType.A))
            for _ in range(20)
        ]

    assert len({id(task.result()) for task in tasks}) == 1
    assert len(server.asked) == 1


async def test_who_waits_asks_again_when_who_asked_is_cancelled(
    server: _Server, resolver: DnsResolver
) -> None:
    server.answers[("a.example", "A")] = ["a.example. 60 IN A 192.0.2.1"]
    server.delay = asyncio.Event()
    asks = asyncio.ensure_future(resolver.lookup("a.example", RecordType.A))
    await server.was_asked.wait()
    waits = asyncio.ensure_future(resolver.lookup("a.example", RecordType.A))
    await asyncio.sleep(0)

    asks.cancel()
    server.delay.set()

    assert isinstance(await waits, Found)
    with pytest.raises(asyncio.CancelledError):
        await asks


async def test_a_server_that_is_silent_gives_no_answer_in_time(
    server: _Server, resolver: DnsResolver
) -> None:
    server.delay = asyncio.Event()

    async with asyncio.timeout(5):
        answer = await resolver.lookup("a.example", RecordType.A)

    assert answer == Unanswered(cause="A a.example: no answer from 127.0.0.1 in 0.6 s")


async def test_servers_that_were_silent_get_one_turn_until_they_speak_again(
    server: _Server, resolver: DnsResolver
) -> None:
    silent_until = server.delay = asyncio.Event()

    first = await resolver.lookup("a.example", RecordType.A)
    second = await resolver.lookup("b.example", RecordType.A)
    silent_until.set()
    third = await resolver.lookup("c.example", RecordType.A)
    server.delay = asyncio.Event()
    fourth = await resolver.lookup("d.example", RecordType.A)

    silences = [one for one in (first, second, fourth) if isinstance(one, Unanswered)]
    causes = [one.cause[-8:] for one in silences]
    assert causes == ["in 0.6 s", "in 0.3 s", "in 0.6 s"]
    assert isinstance(third, NoName)


def _delegate(server: _Server) -> None:
    server.answers[("example", "NS")] = ["example. 60 IN NS ns.example."]
    server.answers[("ns.example", "A")] = ["ns.example. 60 IN A 127.0.0.1"]
    server.answers[("ns.example", "AAAA")] = []


async def test_a_zones_own_servers_are_asked_at_the_configured_port(
    server: _Server, resolver: DnsResolver
) -> None:
    _delegate(server)
    server.answers[("a.example", "TXT")] = ['a.example. 60 IN TXT "now"']
    authoritative = AuthoritativeResolver(recursive=resolver, options=_options(server))

    answer = await authoritative.lookup("a.example", RecordType.TXT)

    assert answer == Found(records=("now",), chain=(), ttl=60)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (
            lambda server: setattr(server, "authoritative", False),
            "no authoritative answer for a.example",
        ),
        (
            lambda server: server.answers.pop(("ns.example", "A")),
            "no address was found of its name servers: ns.example",
        ),
        (
            lambda server: server.answers.update(
                {("example", "NS"): dns.rcode.SERVFAIL}
            ),
            "our own resolver gives no answer: NS example",
        ),
        (
            lambda server: server.answers.pop(("example", "NS")),
            "no zone that a.example could be in is delegated",
        ),
    ],
)
async def test_what_is_not_authoritative_is_no_answer_and_says_who_was_silent(
    server: _Server,
    resolver: DnsResolver,
    spoil: Callable[[_Server], object],
    cause: str,
) -> None:
    _delegate(server)
    server.answers[("a.example", "TXT")] = ['a.example. 60 IN TXT "now"']
    spoil(server)
    authoritative = AuthoritativeResolver(recursive=resolver, options=_options(server))

    answer = await authoritative.lookup("a.example", RecordType.TXT)

    assert isinstance(answer, Unanswered)
    assert cause in answer.cause


async def test_an_alias_into_a_zone_that_is_gone_is_still_seen_as_the_alias_it_is(
    server: _Server, resolver: DnsResolver
) -> None:
    """A resolver that is asked for the zone of such a name gives no answer at all."""
    _delegate(server)
    alias = ["a.example. 60 IN CNAME gone.test."]
    server.answers[("a.example", "CNAME")] = alias
    server.answers[("a.example", "NS")] = dns.rcode.SERVFAIL
    authoritative = AuthoritativeResolver(recursive=resolver, options=_options(server))

    answer = await authoritative.lookup("a.example", RecordType.CNAME)

    assert answer == Found(records=("gone.test",), chain=(), ttl=60)


def test_what_the_library_says_is_cut_at_a_word_and_marked() -> None:
    text = shortened("the server 127.0.0.1 answered nothing; " * 20)

    assert len(text) <= 290
    *words, mark = text.split(" ")
    assert mark == "…"
    assert set(words) <= {"the", "server", "127.0.0.1", "answered", "nothing;"}
    assert shortened("short") == "short"


def test_the_system_clock_is_aware_and_its_units_agree() -> None:
    clock = SystemClock()
    before, now, after = clock.unix_ms(), clock.now(), clock.unix_ms()

    assert now.tzinfo is not None
    assert before <= now.timestamp() * 1000 + 1 <= after + 2
    assert clock.monotonic() <= clock.monotonic()
