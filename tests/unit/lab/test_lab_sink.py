"""The lab over SMTP: what a sink answers at each stage, and what it records."""

import asyncio
import json
import mailbox
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiosmtplib
import pytest
import trustme

from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.record import read_records
from soboo_mta.lab.sinks.options import SinkOptions

_SENDER = "b-1@bounce.customer.test"


@dataclass
class Line:
    """A connection that says one thing at a time and reads what comes back."""

    port: int
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def reply(self) -> str:
        """The next reply, all lines; "" where the connection ended, in whatever way."""
        lines = []
        try:
            async with asyncio.timeout(5):
                while line := (await self._streams[0].readline()).decode():
                    lines.append(line)
                    if line[3:4] != "-":
                        break
        except ConnectionResetError:
            return ""
        return "".join(lines)

    def write(self, octets: bytes) -> None:
        self._streams[1].write(octets)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()

    async def say(self, text: str) -> str:
        self.write(text.encode() + b"\r\n")
        return await self.reply()

    async def to_stage(self, stage: str) -> str:
        """Connect, go through the dialogue, return the reply at `stage`."""
        self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        steps = {
            "ehlo": "EHLO out.esp.test",
            "mail": f"MAIL FROM:<{_SENDER}>",
            "rcpt": "RCPT TO:<bob@dest.test>",
            "data": "DATA",
            "dot": "From: ann@customer.test\r\n\r\nHello\r\n.",
        }
        answer = await self.reply()
        if stage == "banner":
            return answer
        for name, text in steps.items():
            answer = await self.say(text)
            if name == stage:
                break
        return answer


@pytest.fixture
async def lab(world) -> AsyncIterator[Lab]:
    world.publish_customer()
    options = LabOptions(
        sinks=SinkOptions(addresses=("127.0.0.1", "127.0.0.2")),
        raw=world.directory / "raw",
    )
    async with Lab(world.directory, options) as running:
        yield running


@pytest.fixture
async def line(lab) -> AsyncIterator[Line]:
    made = Line(lab.sink_port)
    yield made
    made.close()


async def send(
    lab: Lab, octets: bytes, *, host: str = "127.0.0.1", to: str = "bob@dest.test"
):
    return await aiosmtplib.send(
        octets,
        hostname=host,
        port=lab.sink_port,
        sender=_SENDER,
        recipients=[to],
        start_tls=False,
        local_hostname="out.esp.test",
    )


async def test_a_message_is_judged_and_recorded_before_it_is_answered(lab, world):
    await send(lab, world.signed(world.message()))
    (record,) = read_records(lab.records_file)
    assert record["rcpt_to"] == ["bob@dest.test"]
    assert (record["peer"], record["sink"]) == ("127.0.0.1", "127.0.0.1")
    assert (record["helo"], record["mail_from"]) == ("out.esp.test", _SENDER)
    assert record["message_id"] == "<1@customer.test>"
    assert record["from"] == "Ann <ann@customer.test>"
    assert record["spf"]["mail_from"] == "pass"
    assert record["dkim"] == [
        {
            "d": "customer.test",
            "s": "sb1",
            "a": "rsa-sha256",
            "result": "pass",
            "reason": "",
        }
    ]
    assert (record["dmarc"], record["aligned"]) == ("pass", True)


async def test_the_octets_are_kept_as_they_came(lab, world):
    octets = world.signed(world.message(body=".dot\r\n..two\r\n\r\n."))
    await send(lab, octets)
    (record,) = lab.records
    assert record.raw is not None
    assert record.raw.read_bytes() == octets
    assert record.size == len(octets)
    assert len(mailbox.Maildir(world.directory / "raw")) == 1
    assert record.verdict.dkim[0].result == "pass"


async def test_every_address_listens_at_the_one_port(lab, world):
    await send(lab, world.message(), host="127.0.0.2")
    assert lab.records[0].sink == "127.0.0.2"


