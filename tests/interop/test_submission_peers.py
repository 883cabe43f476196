"""HAProxy before the listener, Exim and curl as clients: the first names the real client,
the second sends by BDAT, the third logs in by a certificate."""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from soboo_mta.cli.trial.world import World, free_ports, world
from tests.interop.house import ACME, SINK, certificates, settle_in
from tests.interop.next_hops import UNPACKED, apart, own_home
from tests.interop.running import is_listening, run, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TRUSTED, _STRANGER = "127.0.0.8", "127.0.0.9"
_EXTRA = """
[[listeners]]
address = "127.0.0.1"
port = {proxied}
tls = "none"
proxies = ["127.0.0.1"]

[[listeners]]
address = "127.0.0.1"
port = {secured}
tls = "starttls"
client_ca_file = "{tls}/clients.pem"

[tls]
certificate_file = "{tls}/chain.pem"
private_key_file = "{tls}/key.pem"

[submission]
trusted_networks = ["127.0.0.8"]
"""
_HAPROXY = """\
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen one
  bind 127.0.0.1:{one}
  server relay 127.0.0.1:{proxied} send-proxy check check-send-proxy inter 200
listen two
  bind 127.0.0.1:{two}
  server relay 127.0.0.1:{proxied} send-proxy-v2 check check-send-proxy inter 200
"""
_EXIM = """\
exim_path = /srv/sbin/exim4
exim_user = nobody
exim_group = nogroup
spool_directory = {home}/spool
log_file_path = {home}/spool/%slog
primary_hostname = client.test
keep_environment =
chunking_advertise_hosts =
begin routers
relay:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = {port}
  interface = 127.0.0.8
  hosts_try_chunking = *
  hosts_avoid_tls = *
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A relay that trusts one address, with a listener behind proxies."""
    port, proxied, secured = free_ports(3)
    directory = tmp_path_factory.mktemp("peers") / "world"
    tls = tmp_path_factory.mktemp("tls")
    certificates(tls)
    clients = trustme.CA()
    clients.cert_pem.write_to_path(tls / "clients.pem")
    shown = clients.issue_cert("app@acme.example")
    shown.private_key_and_cert_chain_pem.write_to_path(tls / "client.pem")
    extra = _EXTRA.format(proxied=proxied, secured=secured, tls=tls)
    async with world(directory, port=port, workers=2, extra=extra) as inside:
        await settle_in(inside)
        inside.zones.write_destination(SINK, "127.0.0.2")
        await inside.start_relay()
        inside.environment = {
            "PROXIED": str(proxied),
            "SECURED": str(secured),
            "TLS": str(tls),
        }
        yield inside
        assert await inside.stop_relay() == 0, inside.relay_log()[-3000:]


async def _arrived(place: World, recipient: str) -> bytes:
    records = await place.lab.wait_for(
        lambda found: any(recipient in one.rcpt_to for one in found), 20
    )
    (record,) = [one for one in records if recipient in one.rcpt_to]
    assert record.verdict.dmarc == "pass"
    assert record.raw is not None
    return record.raw.read_bytes()


async def test_behind_haproxy_the_real_client_is_who_counts(
    place: World, tmp_path: Path
) -> None:
    one, two = free_ports(2)
    config = tmp_path / "haproxy.cfg"
    proxied = place.environment["PROXIED"]
    config.write_text(_HAPROXY.format(one=one, two=two, proxied=proxied))
    command = ("/usr/sbin/haproxy", "-db", "-f", config)
    async with running(*command, log=tmp_path / "haproxy.log"):
        for port in (one, two):

            async def is_up(at: int = port) -> bool:
                return await is_listening("127.0.0.1", at)

            await place.until("HAProxy listens", is_up)
            to = f"proxied-{port}@{SINK}"
            await asyncio.to_thread(_send, port, _TRUSTED, to)
            await _arrived(place, to)
            with pytest.raises(smtplib.SMTPSenderRefused) as refusal:
                await asyncio.to_thread(_send, port, _STRANGER, to)
            assert refusal.value.smtp_code == 530
    assert f'"client": "{_TRUSTED}"' in place.relay_log()
    assert "proxy_refused" not in place.relay_log()  # its health checks have headers


def _send(port: int, source: str, to: str) -> None:
    message = EmailMessage()
    message["From"] = f"Acme <news@{ACME}>"
    message["To"] = to
    message.set_content("through the proxy\n")
    with smtplib.SMTP(
        "127.0.0.1", port, "c.test", timeout=20, source_address=(source, 0)
    ) as client:
        client.send_message(message, f"bounces@{ACME}")


@pytest.mark.parametrize("lines", [3, 20_000])
async def test_exim_sends_by_bdat(place: World, lines: int) -> None:
    """20,000 lines are 1.4 MB: more than one chunk."""
    to = f"exim-{lines}@{SINK}"
    body = "".join(f"line {n:06} {'x' * 55}\n" for n in range(lines)) + ".\n..\n"
    message = f"From: Acme <news@{ACME}>\nTo: {to}\nSubject: chunks\n\n{body}"
    async with own_home("exim-client") as home:
        (home / "spool").mkdir(mode=0o777)
        (home / "spool").chmod(0o777)
        (home / "exim.conf").write_text(_EXIM.format(home=home, port=place.port))
        places = {UNPACKED / "exim4-daemon-light/usr": "/srv"}
        exim = f"/srv/sbin/exim4 -C {home}/exim.conf"
        queue = f"sh -ec '{exim} -oi -odq -f bounces@{ACME} {to}; {exim} -qf'"
        ended = await run(*apart(home, places, queue), stdin=message)
        log = (home / "spool" / "mainlog").read_text()
    assert ended.code == 0, ended.text + log
    assert " K " in log, log  # Exim's mark for a message sent by CHUNKING
    assert " Completed" in log, log
    content = await _arrived(place, to)
    assert content.endswith(body.replace("\n", "\r\n").encode())


async def test_curl_logs_in_by_its_certificate(place: World, tmp_path: Path) -> None:
    tls, to = Path(place.environment["TLS"]), f"curl-certificate@{SINK}"
    mail = tmp_path / "mail.eml"
    mail.write_text(f"From: Acme <news@{ACME}>\r\nTo: {to}\r\n\r\nby curl\r\n")
    command = (
        *("curl", "--silent", "--show-error", "--verbose", "--ssl-reqd"),
        *("--cacert", tls / "authority.pem", "--cert", tls / "client.pem"),
        *("--login-options", "AUTH=EXTERNAL", "--user", ":"),
        *("--mail-from", f"bounces@{ACME}", "--mail-rcpt", to, "--upload-file", mail),
        f"smtp://127.0.0.1:{place.environment['SECURED']}/app.test",
    )
    ended = await run(*command)
    assert ended.code != 0  # nobody is bound to it yet
    assert "AUTH EXTERNAL" in ended.text
    assert "535 5.7.8" in ended.text
    await place.command("credential", "bind", "acme-app", "app@acme.example")

    async def is_known() -> bool:
        return (await run(*command)).code == 0

    await place.until("the certificate logs in", is_known, 5)
    assert b" with ESMTPSA id " in await _arrived(place, to)
