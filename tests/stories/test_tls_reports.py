"""A day's TLS report comes by mail, signed, and over HTTPS: both are figures, and the one
that is proved tells the tenant what is wrong with bounces' way home."""

import asyncio
import json
import smtplib
import time
from pathlib import Path

import dkim
import httpx
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from soboo_mta.cli.trial.world import World, free_ports
from soboo_mta.formats.keys import KeyPair, generate_rsa
from tests.chaos.ready_world import DOMAIN, ready_world
from tests.fakes.tls_reports import EXPIRED, mailed, octets, policy, tls_report

HOST = f"bounce.{DOMAIN}"
TO = "tls@esp.example"
EXTRA = f"""
[[return_listeners]]
address = "127.0.0.1"
port = {{returns}}
tls = "none"

[[http_listeners]]
address = "127.0.0.1"
port = {{http}}
tls = false

[publish]
tls_reports = "mailto:{TO}, https://mta.esp.example/tls-reports"
"""
MISMATCH = {**EXPIRED, "result-type": "certificate-host-mismatch"}


def signed(content: bytes, pair: KeyPair) -> bytes:
    key = load_der_private_key(pair.private, None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    names = [b"from", b"to", b"subject", b"tls-report-domain"]
    field = dkim.sign(content, b"tlsrpt", b"there.example", pem, include_headers=names)
    return bytes(field) + content


def bring(port: int, *messages: bytes) -> list[int]:
    """As a reporter does; the codes that DATA was answered with."""
    with smtplib.SMTP("127.0.0.1", port, "mx.there.example", timeout=30) as client:
        client.ehlo()
        codes = []
        for octets_ in messages:
            client.mail("tls@there.example")
            assert client.rcpt(TO)[0] == 250
            codes.append(client.data(octets_)[0])
        return codes


async def post(port: int, body: bytes, media: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(
            f"http://127.0.0.1:{port}/tls-reports",
            content=body,
            headers={"content-type": media},
        )


async def all_read(place: World, number: int) -> list[dict[str, object]]:
    async def is_so() -> bool:
        rows = json.loads(await place.command("returns", "list", "--json"))
        return len(rows) == number and all(row["kind"] for row in rows)

    await place.until(f"{number} reports are read", is_so, seconds=120)
    rows: list[dict[str, object]] = json.loads(
        await place.command("returns", "list", "--json")
    )
    return rows


async def test_reports_come_by_mail_and_by_https_and_are_added_up(
    tmp_path: Path,
) -> None:
    returns, http = free_ports(2)
    pair, now = generate_rsa(1024), int(time.time() * 1_000)
    one = tls_report(policy(HOST, EXPIRED), ends_at=now, report_id="one")
    two = tls_report(policy(HOST, EXPIRED), ends_at=now, report_id="two")
    three = tls_report(policy(HOST, MISMATCH), ends_at=now, report_id="three")
    unsigned = tls_report(policy(HOST, MISMATCH), ends_at=now, report_id="four")
    extra = EXTRA.format(returns=returns, http=http)
    async with ready_world(tmp_path, workers=1, extra=extra) as place:
        key = f'tlsrpt._domainkey TXT "v=DKIM1; s=tlsrpt; k=rsa; p={pair.p}"'
        place.zones.write("there.example", [key])
        await place.start_relay()
        packed = signed(mailed(one), pair)
        plain = signed(mailed(two, packed=False), pair)
        sent = (packed, plain, packed, mailed(unsigned))
        assert await asyncio.to_thread(bring, returns, *sent) == [250] * 4
        for body, media in (
            (octets(three, packed=True), "application/tlsrpt+gzip"),
            (octets(one), "application/tlsrpt+json"),
        ):
            answer = await post(http, body, media)
            assert (answer.status_code, answer.json()["code"]) == (201, 250)
        refused = await post(http, b"hello", "application/tlsrpt+gzip")
        assert refused.status_code == 422
        rows = await all_read(place, 6)
        assert {row["kind"] for row in rows} == {"tls-report"}

        said = json.loads(await place.command("reports", "tls", DOMAIN, "--json"))
        seen = [
            (row["host"], row["is_proved"], row["reports"], row["failed"])
            for row in said["sessions"]
        ]
        assert seen == [(HOST, True, 2, 6), (HOST, False, 1, 3)]
        kinds = [(row["result"], row["is_proved"]) for row in said["failures"]]
        assert kinds == [
            ("certificate-expired", True),
            ("certificate-host-mismatch", False),
        ]
        shown = await place.command("reports", "tls")
        assert HOST in shown
        assert "certificate-expired: The MX host's certificate has run out" in shown
        history = await place.command("domain", "history", DOMAIN)
        assert history.count("tls-failing") == 1
        log = place.relay_log()
        assert log.count('"tls_failing"') == 1
        assert "did not sign it" in log
        assert "counted before" in log
        assert "internal_error" not in log