async def test_the_null_reverse_path_is_recorded_as_empty(lab, line):
    await line.to_stage("ehlo")
    await line.say("MAIL FROM:<>")
    await line.say("RCPT TO:<bob@dest.test>")
    await line.say("DATA")
    assert (await line.say("Subject: x\r\n\r\n.")).startswith("250")
    assert lab.records[0].mail_from == ""


async def test_an_empty_message_is_taken(lab, line):
    await line.to_stage("data")
    assert (await line.say(".")).startswith("250")
    assert lab.records[0].size == 0


async def test_a_dot_that_begins_the_message_is_unstuffed(lab, line):
    await line.to_stage("data")
    assert (await line.say("..first: x\r\n\r\n.")).startswith("250")
    assert lab.records[0].raw.read_bytes() == b".first: x\r\n\r\n"


async def test_pipelined_transactions_in_one_packet_are_answered_in_order(lab, line):
    await line.to_stage("ehlo")
    one = (
        f"MAIL FROM:<{_SENDER}>\r\nRCPT TO:<bob@dest.test>\r\nDATA\r\n"
        "From: ann@customer.test\r\n\r\nHello\r\n.\r\n"
    )
    line.write(one.encode() * 3)
    replies = [(await line.reply())[:3] for _ in range(12)]
    assert replies == ["250", "250", "354", "250"] * 3
    assert lab.received == 3


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_a_reply_is_given_at_its_stage_and_nothing_is_received(
    lab, line, world, stage
):
    world.write_file(
        "sinks.toml", f'[[rule]]\nstage = "{stage}"\nreply = "451 4.3.2 Busy"\n'
    )
    assert await line.to_stage(stage) == "451 4.3.2 Busy\r\n"
    assert lab.received == 0
    assert [refusal.stage for refusal in lab.refusals] == [stage]


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_a_dropped_connection_ends_at_its_stage_without_a_word(
    lab, line, world, stage
):
    world.write_file("sinks.toml", f'[[rule]]\nstage = "{stage}"\naction = "drop"\n')
    assert await line.to_stage(stage) == ""
    assert lab.received == 0


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_a_hang_says_nothing_and_the_lab_still_closes(world, stage):
    world.write_file("sinks.toml", f'[[rule]]\nstage = "{stage}"\naction = "hang"\n')
    async with Lab(world.directory) as lab:
        line = Line(lab.sink_port)
        talk = asyncio.create_task(line.to_stage(stage))
        await lab.wait_for(lambda _: len(lab.refusals) == 1)
        assert not talk.done()
    assert await talk == ""
    line.close()


async def test_keep_records_the_message_whose_answer_is_lost(lab, line, world):
    world.write_file(
        "sinks.toml", '[[rule]]\nstage = "dot"\naction = "drop"\nkeep = true\n'
    )
    assert await line.to_stage("dot") == ""
    assert lab.received == 1


async def test_rules_change_while_a_connection_is_open(lab, line, world):
    await line.to_stage("mail")
    world.write_file(
        "sinks.toml", '[[rule]]\nrecipient = "no@dest.test"\nreply = "550 5.1.1 No"\n'
    )
    assert (await line.say("RCPT TO:<no@dest.test>")).startswith("550 5.1.1")
    world.write_file("sinks.toml", "")
    assert (await line.say("RCPT TO:<no@dest.test>")).startswith("250")


async def test_a_message_over_the_limit_is_refused_and_the_next_is_taken(world):
    options = LabOptions(sinks=SinkOptions(largest=1000))
    async with Lab(world.directory, options) as lab:
        line = Line(lab.sink_port)
        await line.to_stage("data")
        assert (await line.say("x" * 300_000 + "\r\n.")).startswith("552 5.3.4")
        await line.say(f"MAIL FROM:<{_SENDER}>")
        await line.say("RCPT TO:<bob@dest.test>")
        await line.say("DATA")
        assert (await line.say("A: b\r\n\r\n.")).startswith("250")
        line.close()
        assert lab.received == 1


