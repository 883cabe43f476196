"""Mail that cannot be delivered brings a report to its sender, signed by the operator and
aligned; what a sender asked for survives a kill, and a scheduled message its wait."""

import asyncio
import email
import signal
import smtplib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.message import Message
from pathlib import Path

from flufl.bounce import scan_message

from soboo_mta.cli.trial.world import World
from soboo_mta.lab.record import MessageRecord
from tests.chaos.ready_world import DOMAIN, USER, ready_world

SENDER = f"news@{DOMAIN}"
REFUSING = """\
[[rule]]
domain = "beta.test"
action = "reply"
reply = "550 5.1.1 No such user"
"""


@asynccontextmanager
async def reporting_world(directory: Path) -> AsyncIterator[World]:
    """The customer reads its mail at alpha.test's host; beta.test refuses everybody."""
    async with ready_world(directory) as place:
        await place.command("key", "operator")
        await place.publish_operator()
        records = await place.records(DOMAIN)
        place.zones.write_customer(DOMAIN, [*records, "@ MX 10 mx.alpha.test."])
        (directory / "sinks.toml").write_text(REFUSING)
        await place.start_relay()
        yield place


async def submit(
    place: World,
    recipients: Sequence[str],
    *,
    mail: Sequence[str] = (),
    rcpt: Sequence[str] = (),
    sender: str = SENDER,
) -> str:
    """Submit with parameters of MAIL and RCPT; return the id in the answer."""

    def speak() -> str:
        with smtplib.SMTP("127.0.0.1", place.port, "app.test", timeout=30) as client:
            client.login(USER, place.secrets[USER])
            code, text = client.mail(sender, mail)
            assert code == 250, text
            for recipient in recipients:
                code, text = client.rcpt(recipient, rcpt)
                assert code == 250, text
            code, text = client.data(
                f"From: {SENDER}\r\nSubject: Hello\r\n\r\nThe body.\r\n"
            )
            assert code == 250, text
            return text.decode().split()[-1]

    return await asyncio.to_thread(speak)


async def report(place: World) -> tuple[MessageRecord, Message]:
    """Wait for the first report to the sender; return it as recorded, and parsed."""

    def has_one(records: tuple[MessageRecord, ...]) -> bool:
        return any(one.rcpt_to == (SENDER,) for one in records)

    records = await place.lab.wait_for(has_one, 60)
    record = next(one for one in records if one.rcpt_to == (SENDER,))
    assert record.raw is not None
    return record, email.message_from_bytes(record.raw.read_bytes())


async def test_case_159_a_refused_message_brings_an_aligned_report_home(
    tmp_path: Path,
) -> None:
    async with reporting_world(tmp_path / "world") as place:
        refused = await submit(
            place,
            ["bob@beta.test", "carol@beta.test"],
            mail=["RET=FULL", "ENVID=Order+2B17"],
            rcpt=["NOTIFY=FAILURE", "ORCPT=rfc822;Bob@Old.example"],
        )
        record, message = await report(place)
        assert record.mail_from == ""
        assert record.verdict.author_domain == "esp.example"
        assert (record.verdict.dmarc, record.verdict.aligned) == ("pass", True)
        assert [(one.d, one.result) for one in record.verdict.dkim] == [
            ("esp.example", "pass")
        ]
        assert record.verdict.spf.result == "pass"  # of the EHLO name

        assert message["Auto-Submitted"] == "auto-replied"
        about, *recipients = message.get_payload(1).get_payload()
        assert about["Original-Envelope-Id"] == "Order+17"
        assert [one["Final-Recipient"] for one in recipients] == [
            "rfc822; bob@beta.test",
            "rfc822; carol@beta.test",
        ]
        for one in recipients:
            assert one["Original-Recipient"] == "rfc822; Bob@Old.example"
            assert (one["Action"], one["Status"]) == ("failed", "5.1.1")
            assert one["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user"
        assert scan_message(message) == {b"Bob@Old.example"}  # the one it was sent to
        returned = message.get_payload(2)
        assert returned.get_content_type() == "message/rfc822"
        assert "The body." in returned.get_payload(0).get_payload()
        assert "report-made" in await place.command("trace", refused)

        # A null reverse-path is never answered (case 103), a stranger's neither.
        silent = await submit(place, ["bob@beta.test"], sender="<>")
        foreign = await submit(place, ["bob@beta.test"], sender="x@victim.example")

        async def has_failed() -> bool:
            shown = [await place.command("trace", one) for one in (silent, foreign)]
            return all("failed" in one for one in shown)

        await place.until("both have failed", has_failed)
        assert "report" not in await place.command("trace", silent)
        assert "report-withheld" in await place.command("trace", foreign)
        assert place.lab.received == 1


async def test_case_165_a_scheduled_message_and_what_was_asked_survive_a_kill(
    tmp_path: Path,
) -> None:
    async with reporting_world(tmp_path / "world") as place:
        waiting = await submit(
            place,
            ["dan@alpha.test"],
            mail=["HOLDFOR=6", "ENVID=QQ314"],
            rcpt=["NOTIFY=SUCCESS", "ORCPT=rfc822;Dan@Old.example"],
        )
        listed = await place.command("queue", "list")
        assert waiting in listed
        assert "scheduled" in listed
        await place.stop_relay(signal.SIGKILL)
        assert place.lab.received == 0
        await place.start_relay()

        # alpha.test's host offers no DSN: it is ours to say that it was passed on.
        _, message = await report(place)
        about, dan = message.get_payload(1).get_payload()
        assert about["Original-Envelope-Id"] == "QQ314"
        assert dan["Original-Recipient"] == "rfc822; Dan@Old.example"
        assert (dan["Action"], dan["Status"][0]) == ("relayed", "2")
        first, second = (one.rcpt_to for one in place.lab.records)
        assert (first, second) == (("dan@alpha.test",), (SENDER,))
