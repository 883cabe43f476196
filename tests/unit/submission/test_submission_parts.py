"""The pure parts by themselves: body, framing, admission, reply lines."""

from datetime import timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.state import RequiredRecord
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply
from soboo_mta.net.smtp_server.limits.admission import Admission, client_key
from soboo_mta.net.smtp_server.limits.logins import FailedLogins
from soboo_mta.net.smtp_server.limits.neighbours import Neighbours
from soboo_mta.net.smtp_server.limits.rates import Rates
from soboo_mta.net.smtp_server.limits.times import SharedTimes
from soboo_mta.net.smtp_server.protocol.body import Body
from soboo_mta.net.smtp_server.protocol.encode import encode_reply
from soboo_mta.submission import replies
from soboo_mta.submission.framing import check_framing
from soboo_mta.submission.options import ListenerOptions
from tests.fakes.clock import FakeClock


@given(
    lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\r\n" not in line)),
    rest=st.binary(max_size=9),
    sizes=st.lists(st.integers(1, 7), min_size=1),
)
def test_case_004_any_lines_in_any_chunks_come_out_as_they_went_in(
    lines: list[bytes], rest: bytes, sizes: list[int]
) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    if b"\r\n" in content.replace(b"\r\n", b"", len(lines)):
        return  # an octet at a line's end made one more CRLF: another list of lines
    stuffed = b"".join((b"." if x[:1] == b"." else b"") + x + b"\r\n" for x in lines)
    if b"\r\n.\r\n" in b"\r\n" + stuffed:
        return
    octets = stuffed + b".\r\n" + rest
    body, position, step, found = Body(10_000), 0, 0, None
    while found is None:
        size = sizes[step % len(sizes)]
        found = body.feed(octets[position : position + size])
        position, step = position + size, step + 1
    assert found + octets[position:] == rest
    assert body.content() == content


@given(st.binary(max_size=3_000))
def test_framing_lets_through_lines_alone_or_refuses(octets: bytes) -> None:
    for mend in (True, False):
        try:
            content = check_framing(octets, mend_line_ends=mend)
        except Reject:
            continue
        lines = content.split(b"\r\n")
        assert lines.pop() == b""
        assert all(
            len(line) <= 998 and not set(line) & set(b"\r\n\0") for line in lines
        )
        if not mend:
            assert content in (octets, octets + b"\r\n")


@pytest.mark.parametrize("before", [0, 1, 500, 998, 2_000])
def test_case_024_a_long_line_is_found_wherever_it_stands(before: int) -> None:
    head = b"x" * min(before, 998) + b"\r\n"
    good = head * 3 + b"y" * 998 + b"\r\n" + head
    assert check_framing(good, mend_line_ends=False) == good
    with pytest.raises(Reject):
        check_framing(head * 3 + b"y" * 999 + b"\r\n" + head, mend_line_ends=False)


def test_a_long_reply_goes_over_several_lines_of_at_most_512_octets() -> None:
    records = [
        RequiredRecord(
            owner=DnsName(f"sb{i}._domainkey.{'a' * 60}.example"),
            kind="CNAME",  # type: ignore[arg-type] # equal to the enum's value
            value=f"sb{i}.token.k.esp.example.",
            purpose="selector",  # type: ignore[arg-type]
        )
        for i in range(12)
    ]
    lines = encode_reply(replies.not_verified(Domain("a.example"), records)).split(
        b"\r\n"
    )
    assert lines.pop() == b""
    assert len(lines) > 1
    assert all(line.startswith(b"550-5.7.1 ") for line in lines[:-1])
    assert lines[-1].startswith(b"550 5.7.1 ")
    assert all(len(line) <= 510 for line in lines)


def test_a_reply_cannot_carry_a_line_end_or_octets_that_are_not_ascii() -> None:
    said = encode_reply(Reply(550, None, "a\r\n250 OK ö\x1b[2J"))
    assert said.count(b"\r\n") == 1
    assert said.isascii()


def test_one_ipv6_customer_counts_as_one_client() -> None:
    first, second = ip_address("2001:db8::1"), ip_address("2001:db8::ffff:1")
    assert client_key(first) == client_key(second)
    assert client_key(first) != client_key(ip_address("2001:db8:0:1::1"))


def test_every_connection_that_ends_makes_room_again() -> None:
    options = ListenerOptions(max_connections_per_address=1)
    clock = FakeClock()
    rates = Rates(options, SharedTimes(), clock.monotonic)
    admission = Admission(options, rates, Neighbours())
    assert admission.enter("a") is None
    assert admission.enter("a") is replies.TOO_MANY_FROM_CLIENT
    assert admission.enter("b") is None
    admission.leave("a")
    admission.leave("a")
    assert admission.enter("a") is None


def test_case_010_guessing_a_name_from_elsewhere_does_not_lock_its_user_out() -> None:
    clock = FakeClock()
    options = ListenerOptions(
        max_failed_logins_per_user=4, failed_login_window=timedelta(minutes=10)
    )
    failed = FailedLogins(options, SharedTimes(), clock.monotonic)
    failed.succeeded("home", "acme")
    for i in range(4):
        assert not failed.is_barred(f"bot{i}", "acme")
        failed.failed(f"bot{i}", "acme")
    assert failed.is_barred("bot9", "acme")
    assert not failed.is_barred("home", "acme")
    clock.advance(601)
    assert not failed.is_barred("bot9", "acme")
