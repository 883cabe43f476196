"""Postfix's programs on both sides: smtp-source sends, smtp-sink and Postfix receive."""

import asyncio
import os
import pwd
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from soboo_mta.cli.trial.world import World, free_ports, world
from tests.interop.house import ACME, certificates, settle_in
from tests.interop.running import is_listening, run, running
from tests.interop.verifiers import Suspect, judge

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SINK, _SINK_ADDRESS = "smtp-sink.test", "127.0.0.7"
_POSTFIX, _POSTFIX_ADDRESS = "postfix.test", "127.0.0.6"
_TRUSTED = (
    '\n[submission]\ntrusted_networks = ["127.0.0.0/8"]\n'  # smtp-source can't AUTH
)
_SENT = 300
_DAEMONS = "/usr/lib/postfix/sbin"
_MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
daemon_directory = {daemons}
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
inet_interfaces = all
inet_protocols = ipv4
myhostname = mx.{domain}
mydestination =
mynetworks =
alias_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_cert_file = {chain}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = encrypt
smtpd_tls_received_header = yes
smtputf8_enable = yes
"""
_MASTER = """\
{address}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A relay of two workers that trusts loopback, with a lab for its DNS."""
    (port,) = free_ports(1)
    directory = tmp_path_factory.mktemp("postfix") / "world"
    async with world(directory, port=port, workers=2, extra=_TRUSTED) as inside:
        await settle_in(inside)
        inside.zones.write_destination(_SINK, _SINK_ADDRESS)
        inside.zones.write_destination(_POSTFIX, _POSTFIX_ADDRESS)
        await inside.start_relay()
        yield inside
        assert await inside.stop_relay() == 0, inside.relay_log()[-3000:]


@asynccontextmanager
async def postfix(port: int) -> AsyncIterator[Path]:
    """A Postfix of its own that takes mail over TLS alone; yields its Maildir's `new`."""
    # Not below pytest's directory: its daemons run as another user.
    home = Path(tempfile.mkdtemp(prefix="soboo-postfix-"))
    home.chmod(0o755)
    owner = pwd.getpwnam("postfix")
    nobody = pwd.getpwnam("nobody")
    for name in ("queue", "data", "mail", "tls"):
        (home / name).mkdir()
    os.chown(home / "data", owner.pw_uid, owner.pw_gid)
    os.chown(home / "mail", nobody.pw_uid, nobody.pw_gid)
    _, chain, key = certificates(home / "tls")
    (home / "main.cf").write_text(
        _MAIN.format(
            home=home,
            daemons=_DAEMONS,
            domain=_POSTFIX,
            uid=nobody.pw_uid,
            gid=nobody.pw_gid,
            chain=chain,
            key=key,
        )
    )
    (home / "master.cf").write_text(_MASTER.format(address=_POSTFIX_ADDRESS, port=port))
    try:
        async with running(
            *("/usr/sbin/postfix", "-c", home, "start-fg"), log=home / "start.log"
        ):
            try:
                yield home / "mail" / "inbox" / "new"
            finally:  # start-fg is a script: a signal to it would leave the master
                await run("/usr/sbin/postfix", "-c", home, "stop")
    finally:
        shutil.rmtree(home)


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
        await place.until(
            "smtp-sink listens", lambda: is_listening(_SINK_ADDRESS, port), 10
        )
        to = ("-t", f"reader@{_SINK}", "-N", "-l", "4096")  # -N numbers the readers
        half = str(_SENT // 2)
        await _source(place, *to, "-s", "10", "-m", half, "-d")
        await _source(place, *to, "-s", "10", "-m", half)  # a connection each
        await place.until("all is delivered", lambda: _is_settled(place), 60)
    contents = [file.read_bytes() for file in dumps.iterdir()]
    assert len(contents) == _SENT
    suspects = [_as_received(one, tmp_path, n) for n, one in enumerate(contents)]
    assert len({one.mail_from for one in suspects}) == _SENT
    for opinion in await judge(suspects, place.lab.dns_port):
        assert opinion.agrees_on(ACME), opinion
    figures.append(f"postfix: {_SENT} messages from smtp-source to smtp-sink, aligned")


async def test_case_173_a_real_postfix_takes_our_mail_over_starttls(
    place: World, tmp_path: Path
) -> None:
    port = place.lab.sink_port
    async with postfix(port) as inbox:
        await place.until(
            "Postfix listens", lambda: is_listening(_POSTFIX_ADDRESS, port), 20
        )
        words = ("-t", f"reader@{_POSTFIX}", "-N", "-m", "20", "-s", "4", "-d")
        await _source(place, *words)

        async def has_all() -> bool:
            return await asyncio.to_thread(
                lambda: inbox.is_dir() and len(list(inbox.iterdir())) == 20
            )

        await place.until("Postfix has all", has_all, 30)
        contents = [file.read_bytes() for file in inbox.iterdir()]
    suspects = []
    for number, content in enumerate(contents):
        assert re.search(rb"^Received: .*\n\t\(using TLSv1\.\d ", content, re.M), (
            content
        )
        found = re.match(rb"Return-Path: <(.*)>\n", content)
        assert found, content
        file = tmp_path / f"{number}.eml"
        file.write_bytes(content.replace(b"\n", b"\r\n"))
        suspects.append(
            Suspect(
                file=file,
                client="127.0.0.1",
                helo="mta1.esp.example",
                mail_from=found[1].decode(),
            )
        )
    for opinion in await judge(suspects, place.lab.dns_port):
        assert opinion.agrees_on(ACME), opinion
