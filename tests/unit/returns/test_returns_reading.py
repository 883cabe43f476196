"""What was kept is read, settled once, and changes what it is proved to be about."""

import errno
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from ipaddress import ip_address

import pytest
from sqlalchemy import select

from soboo_mta.events.event import EventKind
from soboo_mta.formats.authentication import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    SignatureVerdict,
    SpfVerdict,
)
from soboo_mta.formats.returned.recognise import Arrival
from soboo_mta.formats.verp import WHOLE_MESSAGE
from soboo_mta.mail.address import NULL_REVERSE_PATH, parse_mailbox, parse_reverse_path
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.ids import MessageId
from soboo_mta.returns.reception import Arriving
from soboo_mta.spool.returned.claiming import claim_unread
from soboo_mta.spool.returned.view import (
    KeptReturn,
    ReturnFilter,
    content,
    count_returns,
    list_returns,
    sweep_returned,
)
from soboo_mta.store.schema import (
    attempt,
    event,
    recipient,
    returned,
    returned_piece,
)
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.returns import (
    HOST,
    MESSAGE,
    ReturnDesk,
    a_delivered_message,
    return_desk,
)
from tests.unit.formats.returned_examples import dsn, mail, multipart

BOB = "bob@there.example"
CLIENT = ip_address("192.0.2.7")
UNKNOWN = dsn(
    "Reporting-MTA: dns; mx.there.example\n\n"
    "Final-Recipient: rfc822; bob@there.example\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <bob@there.example>: no such user\n"
)
DELAYED = dsn(
    "Reporting-MTA: dns; mx.there.example\n\n"
    "Final-Recipient: rfc822; bob@there.example\nAction: delayed\nStatus: 4.4.1\n"
)
COMPLAINT = multipart(
    "report; report-type=feedback-report",
    ("Content-Type: text/plain", "Somebody complained."),
    (
        "Content-Type: message/feedback-report",
        "Feedback-Type: abuse\r\nUser-Agent: There/1\r\nVersion: 1",
    ),
    (
        "Content-Type: message/rfc822",
        "From: news@customer.com\r\nMessage-ID: <1@customer.com>\r\n\r\nHello",
    ),
)


async def bring(
    one: ReturnDesk, octets: bytes, *addresses: str, sender: str = ""
) -> None:
    """Hand in a return as the listener does."""
    doors = [await one.reception.door(parse_mailbox(to)) for to in addresses]
    arriving = Arriving(
        doors=tuple(doors),
        reverse_path=parse_reverse_path(sender) if sender else NULL_REVERSE_PATH,
        client=CLIENT,
        client_name="mx.there.example",
        protocol="ESMTPS",
    )
    assert (await one.reception.keep(arriving, len(octets), lambda: octets)).code == 250


async def kept(one: ReturnDesk) -> list[KeptReturn]:
    """All returns, the oldest first."""
    found = await one.writer.read(
        lambda at: list_returns(at, ReturnFilter(), limit=1_000)
    )
    return list(reversed(found))


async def states(one: ReturnDesk, message: MessageId = MESSAGE) -> list[str]:
    query = (
        select(recipient.c.state)
        .where(recipient.c.message_id == int(message))
        .order_by(recipient.c.position)
    )
    return list(await one.writer.read(lambda at: at.scalars(query).all()))


@pytest.fixture
def one(writer: Writer, clock: FakeClock) -> ReturnDesk:
    return return_desk(writer, clock)


async def test_case_100_a_bounce_marks_its_recipient_alone(one: ReturnDesk) -> None:
    to = ("ann@there.example", "bob@there.example", "cy@there.example")
    await a_delivered_message(one.writer, one.clock, *to)

    await bring(one, UNKNOWN, one.address(1))
    await one.read_all()

    (found,) = await kept(one)
    assert (found.kind, found.bounce_class) == ("dsn", "invalid-mailbox")
    assert (found.tenant, found.message_id, found.position) == ("acme", MESSAGE, 1)
    assert await states(one) == ["delivered", "returned", "delivered"]
    assert one.consequences.done == [("invalid-mailbox", "bob@there.example")]
    assert await one.told() == [EventKind.RETURNED]
    told = await one.writer.read(lambda at: at.scalars(select(event.c.detail)).all())
    attempts = await one.writer.read(
        lambda at: at.scalars(select(attempt.c.id).where(attempt.c.position == 1)).all()
    )
    detail = json.loads(told[0])
    assert (detail["host"], [detail["attempt"]]) == (HOST, list(attempts))
    assert one.log.errors == []


