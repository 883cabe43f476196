"""A return goes home once, to an address it may go to, in a form that DMARC passes; what
loops, storms or was only claimed goes nowhere."""

import email
import json
from dataclasses import replace
from datetime import timedelta
from email.message import Message
from functools import partial

import pytest
from sqlalchemy import select

from soboo_mta.events.event import EventKind
from soboo_mta.formats.authentication import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    SpfVerdict,
)
from soboo_mta.mail.address import parse_mailbox, parse_reverse_path
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import FORWARDER_NUMBER, OPERATOR_LANE, MessageId, TenantId
from soboo_mta.mail.notify import Asked, DsnRequest, Notify, OriginalRecipient
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.spool.content import PIECE_OCTETS, Corrupt, load
from soboo_mta.spool.returned.claiming import reopen
from soboo_mta.spool.returned.forwarding import claim_forwards
from soboo_mta.spool.returned.view import sweep_returned
from soboo_mta.store.schema import event, forward, message
from soboo_mta.store.unit import Fenced
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.accounts import Returns, Tenant, add_tenant
from soboo_mta.tenancy.signing.keys import add_operator_keys
from tests.fakes.clock import FakeClock
from tests.fakes.returns import (
    FORWARDING,
    ReturnDesk,
    a_delivered_message,
    return_desk,
)
from tests.fakes.tenancy import MASTER, small_pair, tenant, with_domain
from tests.unit.formats.returned_examples import dsn, mail
from tests.unit.returns.test_returns_reading import (
    BOB,
    COMPLAINT,
    DELAYED,
    UNKNOWN,
    bring,
    states,
)

APP = "app@customer.com"  # the reverse-path that was submitted
ANSWER = mail(
    "Yes, gladly.",
    From='"Doe, Bob" <bob@there.example>',
    Subject="Re: Hello",
    Message_ID="<2@there.example>",
    In_Reply_To="<1@customer.com>",
    References="<1@customer.com>",
    Received="from a by b; Mon, 1 Jan 2029 00:00:00 +0000",
)
AWAY = mail("I am away.", Auto_Submitted="auto-replied", Subject="Away")
HEARD = dsn(
    "Reporting-MTA: dns; mx.there.example\n\n"
    "Final-Recipient: rfc822; bob@there.example\nAction: delivered\nStatus: 2.0.0\n"
)


async def settled(
    writer: Writer, *, verified: bool = True, keys: bool = True, **changed: object
) -> None:
    """The tenant, its domain, the operator's keys."""

    def write(at) -> None:  # type: ignore[no-untyped-def]
        add_tenant(at, tenant(**changed), now=1)
        with_domain(at, assume_verified=verified)
        if keys:
            add_operator_keys(at, MASTER, [small_pair()], now=1)

    await writer.transact(write)


@pytest.fixture
async def one(writer: Writer, clock: FakeClock) -> ReturnDesk:
    await settled(writer)
    await a_delivered_message(writer, clock, BOB)
    return return_desk(writer, clock)


async def home(one: ReturnDesk) -> list[SpooledMessage]:
    """Read and send home all there is; return what is in the queue for that."""
    await one.read_all()
    await one.send_home()
    assert one.log.errors == []
    query = select(message.c.id).where(message.c.domain_id < 0).order_by(message.c.id)
    ids = await one.writer.read(lambda at: at.scalars(query).all())
    found = await one.writer.read(lambda at: load(at, ids))
    messages = list(found.values())
    assert not [each for each in messages if isinstance(each, Corrupt)]
    return messages  # type: ignore[return-value]  # as just looked


def parsed(one: SpooledMessage) -> Message:
    return email.message_from_bytes(one.content)


async def withheld(one: ReturnDesk) -> list[str]:
    """Why returns stayed."""
    query = (
        select(event.c.detail)
        .where(event.c.kind == EventKind.FORWARD_WITHHELD.value)
        .order_by(event.c.id)
    )
    found = await one.writer.read(lambda at: at.scalars(query).all())
    return [json.loads(each)["cause"] for each in found]


# ---- the forms


