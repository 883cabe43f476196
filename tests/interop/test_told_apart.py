"""The verifiers are no yes-men: in one run they tell what we sent from what was forged."""

import asyncio
import smtplib
from pathlib import Path

import pytest

from soboo_mta.lab.record import MessageRecord
from tests.interop.house import ACME, BYPASSED, NORDWIND, SINK, VEREIN, House
from tests.interop.test_clients_libraries import rich, with_client
from tests.interop.verifiers import Opinion, judge, suspect

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _sent(house: House, to: str) -> MessageRecord:
    await with_client(
        house, "clear", lambda opened: opened.send_message(rich(to), to_addrs=[to])
    )
    (record,) = await house.arrived(to)
    return record


async def _opinion_of(
    house: House, record: MessageRecord, octets: bytes, directory: Path
) -> Opinion:
    file = directory / "other.eml"
    file.write_bytes(octets)
    (opinion,) = await judge([suspect(record, file)], house.world.lab.dns_port)
    return opinion


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("body", b"Sch", b"SCH"),
        ("subject", b"\r\nSubject: ", b"\r\nSubject: Urgent! "),
        ("second-subject", b"\r\nSubject: ", b"\r\nSubject: Urgent\r\nSubject: "),
        ("second-to", b"\r\nTo: ", b"\r\nTo: you@example.org\r\nTo: "),
        ("reply-to", b"\r\nTo: ", b"\r\nReply-To: evil@example.org\r\nTo: "),
        (
            "content-type",
            b"\r\nMIME-Version: ",
            b"\r\nContent-Type: x/y\r\nMIME-Version: ",
        ),
    ],
)
async def test_case_061_062_174_a_tampered_message_keeps_no_signature(
    house: House, tmp_path: Path, what: str, old: bytes, new: bytes
) -> None:
    record = await _sent(house, f"tampered-{what}@{SINK}")
    assert record.raw is not None
    octets = record.raw.read_bytes()
    assert old in octets
    as_sent = await _opinion_of(house, record, octets, tmp_path)
    assert as_sent.agrees_on(ACME), as_sent
    forged = await _opinion_of(house, record, octets.replace(old, new, 1), tmp_path)
    assert not forged.by_mail_dkim, forged
    assert not forged.by_opendkim, forged


async def test_case_174_another_authors_name_on_a_signed_message_is_not_aligned(
    house: House, tmp_path: Path
) -> None:
    record = await _sent(house, f"other-author@{SINK}")
    assert record.raw is not None
    octets = record.raw.read_bytes()
    forged = await _opinion_of(
        house,
        record,
        octets.replace(f"<news@{ACME}>".encode(), b"<x@bank.example>", 1),
        tmp_path,
    )
    assert forged.author_domain == "bank.example"
    assert not forged.by_anyone, forged


async def test_what_was_sent_past_the_relay_is_not_aligned(house: House) -> None:
    to = f"past@{BYPASSED}"

    def straight() -> None:
        with smtplib.SMTP("127.0.0.3", house.world.lab.sink_port) as opened:
            opened.sendmail(f"x@{SINK}", [to], rich(to).as_string())

    await asyncio.to_thread(straight)
    (record,) = await house.arrived(to)
    (opinion,) = await house.opinions(record)
    assert opinion.author_domain == ACME
    assert not opinion.by_anyone, opinion


@pytest.mark.parametrize("domain", [ACME, VEREIN, NORDWIND])
async def test_case_065_174_each_kind_of_domain_is_aligned_by_rsa(
    house: House, domain: str
) -> None:
    to = f"kind-{domain}@{SINK}"
    user = "nordwind-app" if domain == NORDWIND else "acme-app"
    message = rich(to)
    message.replace_header("From", f"Somebody <news@{domain}>")
    assert (await house.world.submit(user, message, [to])).startswith("250")
    (record,) = await house.arrived(to)
    (opinion,) = await house.opinions(record)
    good = {(s.d, s.a) for s in opinion.mail_dkim if s.result == "pass"}
    assert (domain, "rsa-sha256") in good, opinion
    assert opinion.by_opendkim
    if domain == NORDWIND:  # two signatures of its own
        assert {s.a for s in opinion.mail_dkim} == {"rsa-sha256", "ed25519-sha256"}
    if domain == VEREIN:  # its SPF is not ours to give; the operator signs too
        assert ("esp.example", "rsa-sha256") in good
