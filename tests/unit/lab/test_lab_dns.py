"""The name server on the wire, asked by dnspython as a resolver would."""

import socket
from collections.abc import AsyncIterator

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from soboo_mta.lab.binding import bound
from soboo_mta.lab.dns.server import NameServer
from soboo_mta.lab.dns.zones import ZoneDirectory

_LONG = " ".join('"' + "y" * 250 + '"' for _ in range(8))


@pytest.fixture
async def server(world) -> AsyncIterator[NameServer]:
    world.write("dest.test", "@ MX 10 mx", "mx A 127.0.0.2", f"long TXT {_LONG}")
    zones = ZoneDirectory(world.directory / "zones", world.directory / "faults.toml")
    made = NameServer(zones, address="127.0.0.1", port=0)
    await made.start()
    yield made
    await made.close()


async def udp(server: NameServer, question: dns.message.Message, within: float = 5.0):
    return await dns.asyncquery.udp(
        question, server.address, port=server.port, timeout=within
    )


async def tcp(server: NameServer, question: dns.message.Message):
    return await dns.asyncquery.tcp(
        question, server.address, port=server.port, timeout=5.0
    )


async def test_an_answer_is_authoritative_and_offers_recursion(server):
    reply = await udp(server, dns.message.make_query("dest.test", "MX"))
    assert reply.flags & dns.flags.AA
    assert reply.flags & dns.flags.RA
    assert "mx.dest.test." in reply.answer[0].to_text()


async def test_udp_and_tcp_answer_at_one_port(server):
    question = dns.message.make_query("mx.dest.test", "A")
    assert (await udp(server, question)).answer == (await tcp(server, question)).answer


async def test_a_long_answer_is_cut_short_on_udp_and_whole_on_tcp(server):
    question = dns.message.make_query("long.dest.test", "TXT")
    assert (await udp(server, question)).flags & dns.flags.TC
    whole = await tcp(server, question)
    assert not whole.flags & dns.flags.TC
    assert len(b"".join(whole.answer[0][0].strings)) == 2000


async def test_a_name_outside_is_nxdomain(server):
    reply = await udp(server, dns.message.make_query("example.com", "A"))
    assert reply.rcode() == dns.rcode.NXDOMAIN


async def test_silence_is_no_packet_at_all(server, world):
    world.write_file(
        "faults.toml", '[[fault]]\nname = "mx.dest.test"\nanswer = "nothing"\n'
    )
    with pytest.raises(dns.exception.Timeout):
        await udp(server, dns.message.make_query("mx.dest.test", "A"), within=0.1)
    assert (await udp(server, dns.message.make_query("dest.test", "MX"))).answer


async def test_a_zone_transfer_is_refused(server):
    reply = await tcp(server, dns.message.make_query("dest.test", "AXFR"))
    assert reply.rcode() == dns.rcode.REFUSED


async def test_an_update_is_not_implemented(server):
    question = dns.message.make_query("dest.test", "SOA")
    question.set_opcode(dns.opcode.NOTIFY)
    reply = await udp(server, question)
    assert reply.rcode() == dns.rcode.NOTIMP


async def test_rubbish_does_not_stop_the_server(server):

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rough:
        rough.sendto(b"\x00\x01rubbish", (server.address, server.port))
    assert (await udp(server, dns.message.make_query("dest.test", "MX"))).answer


def test_a_listening_socket_says_tcp_so_that_replies_are_not_delayed():
    with bound("127.0.0.1", 0, socket.SOCK_STREAM, "a test") as listening:
        assert listening.proto == socket.IPPROTO_TCP