async def test_a_bounce_comes_home_as_a_report_like_our_own(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer)
    asked = Asked(orcpt=OriginalRecipient("rfc822", "Bob@Old.example"))
    request = DsnRequest(envelope_id="Order17", asked=(asked,))
    await a_delivered_message(writer, clock, BOB, dsn=request)
    one = return_desk(writer, clock)
    await bring(one, UNKNOWN, one.address())

    (sent,) = await home(one)
    assert (str(sent.recipients[0]), sent.tenant) == (APP, "acme")
    assert sent.reverse_path.is_null
    assert sent.is_report
    assert str(sent.author) == "MAILER-DAEMON@esp.example"
    found = parsed(sent)
    assert found.get_content_type() == "multipart/report"
    assert found["Auto-Submitted"] == "auto-replied"
    assert found["In-Reply-To"] == "<1@customer.com>"
    about, bob = found.get_payload(1).get_payload()  # type: ignore[union-attr]
    assert about["Original-Envelope-Id"] == "Order17"
    assert bob["Final-Recipient"] == f"rfc822; {BOB}"
    assert bob["Original-Recipient"] == "rfc822; Bob@Old.example"
    assert (bob["Action"], bob["Status"]) == ("failed", "5.1.1")
    assert bob["Remote-MTA"] == "dns; mx.there.example"
    assert bob["Diagnostic-Code"] == f"smtp; 550 5.1.1 <{BOB}>: no such user"
    words = found.get_payload(0).get_payload()  # type: ignore[union-attr]
    assert "There is no such mailbox." in words  # the class's own sentence
    enclosed = found.get_payload(2)
    assert enclosed.get_content_type() == "message/rfc822"  # type: ignore[union-attr]
    assert UNKNOWN in sent.content  # octet for octet
    assert await one.told() == [EventKind.RETURNED, EventKind.RETURN_FORWARDED]


async def test_an_answer_comes_home_whole_from_the_operators_address(
    one: ReturnDesk,
) -> None:
    await bring(one, ANSWER, one.address(), sender=BOB)

    (sent,) = await home(one)
    assert str(sent.author) == str(sent.reverse_path) == "replies@esp.example"
    found = parsed(sent)
    assert found["From"].replace("\r\n", "") == (
        '"Doe, Bob (via esp.example)" <replies@esp.example>'
    )
    assert found["Reply-To"] == f"<{BOB}>"
    assert found["To"] == f"<{APP}>"
    assert found["Subject"] == "Re: Hello"
    assert found["References"].split() == ["<1@customer.com>", "<2@there.example>"]
    assert found["In-Reply-To"] == "<1@customer.com>"
    assert found["Message-ID"] == f"<{sent.message_id}@esp.example>"
    assert (found["Received"], found["Auto-Submitted"]) == (None, None)
    assert sent.content.endswith(b"\r\n\r\nYes, gladly.\r\n")


async def test_an_automatic_answer_comes_home_with_a_null_reverse_path(
    one: ReturnDesk,
) -> None:
    await bring(one, AWAY, one.address())
    (sent,) = await home(one)
    assert sent.reverse_path.is_null  # RFC 3834 §2: no program answers it
    assert parsed(sent)["Auto-Submitted"] == "auto-replied"
    assert parsed(sent)["Subject"] == "Away"


async def test_what_nobody_knows_comes_home_attached(one: ReturnDesk) -> None:
    strange = mail("Buy this.", Subject="An offer")
    await bring(one, strange, one.address())
    (sent,) = await home(one)
    assert sent.reverse_path.is_null
    words, enclosed = parsed(sent).get_payload()
    assert f"<{BOB}>" in words.get_payload()  # type: ignore[union-attr]
    assert enclosed.get_content_type() == "message/rfc822"  # type: ignore[union-attr]
    assert strange in sent.content


@pytest.mark.parametrize(
    "broken",
    [
        ANSWER.replace(b"gladly", b"\0gladly"),
        ANSWER.replace(b"gladly", b"g" * 2_000),
        ANSWER.replace(b"gladly.\r\n", b"gladly.\n"),
        ANSWER.replace(b"Subject: ", "Subject: ä".encode()),
        ANSWER.replace(b"Subject: ", b"Subject: One\r\nSubject: "),
    ],
)
async def test_an_answer_that_no_message_may_hold_comes_home_attached(
    one: ReturnDesk, broken: bytes
) -> None:
    await bring(one, broken, one.address(), sender=BOB)
    (sent,) = await home(one)
    _, enclosed = parsed(sent).get_payload()
    whole = enclosed.get_payload(decode=True) or broken  # type: ignore[union-attr]
    assert whole == broken
    assert max(map(len, sent.content.split(b"\r\n"))) <= 998
    assert b"\0" not in sent.content


