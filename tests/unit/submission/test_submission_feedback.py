"""The fields by which complaints find home: written by us alone, and signed for."""

from dataclasses import replace

import pytest

from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.verp import WHOLE_MESSAGE, VerpSigner
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId, Stream
from soboo_mta.submission.acceptance import Envelope, Login
from soboo_mta.submission.feedback import Feedback, FeedbackOptions
from tests.fakes.submission import ACME, HEADER, desk, domain_state
from tests.unit.submission.test_submission_identity import CLIENT, ENVELOPE

VERP = VerpSigner({0: b"k" * 32}, 0)
BOUNCE = Domain("bounce.esp.example")
OPTIONS = FeedbackOptions(
    sender="espexample", address=parse_mailbox("fbl@esp.example"), life_ms=1_000
)
NOW = 1_800_000_000_000


def feedback(options: FeedbackOptions = OPTIONS) -> Feedback:
    return Feedback(verp=VERP, bounce_domain=BOUNCE, options=options)


def written(options: FeedbackOptions = OPTIONS, *, two: bool = True) -> dict[str, str]:
    settings = replace(domain_state("acme.example").settings, sign_with_operator=two)
    fields = feedback(options).fields(MessageId(5), settings, Stream("news"), NOW)
    return dict(fields)


def test_feedback_id_has_stream_domain_tenant_and_sender() -> None:
    value = written()["Feedback-ID"]
    words = value.split(":")
    assert (words[0], words[2], words[3]) == ("s-news", "t-acme", "espexample")
    assert len(words) == len(set(words)) == 4


def test_a_report_finds_its_message_by_a_signed_id() -> None:
    fields = written()
    assert fields["CFBL-Address"] == "fbl@esp.example; report=arf"
    token = parse_mailbox(fields["CFBL-Feedback-ID"])
    found = VERP.open(token.local_part, token.domain, NOW)
    assert found is not None
    assert (found.message, found.position) == (5, WHOLE_MESSAGE)


@pytest.mark.parametrize(
    ("options", "two", "names"),
    [
        (OPTIONS, False, {"Feedback-ID"}),
        (replace(OPTIONS, sender=""), True, {"CFBL-Address", "CFBL-Feedback-ID"}),
        (replace(OPTIONS, address=None), True, {"Feedback-ID"}),
        (FeedbackOptions(), True, set()),
    ],
)
def test_an_address_of_ours_is_given_where_our_domain_signs_too(
    options: FeedbackOptions, two: bool, names: set[str]
) -> None:
    assert set(written(options, two=two)) == names


async def accepted(octets: bytes, given: Feedback | None) -> HeaderBlock:
    one = desk()
    one.acceptance._feedback = given
    login = Login(tenant=ACME, credential=None, client=CLIENT)
    envelope: Envelope = ENVELOPE
    await one.acceptance.data(login, envelope, octets)
    return HeaderBlock.parse(one.spool.kept[0].content)


async def test_what_a_client_wrote_there_is_taken_out() -> None:
    octets = HEADER + b"Feedback-ID: a:b:c:another\r\nFEEDBACK-ID: x\r\n\r\nHello\r\n"
    header = await accepted(octets, feedback())
    (field,) = header.named(b"feedback-id")
    assert header.value(field).strip().endswith(b":espexample")


async def test_where_we_write_none_a_client_s_own_stays() -> None:
    octets = HEADER + b"Feedback-ID: a:b:c:another\r\n\r\nHello\r\n"
    header = await accepted(octets, None)
    (field,) = header.named(b"feedback-id")
    assert header.value(field).strip() == b"a:b:c:another"
