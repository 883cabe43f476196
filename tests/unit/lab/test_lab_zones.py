"""The zones as questions and answers, and the files behind them."""

import dns.name
import dns.rcode
import dns.rdatatype
import pytest

from soboo_mta.lab.dns.zones import Reply, ZoneDirectory


@pytest.fixture
def directory(world) -> ZoneDirectory:
    world.write(
        "customer.test",
        "bounce CNAME x1.b.esp.test.",
        "deep.er A 127.0.0.7",
        "*.wild A 127.0.0.8",
        "loop CNAME loop2",
        "loop2 CNAME loop",
        "away CNAME nowhere.esp.test.",
        "sub NS ns1.elsewhere.test.",
        f"long TXT {' '.join(chr(34) + 'y' * 250 + chr(34) for _ in range(8))}",
    )
    world.write("esp.test", "x1.b MX 10 mx", "mx A 127.0.0.2")
    return ZoneDirectory(world.directory / "zones", world.directory / "faults.toml")


def ask(directory: ZoneDirectory, name: str, kind: str = "A") -> Reply:
    return directory.current().lookup(
        dns.name.from_text(name), dns.rdatatype.from_text(kind)
    )


def test_a_record_is_found_whatever_the_case(directory):
    assert str(ask(directory, "MX.esp.TEST").answer[0]) == "127.0.0.2"


def test_a_cname_is_followed_into_another_zone(directory):
    reply = ask(directory, "bounce.customer.test", "MX")
    assert [str(link.name) for link in reply.chain] == ["bounce.customer.test."]
    assert str(reply.answer[0].exchange) == "mx.esp.test."


def test_a_question_for_the_cname_itself_is_answered_with_it(directory):
    reply = ask(directory, "bounce.customer.test", "CNAME")
    assert reply.chain == ()
    assert str(reply.answer[0].target) == "x1.b.esp.test."


def test_a_cname_to_a_missing_name_is_nxdomain_with_its_chain(directory):
    reply = ask(directory, "away.customer.test")
    assert (reply.rcode, len(reply.chain)) == (dns.rcode.NXDOMAIN, 1)


def test_a_cname_loop_is_servfail(directory):
    assert ask(directory, "loop.customer.test").rcode == dns.rcode.SERVFAIL


def test_a_name_without_the_type_is_nodata_with_the_soa(directory):
    reply = ask(directory, "mx.esp.test", "AAAA")
    assert (reply.rcode, reply.answer) == (dns.rcode.NOERROR, None)
    assert reply.authority.rdtype == dns.rdatatype.SOA


def test_a_name_that_only_has_names_below_it_exists(directory):
    assert ask(directory, "er.customer.test").rcode == dns.rcode.NOERROR


def test_a_name_that_is_not_there_is_nxdomain(directory):
    assert ask(directory, "no.esp.test").rcode == dns.rcode.NXDOMAIN


def test_a_name_outside_every_zone_is_nxdomain(directory):
    assert ask(directory, "example.com").rcode == dns.rcode.NXDOMAIN


def test_a_wildcard_stands_for_what_is_below_it_and_for_nothing_else(directory):
    reply = ask(directory, "a.b.wild.customer.test")
    assert str(reply.answer.name) == "a.b.wild.customer.test."
    assert ask(directory, "wild.customer.test").answer is None


def test_a_delegation_to_a_zone_not_held_is_servfail_but_its_ns_are_told(directory):
    assert ask(directory, "a.sub.customer.test").rcode == dns.rcode.SERVFAIL
    assert ask(directory, "sub.customer.test", "NS").answer is not None


def test_a_changed_file_is_read_again(directory, world):
    ask(directory, "mx.esp.test")
    world.write("esp.test", "mx A 127.0.0.99")
    assert str(ask(directory, "mx.esp.test").answer[0]) == "127.0.0.99"


def test_a_new_file_and_a_deleted_file_are_noticed(directory, world):
    ask(directory, "mx.esp.test")
    world.write("late.test", "@ A 127.0.0.5")
    (world.directory / "zones" / "esp.test.zone").unlink()
    assert str(ask(directory, "late.test").answer[0]) == "127.0.0.5"
    assert ask(directory, "mx.esp.test").rcode == dns.rcode.NXDOMAIN


def test_a_file_that_cannot_be_parsed_leaves_its_last_content_and_is_named(
    directory, world
):
    ask(directory, "mx.esp.test")
    world.write("esp.test", "mx A not-an-address")
    assert str(ask(directory, "mx.esp.test").answer[0]) == "127.0.0.2"
    path = world.directory / "zones" / "esp.test.zone"
    assert list(directory.problems) == [path]
    world.write("esp.test", "mx A 127.0.0.3")
    assert str(ask(directory, "mx.esp.test").answer[0]) == "127.0.0.3"
    assert directory.problems == {}


def test_a_fault_on_a_zone_covers_it_and_all_below(directory, world):
    world.write_file(
        "faults.toml", '[[fault]]\nzone = "esp.test"\nanswer = "servfail"\n'
    )
    assert ask(directory, "x1.b.esp.test", "MX").rcode == dns.rcode.SERVFAIL
    assert ask(directory, "deep.er.customer.test").rcode == dns.rcode.NOERROR


def test_a_fault_at_the_target_of_a_cname_is_met_on_the_way(directory, world):
    world.write_file(
        "faults.toml", '[[fault]]\nname = "x1.b.esp.test"\nanswer = "refused"\n'
    )
    assert ask(directory, "bounce.customer.test", "MX").rcode == dns.rcode.REFUSED


def test_a_fault_may_be_for_one_type_and_may_be_silence(directory, world):
    world.write_file(
        "faults.toml",
        '[[fault]]\nname = "mx.esp.test"\ntype = "AAAA"\nanswer = "nothing"\n',
    )
    assert ask(directory, "mx.esp.test", "AAAA").rcode is None
    assert ask(directory, "mx.esp.test", "A").rcode == dns.rcode.NOERROR


def test_a_fault_ends_when_its_file_is_gone(directory, world):
    world.write_file(
        "faults.toml", '[[fault]]\nzone = "esp.test"\nanswer = "servfail"\n'
    )
    ask(directory, "mx.esp.test")
    (world.directory / "faults.toml").unlink()
    assert ask(directory, "mx.esp.test").rcode == dns.rcode.NOERROR


@pytest.mark.parametrize(
    "text",
    [
        '[[fault]]\nanswer = "servfail"\n',
        '[[fault]]\nzone = "a"\nname = "b"\nanswer = "servfail"\n',
        '[[fault]]\nzone = "a"\nanswer = "perhaps"\n',
        '[[fault]]\nzone = "a"\nanswer = "refused"\ntype = "NOSUCH"\n',
        '[[fault]]\nzone = "a"\nansver = "refused"\n',
        "[[fault",
    ],
)
def test_a_faults_file_that_makes_no_sense_is_a_problem(directory, world, text):
    world.write_file("faults.toml", text)
    directory.current()
    assert list(directory.problems) == [world.directory / "faults.toml"]