async def test_of_what_is_too_large_the_header_comes_home(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer)
    await a_delivered_message(writer, clock, BOB)
    small = replace(FORWARDING, max_answer=200, max_attached=100)
    one = return_desk(writer, clock, forwarding=small)
    await bring(one, ANSWER, one.address(), sender=BOB)
    (sent,) = await home(one)
    assert b"Subject: Re: Hello" in sent.content
    assert b"Yes, gladly." not in sent.content
    assert f"{len(ANSWER)} octets".encode() in sent.content


async def test_a_large_answer_is_staged_in_pieces(one: ReturnDesk) -> None:
    body = b"".join(b"line %08d\r\n" % number for number in range(40_000))
    large = ANSWER.replace(b"Yes, gladly.\r\n", body)
    assert len(large) > 2 * PIECE_OCTETS
    await bring(one, large, one.address(), sender=BOB)
    (sent,) = await home(one)
    assert sent.content.endswith(body)


# ---- who gets one


async def test_elsewhere_it_goes_to_the_registered_address_or_nowhere(
    writer: Writer, clock: FakeClock
) -> None:
    reports, returns = map(parse_mailbox, ("ops@acme.example", "back@acme.example"))
    await settled(writer, report_address=reports, returns_to=returns)
    await _second_tenants(writer)
    places = {}
    for number, who in enumerate(("acme", "mild", "bare"), start=8):
        message_id = MessageId(number << 22)
        await a_delivered_message(
            writer,
            clock,
            BOB,
            message_id=message_id,
            named=f"<{number}@customer.com>",
            tenant=TenantId(who),
            reverse_path=parse_reverse_path("x@elsewhere.example"),
        )
        places[who] = message_id
    one = return_desk(writer, clock)
    for message_id in places.values():
        await bring(one, AWAY, one.address(message=message_id))
    sent = await home(one)
    assert [str(each.recipients[0]) for each in sent] == [
        str(returns),
        "ops@mild.example",
    ]
    (why,) = await withheld(one)
    assert why.startswith("x@elsewhere.example is in none of the tenant's")


async def _second_tenants(writer: Writer) -> None:
    mild = parse_mailbox("ops@mild.example")

    def write(at) -> None:  # type: ignore[no-untyped-def]
        add_tenant(at, tenant(TenantId("mild"), report_address=mild), now=1)
        add_tenant(at, tenant(TenantId("bare")), now=1)

    await writer.transact(write)


async def test_an_unverified_domain_of_the_tenants_is_no_home(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer, verified=False)
    await a_delivered_message(writer, clock, BOB)
    one = return_desk(writer, clock)
    await bring(one, AWAY, one.address())
    assert await home(one) == []
    assert len(await withheld(one)) == 1


async def test_events_alone_where_the_tenant_wants_that(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer, returns=Returns.EVENTS)
    await a_delivered_message(writer, clock, BOB)
    one = return_desk(writer, clock)
    await bring(one, UNKNOWN, one.address())
    assert await home(one) == []
    assert await one.told() == [EventKind.RETURNED]


async def test_a_null_reverse_path_is_never_answered(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer, returns_to=parse_mailbox("back@acme.example"))
    null = parse_reverse_path("")
    await a_delivered_message(writer, clock, BOB, reverse_path=null)
    one = return_desk(writer, clock)
    await bring(one, UNKNOWN, one.address())
    assert await home(one) == []


async def test_without_the_operators_keys_nothing_goes(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer, keys=False)
    await a_delivered_message(writer, clock, BOB)
    one = return_desk(writer, clock)
    await bring(one, AWAY, one.address())
    assert await home(one) == []
    (why,) = await withheld(one)
    assert "soboo-mta key operator" in why