async def test_a_record_that_cannot_be_written_is_452_and_not_received(world):
    options = LabOptions(raw=world.directory / "raw")
    async with Lab(world.directory, options) as lab:
        (world.directory / "raw" / "tmp").rmdir()
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await send(lab, world.message())
        assert refused.value.code == 452
        assert lab.received == 0


async def test_starttls_is_offered_where_there_is_a_certificate(world):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with Lab(world.directory, LabOptions(sinks=SinkOptions(tls=context))) as lab:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=lab.sink_port,
            start_tls=True,
            tls_context=trusting,
        ) as client:
            await client.sendmail(_SENDER, ["bob@dest.test"], world.message())
        assert lab.records[0].tls


async def test_wait_for_returns_at_a_count_and_at_a_predicate(lab, world):
    waiting = asyncio.create_task(lab.wait_for(2, timeout=5))
    await send(lab, world.message())
    await send(lab, world.message(), to="eve@dest.test")
    assert len(await waiting) == 2
    found = await lab.wait_for(
        lambda records: any("eve@dest.test" in each.rcpt_to for each in records)
    )
    assert len(found) == 2


async def test_wait_for_says_what_came_when_it_gives_up(lab, world):
    await send(lab, world.message())
    with pytest.raises(TimeoutError, match=r"2 messages .* 1 received.*bob@dest.test"):
        await lab.wait_for(2, timeout=0.05)


async def test_lines_are_in_the_order_of_the_answers(lab, world):
    await asyncio.gather(
        *(send(lab, world.message(), to=f"r{n}@dest.test") for n in range(20))
    )
    lines = [record["rcpt_to"] for record in read_records(lab.records_file)]
    assert lines == [list(record.rcpt_to) for record in lab.records]
    assert len(lines) == 20


async def test_judging_processes_see_the_zones_of_the_moment(world):
    world.publish_customer()
    octets = world.signed(world.message())
    async with Lab(world.directory, LabOptions(judges=1)) as lab:
        await send(lab, octets)
        world.write("customer.test", '_dmarc TXT "v=DMARC1; p=reject"')
        await send(lab, octets)
        assert [record.verdict.dmarc for record in lab.records] == ["pass", "fail"]


async def test_without_judging_messages_are_recorded_all_the_same(world):
    async with Lab(world.directory, LabOptions(is_judging=False)) as lab:
        await send(lab, world.message())
        assert lab.records[0].verdict.dmarc == "none"
        assert json.loads(lab.records[0].as_json())["dkim"] == []


async def test_a_second_run_appends_to_the_records(world):
    for _ in range(2):
        async with Lab(world.directory) as lab:
            await send(lab, world.message())
    assert len(read_records(lab.records_file)) == 2


async def test_a_taken_port_leaves_nothing_behind(lab, world):
    taken = LabOptions(
        records=world.directory / "other.jsonl",
        sinks=SinkOptions(port=lab.sink_port),
    )
    with pytest.raises(OSError, match="in use"):
        async with Lab(world.directory, taken):
            pass


async def test_a_broken_file_is_named_among_the_problems(lab, world):
    assert lab.problems == {}
    world.write("customer.test", "@ A nonsense")
    assert list(lab.problems) == [lab.zones_directory / "customer.test.zone"]


async def test_a_dot_that_was_not_stuffed_is_lost_as_at_any_receiver(
    tmp_path: Path,
) -> None:
    async with Lab(tmp_path, LabOptions(raw=tmp_path / "raw")) as lab:
        line = Line(lab.sink_port)
        await line.to_stage("data")
        line.write(b"From: a@x.example\r\n\r\n.signature\r\n..\r\n")
        assert (await line.say(".")).startswith("250")
        line.close()
        (record,) = lab.records
        assert record.raw is not None
        arrived = record.raw.read_bytes()
    assert arrived == b"From: a@x.example\r\n\r\nsignature\r\n.\r\n"
