"""Postfix's smtp-source sends; its smtp-sink, and real MTAs, receive."""

import asyncio
import email
import json
import re
import smtplib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import EmailMessage, Message
from pathlib import Path

import pytest
import pytest_asyncio

from soboo_mta.cli.trial.world import World, free_ports, world
from tests.interop.house import ACME, settle_in
from tests.interop.next_hops import MTAS, Mta
from tests.interop.running import is_listening, run, running
from tests.interop.verifiers import Suspect, judge

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SINK, _SINK_ADDRESS = "smtp-sink.test", "127.0.0.7"
_EXTRA = """
[submission]
trusted_networks = ["127.0.0.0/8"]  # smtp-source can't AUTH
[log]
level = "info"
"""
_SENT = 300
_COMMANDS = ("CONNECT", "MAIL", "RCPT", "DATA", ".")
_SOON = {  # what smtp-sink's option does at a command, and what the first attempt becomes
    **{("-f", command): "failed" for command in _COMMANDS[1:]},  # refuses for good
    ("-f", "CONNECT"): "deferred",  # us, not the message
    ("-f", "EHLO"): "delivered",  # by HELO
    **{("-r", command): "deferred" for command in _COMMANDS},  # refuses for now
    **{("-q", command): "deferred" for command in (*_COMMANDS, "EHLO")},  # hangs up
    **{("-Q", command): "deferred" for command in (*_COMMANDS, "EHLO")},  # after 421
    ("-q", "QUIT"): "delivered",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A relay of two workers that trusts loopback, with a lab for its DNS."""
    (port,) = free_ports(1)
    directory = tmp_path_factory.mktemp("postfix") / "world"
    async with world(directory, port=port, workers=2, extra=_EXTRA) as inside:
        await settle_in(inside)
        inside.zones.write_destination(_SINK, _SINK_ADDRESS)
        await inside.start_relay()
        yield inside
        assert await inside.stop_relay() == 0, inside.relay_log()[-3000:]


async def _source(place: World, *words: str) -> None:
    ended = await run(
        *("smtp-source", "-f", f"news@{ACME}", *words, f"127.0.0.1:{place.port}")
    )
    assert ended.code == 0, ended.text


async def _is_settled(place: World) -> bool:
    return await place.command("queue", "list", "--json") in ("[]\n", "[]")


def _as_received(dumped: bytes, directory: Path, number: int) -> Suspect:
    """A message that smtp-sink dumped: its X- lines tell the envelope, its lines end
    in LF."""
    said = dict(re.findall(rb"^(X-[A-Za-z-]+): (.*)$", dumped, re.M))
    file = directory / f"{number}.eml"
    file.write_bytes(dumped.replace(b"\n", b"\r\n"))
    reverse_path = said[b"X-Mail-Args"].decode().partition(">")[0].lstrip("<")
    return Suspect(
        file=file,
        client=said[b"X-Client-Addr"].decode(),
        helo=said[b"X-Helo-Args"].decode(),
        mail_from=reverse_path,
    )


async def test_case_170_smtp_source_to_smtp_sink_loses_and_doubles_nothing(
    place: World, tmp_path: Path, figures: list[str]
) -> None:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    port = place.lab.sink_port
    dumped = ("-u", "root", "-d", f"{dumps}/m.")  # as root it wants to be told its user
    sink = ("smtp-sink", *dumped, f"{_SINK_ADDRESS}:{port}", "100")
    async with running(*sink, log=tmp_path / "sink.log"):
        await _listening(place, _SINK, _SINK_ADDRESS)
        to = ("-t", f"reader@{_SINK}", "-N", "-l", "4096")  # -N numbers the readers
        half = str(_SENT // 2)
        await _source(place, *to, "-s", "10", "-m", half, "-d")
        await _source(place, *to, "-s", "10", "-m", half)  # a connection each
        await place.until("all is delivered", lambda: _is_settled(place))
    contents = [file.read_bytes() for file in dumps.iterdir()]
    assert len(contents) == _SENT
    suspects = [_as_received(one, tmp_path, n) for n, one in enumerate(contents)]
    assert len({one.mail_from for one in suspects}) == _SENT
    for opinion in await judge(suspects, place.lab.dns_port):
        assert opinion.agrees_on(ACME), opinion
    figures.append(f"postfix: {_SENT} messages from smtp-source to smtp-sink, aligned")


async def test_case_145_147_170_what_smtp_sink_does_at_a_command_is_taken_as_meant(
    place: World, tmp_path: Path
) -> None:
    wanted = {}
    async with AsyncExitStack() as sinks:
        for number, ((option, command), becomes) in enumerate(_SOON.items(), 10):
            domain, address = f"sink-{number}.test", f"127.0.1.{number}"
            place.zones.write_destination(domain, address)
            words = (option, command, f"{address}:{place.lab.sink_port}", "10")
            log = tmp_path / f"{number}.log"
            sink = running("smtp-sink", "-u", "root", *words, log=log)
            await sinks.enter_async_context(sink)
            await _listening(place, domain, address)
            wanted[f"reader@{domain}"] = becomes
        for to in wanted:
            await place.submit("acme-app", _letter(to), [to])

        async def are_tried() -> bool:
            return wanted.keys() <= _first_outcomes(place).keys()

        await place.until("each was tried", are_tried)
    found = _first_outcomes(place)
    assert {to: found[to] for to in wanted} == wanted


def _first_outcomes(place: World) -> dict[str, str]:
    """What became of the first attempt, by recipient, as the relay's log has it."""
    found: dict[str, str] = {}
    lines = place.relay_log().splitlines()
    for fact in (json.loads(line) for line in lines if line[:1] + line[-1:] == "{}"):
        if fact["event"] in ("delivered", "deferred", "failed"):
            found.setdefault(fact["recipient"], fact["event"])
    return found


@pytest.mark.parametrize("name", MTAS)
async def test_case_151_173_a_real_mta_takes_our_mail(
    place: World, tmp_path: Path, name: str
) -> None:
    async with _serving(place, MTAS[name]) as inbox:
        to = f"reader@{MTAS[name].domain}"
        await _source(place, "-t", to, "-N", "-m", "20", "-s", "4", "-d")

        async def has_all() -> bool:
            return await asyncio.to_thread(
                lambda: inbox.is_dir() and len(list(inbox.iterdir())) == 20
            )

        await place.until(f"{name} has all", has_all)
        contents = [file.read_bytes() for file in inbox.iterdir()]
    for content in contents:
        trace = content.partition(b"\nDKIM-Signature:")[0]
        assert MTAS[name].traces in trace, content
    suspects = [_as_kept(one, tmp_path / f"{n}.eml") for n, one in enumerate(contents)]
    assert len({one.mail_from for one in suspects}) == 20
    for opinion in await judge(suspects, place.lab.dns_port):
        assert opinion.agrees_on(ACME), opinion


@pytest.mark.parametrize("name", MTAS)
async def test_case_173_a_real_mtas_refusal_is_final_and_kept_in_its_words(
    place: World, name: str
) -> None:
    async with _serving(place, MTAS[name]):
        to = f"nobody@{MTAS[name].domain}"
        answer = await place.submit("acme-app", _letter(to), [to])
        message = answer.split()[-1]

        async def is_over() -> bool:
            return "failed" in await place.command("queue", "why", message)

        await place.until("it has failed", is_over)
        assert MTAS[name].refuses in await place.command("trace", message)


async def test_case_027_a_real_postfix_is_told_what_reports_the_sender_wants(
    place: World,
) -> None:
    """It says DSN; its own report has all of it back, and comes to the signed path."""
    async with _serving(place, MTAS["postfix"]) as inbox:
        to = f"bob@{MTAS['postfix'].domain}"
        await asyncio.to_thread(_ask_for_reports, place.port, to)

        async def has_both() -> bool:
            return await asyncio.to_thread(
                lambda: inbox.is_dir() and len(list(inbox.iterdir())) == 2
            )

        await place.until("Postfix has the message and its report", has_both)
        messages = [email.message_from_bytes(f.read_bytes()) for f in inbox.iterdir()]
    (report,) = [m for m in messages if m.get_content_type() == "multipart/report"]
    (taken,) = [m for m in messages if m is not report]
    assert report["To"] == taken["Return-Path"].strip("<>")
    about, bob = report.get_payload(1).get_payload()
    assert about["Original-Envelope-Id"] == "Order+17"
    assert bob["Original-Recipient"].replace(" ", "") == "rfc822;Bob+x@Old.example"
    assert bob["Action"] == "delivered"
    assert report.get_payload(2).get_content_type() == "text/rfc822-headers"
    events = await place.command("trace", _id_in(taken))
    assert "report-made" not in events  # success is not reported twice


@asynccontextmanager
async def _serving(place: World, mta: Mta) -> AsyncIterator[Path]:
    place.zones.write_destination(mta.domain, mta.address)
    async with mta.serves(mta, place.lab.sink_port) as inbox:
        await _listening(place, mta.domain, mta.address)
        yield inbox


async def _listening(place: World, domain: str, address: str) -> None:
    port = place.lab.sink_port
    await place.until(f"{domain} listens", lambda: is_listening(address, port))


def _letter(to: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"a@{ACME}", to, "hello"
    message.set_content("Hello.\n")
    return message


def _as_kept(content: bytes, file: Path) -> Suspect:
    """A message from a Maildir; its lines end in LF."""
    found = re.match(rb"Return-Path: <(.*)>\n", content, re.I)
    assert found, content
    file.write_bytes(content.replace(b"\n", b"\r\n"))
    return Suspect(
        file=file,
        client="127.0.0.1",
        helo="mta1.esp.example",
        mail_from=found[1].decode(),
    )


def _ask_for_reports(port: int, to: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, "app.test", timeout=30) as client:
        client.sendmail(
            f"news@{ACME}",
            [to],
            f"From: news@{ACME}\r\nSubject: Hello\r\n\r\nThe body.\r\n",
            mail_options=["RET=HDRS", "ENVID=Order+2B17"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Bob+2Bx@Old.example"],
        )


def _id_in(message: Message) -> str:
    """Our id, by our Received field."""
    fields = " ".join(message.get_all("Received", []))
    found = re.search(r" id ([0-9a-z]{13});", fields)
    assert found, fields
    return found[1]