@pytest.mark.parametrize(
    ("notify", "octets", "goes"),
    [
        ((), UNKNOWN, True),
        ((Notify.FAILURE,), UNKNOWN, True),
        ((Notify.NEVER,), UNKNOWN, False),
        ((Notify.SUCCESS,), UNKNOWN, False),
        ((), DELAYED, False),  # [reports] warn_of_delay is off
        ((Notify.DELAY,), DELAYED, True),
        ((), HEARD, False),
        ((Notify.SUCCESS,), HEARD, True),
    ],
)
async def test_a_report_comes_home_where_the_sender_asked_for_it(
    writer: Writer,
    clock: FakeClock,
    notify: tuple[Notify, ...],
    octets: bytes,
    goes: bool,
) -> None:
    await settled(writer)
    request = DsnRequest(asked=(Asked(notify=frozenset(notify)),))
    await a_delivered_message(writer, clock, BOB, dsn=request)
    one = return_desk(writer, clock)
    await bring(one, octets, one.address())
    assert len(await home(one)) == goes


# ---- once, and no more


async def test_a_failure_comes_home_once(one: ReturnDesk) -> None:
    for _ in range(3):
        await bring(one, UNKNOWN, one.address())
    assert len(await home(one)) == 1


async def test_a_failure_that_we_reported_ourselves_stays(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer)
    await a_delivered_message(writer, clock, BOB, refused=True)
    one = return_desk(writer, clock)
    await bring(one, UNKNOWN, one.address())
    assert await states(one) == ["failed"]
    assert await home(one) == []


async def test_what_is_only_claimed_or_complained_of_stays(one: ReturnDesk) -> None:
    claimed = dsn(
        "Reporting-MTA: dns; a.example\n\nFinal-Recipient: rfc822; bob@there.example\n"
        "Action: failed\nStatus: 5.1.1\n"
    ).replace(b"<1@acme.example>", b"<1@customer.com>")
    await bring(one, claimed, "fbl@esp.example")
    await bring(one, COMPLAINT, one.address())
    assert await home(one) == []
    assert EventKind.COMPLAINED in await one.told()


async def test_a_storm_is_bounded_for_each_recipient(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer)
    await a_delivered_message(writer, clock, BOB, "cy@there.example")
    one = return_desk(writer, clock)
    for _ in range(100):
        await bring(one, AWAY, one.address(0))
    assert len(await home(one)) == FORWARDING.per_recipient
    assert await withheld(one) == [
        "10 about one recipient of a message went home already"
    ]
    await bring(one, AWAY, one.address(1))  # the other's is none of that
    assert len(await home(one)) == FORWARDING.per_recipient + 1
    await bring(one, UNKNOWN, one.address(0))  # a failure finds its way all the same
    assert len(await home(one)) == FORWARDING.per_recipient + 2


async def test_a_storm_is_bounded_for_each_tenant_and_hour(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer)
    to = [f"r{number}@there.example" for number in range(8)]
    await a_delivered_message(writer, clock, *to)
    few = replace(FORWARDING, per_hour=3)
    one = return_desk(writer, clock, forwarding=few)
    for position in range(6):
        await bring(one, AWAY, one.address(position))
    assert len(await home(one)) == 3
    assert len(await withheld(one)) == 1
    clock.advance(3_600)
    await bring(one, AWAY, one.address(6))
    assert len(await home(one)) == 4


async def test_what_was_sent_home_is_never_sent_home_again(one: ReturnDesk) -> None:
    await bring(one, ANSWER, one.address(), sender=BOB)
    (sent,) = await home(one)
    # Its own reverse-path, when it left, was signed for it at the operator's bounce host.
    back = one.address(0, MessageId(sent.message_id))
    await bring(one, mail("Me too.", In_Reply_To="<x@y>", Subject="Re: a"), back)
    await bring(one, AWAY, back)
    await bring(one, UNKNOWN, back)
    # And whoever sends it on to the first address: it bears the mark.
    await bring(one, sent.content, one.address())
    assert len(await home(one)) == 1
    assert await withheld(one) == ["it was sent home before: it loops"]
    assert one.consequences.done == []  # the tenant's own address is not suppressed


