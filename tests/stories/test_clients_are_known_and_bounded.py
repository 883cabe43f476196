"""Who a client is and how much it may take, with two workers that share the listener."""

import asyncio
import os
import signal
import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import trustme

from soboo_mta.cli.trial.world import World, free_ports
from tests.chaos.ready_world import DOMAIN, USER, ready_world

MESSAGES_A_MINUTE = 7
LISTENER = """
[[listeners]]
address = "127.0.0.1"
port = {port}
tls = "starttls"
client_ca_file = "clients.pem"

[tls]
certificate_file = "server.pem"
private_key_file = "server.key"
"""


def octets(number: int) -> bytes:
    message = EmailMessage()
    message["From"] = f"Acme <news@{DOMAIN}>"
    message["To"] = "ann@alpha.test"
    message["Subject"] = f"number {number}"
    message.set_content("Hello\n")
    return message.as_bytes(policy=SMTP)


async def test_a_certificate_logs_in_until_its_credential_is_revoked(
    tmp_path: Path,
) -> None:
    ours, clients = trustme.CA(), trustme.CA()
    server = ours.issue_cert("127.0.0.1")
    directory = tmp_path / "world"
    (port,) = free_ports(1)
    asking = ssl.create_default_context()
    ours.configure_trust(asking)
    clients.issue_cert("app.acme.example").configure_cert(asking)

    def put_certificates(place: World) -> None:
        server.private_key_pem.write_to_path(place.directory / "server.key")
        server.cert_chain_pems[0].write_to_path(place.directory / "server.pem")
        clients.cert_pem.write_to_path(place.directory / "clients.pem")

    async with ready_world(
        directory, workers=2, extra=LISTENER.format(port=port), before=put_certificates
    ) as place:
        await place.command("credential", "bind", USER, "app.acme.example")
        await place.start_relay()
        client = await asyncio.to_thread(_by_certificate, port, asking)
        try:
            await asyncio.to_thread(_send, client, 1)
            (record,) = await place.lab.wait_for(1)
            assert record.verdict.dmarc == "pass"
            await place.command("credential", "revoke", USER)

            async def is_told() -> bool:
                code, _ = await asyncio.to_thread(client.mail, f"a@{DOMAIN}")
                if code == 250:
                    await asyncio.to_thread(client.rset)
                return code == 530

            await place.until("the session is told that it is revoked", is_told, 5)
            said = await asyncio.to_thread(client.docmd, "AUTH", "EXTERNAL =")
            assert said[0] == 535
        finally:
            client.close()


def _by_certificate(port: int, asking: ssl.SSLContext) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", port, "app.test", timeout=20)
    client.starttls(context=asking)
    client.ehlo()
    assert "EXTERNAL" in client.esmtp_features["auth"]
    assert client.docmd("AUTH", "EXTERNAL =")[0] == 235
    return client


def _send(client: smtplib.SMTP, number: int) -> None:
    client.sendmail(f"a@{DOMAIN}", ["ann@alpha.test"], octets(number))


async def test_a_rate_is_one_over_all_workers(tmp_path: Path) -> None:
    async with ready_world(
        tmp_path / "world",
        workers=2,
        environment={
            "SOBOO_SUBMISSION__MESSAGES_PER_MINUTE_PER_CREDENTIAL": str(
                MESSAGES_A_MINUTE
            ),
        },
    ) as place:
        await place.start_relay()
        clients = []
        for process in _children(place):  # while one stands still the other accepts
            os.kill(process, signal.SIGSTOP)
            try:
                clients += await asyncio.to_thread(_clients, place, 4)
            finally:
                os.kill(process, signal.SIGCONT)
        try:
            codes = await asyncio.to_thread(_mail_in_turn, clients)
        finally:
            for client in clients:
                client.close()
    refused = len(clients) - MESSAGES_A_MINUTE
    assert codes == [250] * MESSAGES_A_MINUTE + [451] * refused


def _children(place: World) -> list[int]:
    """Two workers and the control process."""
    assert place.relay is not None
    pid = place.relay.pid
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(found) == 3
    return [int(one) for one in found]


def _clients(place: World, count: int) -> list[smtplib.SMTP]:
    clients = []
    for _ in range(count):
        client = smtplib.SMTP("127.0.0.1", place.port, "app.test", timeout=20)
        client.login(USER, place.secrets[USER])
        clients.append(client)
    return clients


def _mail_in_turn(clients: list[smtplib.SMTP]) -> list[int]:
    return [client.mail(f"a@{DOMAIN}")[0] for client in clients]