async def test_a_return_is_kept_octet_for_octet(one: ReturnDesk) -> None:
    octets = bytes(range(256)) * 3_000 + b"\r\n"  # three pieces
    await bring(one, octets, one.address(), "fbl@esp.example")

    for found in await kept(one):
        number = found.returned_id
        assert await one.writer.read(lambda at, n=number: content(at, n)) == octets
    await one.read_all()
    assert [one.kind for one in await kept(one)] == ["unrecognised", "unrecognised"]


async def test_case_098_a_second_report_on_a_recipient_changes_nothing_more(
    one: ReturnDesk,
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    await bring(one, UNKNOWN, one.address())
    await bring(one, UNKNOWN, one.address())
    await one.read_all()

    assert len(one.consequences.done) == 1
    assert await one.told() == [EventKind.RETURNED, EventKind.RETURNED]


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (DELAYED, EventKind.RETURN_TOLD),
        (
            mail("I am away.", Auto_Submitted="auto-replied", Subject="Away"),
            EventKind.AUTO_REPLIED,
        ),
        (mail("Thank you!", Subject="Re: Hello"), EventKind.REPLIED),
        (b"\xff\x00\r\n", EventKind.RETURN_UNRECOGNISED),
    ],
)
async def test_case_099_what_is_no_failure_is_told_and_changes_nothing(
    one: ReturnDesk, octets: bytes, told: EventKind
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    await bring(one, octets, one.address(), sender=BOB)
    await one.read_all()

    assert await states(one) == ["delivered"]
    assert one.consequences.done == []
    assert await one.told() == [told]


async def test_a_complaint_by_message_id_is_shown_and_changes_nothing(
    one: ReturnDesk,
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    await bring(one, COMPLAINT, "fbl@esp.example")
    await one.read_all()

    (found,) = await kept(one)
    assert (found.kind, found.message_id, found.tenant) == (
        "complaint",
        MESSAGE,
        "acme",
    )
    assert one.consequences.done == []
    assert await one.told() == [EventKind.COMPLAINED]


async def test_case_106_a_complaint_with_a_signed_reverse_path_counts(
    one: ReturnDesk,
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    path = f"Return-Path: <{one.address()}>\r\nFrom: news@".encode()
    await bring(one, COMPLAINT.replace(b"From: news@", path), "fbl@esp.example")
    await one.read_all()

    assert one.consequences.done == [("complained", "bob@there.example")]


async def test_case_109_a_bounce_counts_whatever_spf_says_of_who_brought_it(
    one: ReturnDesk,
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    spf = SpfVerdict(
        result=Result.FAIL, identity=Identity.HELO, domain=Domain("mx.there.example")
    )
    none = DmarcVerdict(result=Result.NONE, cause="")
    one.sender.proves = Authentication(spf=spf, dkim=(), dmarc=none)
    await bring(one, UNKNOWN, one.address())
    await one.read_all()

    assert await states(one) == ["returned"]
    assert "spf=fail" in str((await kept(one))[0].authentication)


@pytest.mark.parametrize(
    ("domain", "counts"),
    [("fbl.there.example", True), ("there.example", True), ("xthere.example", False)],
)
async def test_a_complaint_of_a_believed_reporter_counts_where_it_is_proved(
    one: ReturnDesk, domain: str, counts: bool
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    signed = SignatureVerdict(result=Result.PASS, domain=Domain(domain))
    one.sender.proves = Authentication(
        spf=SpfVerdict(result=Result.NONE, identity=Identity.HELO, domain=None),
        dkim=(signed,),
        dmarc=DmarcVerdict(result=Result.NONE, cause=""),
    )
    await bring(one, COMPLAINT, "fbl@esp.example")
    await one.read_all()

    assert one.consequences.done == [("complained", "bob@there.example")] * counts
    (found,) = await kept(one)
    assert f"dkim=pass header.d={domain}" in str(found.authentication)
    assert str(found.authentication).startswith("mx.esp.example;")


@pytest.mark.parametrize("others", [(), ("ann@there.example",)])
async def test_a_signed_feedback_id_proves_whom_it_alone_was_sent_to(
    one: ReturnDesk, others: tuple[str, ...]
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example", *others)
    token = one.address(WHOLE_MESSAGE)
    field = f"CFBL-Feedback-ID: {token}\r\nFrom: news@".encode()
    named = COMPLAINT.replace(
        b"Version: 1", b"Version: 1\r\nOriginal-Rcpt-To: bob@there.example"
    )
    await bring(one, named.replace(b"From: news@", field), "fbl@esp.example")
    await one.read_all()

    (found,) = await kept(one)
    assert (found.message_id, found.position) == (MESSAGE, 0)
    assert one.consequences.done == (
        [] if others else [("complained", "bob@there.example")]
    )


async def test_a_forged_reverse_path_inside_a_report_counts_for_nothing(
    one: ReturnDesk,
) -> None:
    await a_delivered_message(
        one.writer, one.clock, "ann@there.example", "bob@there.example"
    )
    forged = one.address().replace("b-0", "b-1", 1)
    path = f"Return-Path: <{forged}>\r\nFrom: news@".encode()
    await bring(one, COMPLAINT.replace(b"From: news@", path), "fbl@esp.example")
    await one.read_all()

    (found,) = await kept(one)
    assert (found.message_id, one.consequences.done) == (None, [])


async def test_case_101_what_ends_its_reader_is_tried_again_then_kept_as_unrecognised(
    one: ReturnDesk,
) -> None:
    one.readers.deadly = b"deadly"
    await bring(one, mail("deadly"), one.address())
    await bring(one, mail("fine", Subject="Re: Hello"), one.address(), sender=BOB)
    for _ in range(3):
        await one.read_all()
        one.clock.advance(31)

    deadly, fine = await kept(one)
    assert (deadly.kind, deadly.reads) == ("unrecognised", 3)
    assert "it took too much" in str(deadly.detail)
    assert (fine.kind, fine.reads) == ("reply", 1)


async def test_a_reader_that_cannot_be_started_holds_up_no_other_return(
    one: ReturnDesk, clock: FakeClock
) -> None:
    """No process to be had, or a bug in looking at a sender: told, and tried again."""
    well = one.readers.read

    async def fails(content: bytes, arrival: Arrival) -> object:
        if b"unlucky" in content:
            raise OSError(errno.EMFILE, "Too many open files")
        return await well(content, arrival)

    one.readers.read = fails  # type: ignore[method-assign, assignment]
    await bring(one, mail("unlucky", Subject="Re: Hello"), one.address(), sender=BOB)
    await bring(one, mail("lucky", Subject="Re: Hello"), one.address(), sender=BOB)
    await one.read_all()

    assert [found.kind for found in await kept(one)] == [None, "reply"]
    assert [type(error) for error in one.log.errors] == [OSError]
    one.readers.read = well  # type: ignore[method-assign]
    clock.advance(31)
    await one.read_all()
    assert [found.kind for found in await kept(one)] == ["reply", "reply"]


async def test_what_was_claimed_by_a_process_that_died_is_read_by_another(
    one: ReturnDesk, clock: FakeClock
) -> None:
    await bring(one, mail("hello", Subject="Re: Hello"), one.address(), sender=BOB)
    now = clock.unix_ms()
    claim = partial(claim_unread, now=now, until=now + 30_000)
    (lost,) = await one.writer.transact(claim)
    await one.read_all()
    assert (await kept(one))[0].kind is None
    clock.advance(31)
    await one.read_all()
    assert [(found.kind, found.reads) for found in await kept(one)] == [("reply", 2)]
    assert lost.reads == 1


async def test_two_readers_settle_a_return_once(
    one: ReturnDesk, writer: Writer, clock: FakeClock
) -> None:
    await a_delivered_message(writer, clock, "bob@there.example")
    await bring(one, UNKNOWN, one.address())
    slow = return_desk(writer, clock)
    slow.readers.read = _overtaken(slow, one, clock)  # type: ignore[method-assign]
    await slow.read_all()

    assert slow.consequences.done == []
    assert len(one.consequences.done) == 1
    assert await one.told() == [EventKind.RETURNED]


def _overtaken(
    slow: ReturnDesk, quick: ReturnDesk, clock: FakeClock
) -> Callable[..., object]:
    """A reader that is so slow that another takes its claim over, and settles."""

    async def read(content: bytes, arrival: object) -> object:
        clock.advance(31)
        await quick.read_all()
        return await type(slow.readers).read(slow.readers, content, arrival)  # type: ignore[arg-type]

    return read


async def test_one_that_cannot_be_settled_holds_up_no_other(one: ReturnDesk) -> None:
    await a_delivered_message(
        one.writer, one.clock, "ann@there.example", "bob@there.example"
    )

    def broken(connection: object, whom: object, said: object, *, now: int) -> None:
        if str(getattr(whom, "recipient", "")).startswith("ann"):
            raise RuntimeError("a bug")

    one.consequences.failed = broken  # type: ignore[method-assign]
    await bring(one, UNKNOWN, one.address(0))
    await bring(one, UNKNOWN, one.address(1))
    await one.reading.read_due()

    first, second = await kept(one)
    assert (first.kind, second.kind) == (None, "dsn")
    assert await states(one) == ["delivered", "returned"]
    assert [str(error) for error in one.log.errors] == ["a bug", "a bug"]


async def test_case_094_a_forged_address_is_refused_and_an_expired_one_too(
    one: ReturnDesk, clock: FakeClock
) -> None:
    good = one.address()
    assert (await one.reception.door(parse_mailbox(good.upper()))).token is not None
    clock.advance(2 * 86_400)
    for wrong in (good, "b-" + "0" * 40 + "@bounce.customer.com", "x@esp.example"):
        with pytest.raises(Reject, match=r"550 5\.1\.1"):
            await one.reception.door(parse_mailbox(wrong))


async def test_what_was_read_goes_with_its_time_and_what_was_not_stays(
    one: ReturnDesk, clock: FakeClock
) -> None:
    await bring(one, b"x" * 600_000, one.address())
    await bring(one, mail("hello", Subject="Re: Hello"), one.address(), sender=BOB)
    await one.read_all()
    await bring(one, mail("not read", Subject="Re: Hello"), one.address(), sender=BOB)
    clock.advance(31 * 86_400)
    keep = timedelta(days=30)
    assert await sweep_returned(one.writer, keep=keep, now=clock.unix_ms()) == 5

    (left,) = await kept(one)
    assert left.kind is None
    pieces = await one.writer.read(lambda at: at.execute(returned_piece.select()).all())
    assert pieces == []
    counted = await one.writer.read(lambda at: count_returns(at, ReturnFilter()))
    assert counted == {(None, None): 1}


async def test_a_return_that_never_came_in_whole_is_swept(
    one: ReturnDesk, clock: FakeClock
) -> None:
    await bring(one, b"x" * 600_000, one.address())
    await one.writer.transact(
        lambda at: at.execute(returned.update().values(due_at=None))
    )
    keep = timedelta(days=30)
    assert await sweep_returned(one.writer, keep=keep, now=clock.unix_ms()) == 0
    clock.advance(3_601)
    assert await sweep_returned(one.writer, keep=keep, now=clock.unix_ms()) == 4


WISH = mail("", Subject="unsubscribe")


@pytest.mark.parametrize("sender", ["bob@there.example", "robot@other.example", ""])
async def test_mail_to_its_address_unsubscribes_a_recipient_whoever_wrote_it(
    one: ReturnDesk, sender: str
) -> None:
    to = ("ann@there.example", "bob@there.example")
    await a_delivered_message(one.writer, one.clock, *to)
    await bring(one, WISH, one.unsubscribe_address(1), sender=sender)
    await one.read_all()

    (found,) = await kept(one)
    assert (found.kind, found.door) == ("unsubscribe", "unsubscribe")
    assert (found.tenant, found.message_id, found.position) == ("acme", MESSAGE, 1)
    assert one.consequences.done == [("unsubscribed", "bob@there.example")]
    assert await one.told() == [EventKind.UNSUBSCRIBED]
    assert await states(one) == ["delivered", "delivered"]


@pytest.mark.parametrize("sender", ["", "bob@there.example"])
@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (UNKNOWN, "dsn"),
        (DELAYED, "dsn"),
        (COMPLAINT, "complaint"),
        (mail("Away", Subject="Away", Auto_Submitted="auto-replied"), "auto-reply"),
    ],
)
async def test_what_programs_answer_to_an_unsubscribe_address_changes_nothing(
    one: ReturnDesk, octets: bytes, kind: str, sender: str
) -> None:
    await a_delivered_message(one.writer, one.clock, "bob@there.example")
    await bring(one, octets, one.unsubscribe_address(), sender=sender)
    await one.read_all()
    await one.send_home()

    (found,) = await kept(one)
    assert found.kind == kind
    assert one.consequences.done == []
    assert await states(one) == ["delivered"]
    assert EventKind.RETURNED not in await one.told()


async def test_an_unsubscribe_address_ends_and_is_no_reverse_path(
    one: ReturnDesk, clock: FakeClock
) -> None:
    path, wish = one.address(), one.unsubscribe_address()
    assert (await one.reception.door(parse_mailbox(path))).kind == "recipient"
    door = await one.reception.door(parse_mailbox(wish.upper()))
    assert door.kind == "unsubscribe"
    swapped = [f"u-{path[2:]}", f"b-{wish[2:]}"]
    for wrong in swapped:
        with pytest.raises(Reject, match=r"550 5\.1\.1"):
            await one.reception.door(parse_mailbox(wrong))
    clock.advance(2 * 86_400)
    with pytest.raises(Reject, match=r"550 5\.1\.1"):
        await one.reception.door(parse_mailbox(wish))