async def test_a_rejected_author_is_not_lent_our_signature(one: ReturnDesk) -> None:
    domain = Domain("there.example")
    spf = SpfVerdict(result=Result.NONE, identity=Identity.HELO, domain=None)
    for policy in ("reject", "none"):
        dmarc = DmarcVerdict(result=Result.FAIL, author=domain, policy=policy)
        one.sender.proves = Authentication(spf=spf, dkim=(), dmarc=dmarc)
        await bring(one, ANSWER, one.address(), sender=BOB)
        await one.read_all()
    assert len(await home(one)) == 1
    (why,) = await withheld(one)
    assert "DMARC" in why


# ---- the operator's desk


async def test_postmasters_mail_goes_to_the_operators_desk(one: ReturnDesk) -> None:
    asks = mail("Who are you?", Subject="A question")
    await bring(one, asks, "abuse@esp.example", sender=BOB)
    (sent,) = await home(one)
    assert str(sent.recipients[0]) == "desk@office.example"
    assert (sent.tenant, sent.domain_id) == ("", OPERATOR_LANE)
    assert parsed(sent)["Reply-To"] == f"<{BOB}>"
    assert parsed(sent)["Subject"] == "A question"


async def test_without_a_desk_postmasters_mail_is_kept(
    writer: Writer, clock: FakeClock
) -> None:
    await settled(writer)
    one = return_desk(writer, clock, forwarding=replace(FORWARDING, desk=None))
    await bring(one, mail("Who are you?"), "postmaster@esp.example", sender=BOB)
    assert await home(one) == []


# ---- processes


async def test_two_processes_make_one_message_of_a_return(one: ReturnDesk) -> None:
    await bring(one, AWAY, one.address())
    await one.read_all()
    now = one.clock.unix_ms()
    claim = partial(claim_forwards, now=now, until=now)
    (stale,) = await one.writer.transact(claim)
    (later,) = await one.writer.transact(claim)
    assert later.forward_id > stale.forward_id  # though the clock stood still
    assert later.forward_id >> 12 & 1023 == FORWARDER_NUMBER
    assert later.tries == 2
    with pytest.raises(Fenced):
        await one.forwarding._make(stale)
    await one.forwarding._make(later)
    with pytest.raises(Fenced):
        await one.forwarding._make(later)
    assert len(await home(one)) == 1


async def test_what_cannot_be_made_stays_and_holds_up_no_other(
    one: ReturnDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bring(one, AWAY, one.address())
    await one.read_all()

    def broken(*_: object, **__: object) -> SpooledMessage:
        raise ValueError("broken")

    making = one.forwarding._making
    monkeypatch.setattr(making, "message", broken)
    for _ in range(3):
        await one.forwarding.make_due()
        one.clock.advance(61)
    assert len(one.log.errors) == 3
    one.log.errors.clear()
    monkeypatch.undo()
    assert await home(one) == []
    (why,) = await withheld(one)
    assert "3 times" in why


async def test_notes_go_with_their_returns(one: ReturnDesk) -> None:
    await bring(one, AWAY, one.address())
    await home(one)
    one.clock.advance(86_400 * 40)
    now = one.clock.unix_ms()
    await sweep_returned(one.writer, keep=timedelta(days=30), now=now)
    assert await one.writer.read(lambda at: at.execute(select(forward)).all()) == []


def test_a_tenants_returns_go_home_where_nothing_is_said() -> None:
    plain = tenant()
    assert isinstance(plain, Tenant)
    assert (plain.returns, plain.returns_to) == (Returns.HOME, None)


async def test_what_went_home_unrecognised_goes_home_no_second_time(
    one: ReturnDesk,
) -> None:
    one.readers.deadly = b"I am away"
    await bring(one, mail("I am away", Auto_Submitted="auto-replied"), one.address())
    for _ in range(3):
        await one.read_all()
        one.clock.advance(31)
    (sent,) = await home(one)
    one.readers.deadly = b"\0never"
    now = one.clock.unix_ms()
    (_,) = await one.writer.transact(lambda at: reopen(at, now=now))
    assert await home(one) == [sent]
    assert await one.told() == [
        EventKind.RETURN_UNRECOGNISED,
        EventKind.RETURN_FORWARDED,
        EventKind.AUTO_REPLIED,
    ]
