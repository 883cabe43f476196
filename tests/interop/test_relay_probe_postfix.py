"""A Postfix that is tried as a customer's relay: it takes us by address, and gets nothing."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from soboo_mta.cli.trial.world import free_ports
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.way_out import CustomerRelay, RelayTls, Secret, SubmissionServer
from soboo_mta.net.relay_probe import SmtpRelayProbe
from soboo_mta.ports import Probed, ProbeStep
from tests.fakes.dns import FakeResolver
from tests.interop.next_hops import MTAS, Mta
from tests.interop.running import is_listening

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NAME = Domain("localhost")  # the certificate's
_POSTFIX: Mta = MTAS["postfix"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def postfix() -> AsyncIterator[tuple[Path, int]]:
    """Its home and port."""
    (port,) = free_ports(1)
    async with _POSTFIX.serves(_POSTFIX, port) as box:
        async with asyncio.timeout(20):
            while not await is_listening(_POSTFIX.address, port):
                await asyncio.sleep(0.05)
        yield box.parents[2], port


async def _probed(
    postfix: tuple[Path, int], *, name: Domain = _NAME, user: str | None = None
) -> Probed:
    home, port = postfix
    context = ssl.create_default_context(cafile=home / "tls" / "authority.pem")
    resolver = FakeResolver()
    resolver.add(name, "A", _POSTFIX.address)
    probe = SmtpRelayProbe(
        resolver=resolver, verifying=context, private_destinations=True
    )
    server = SubmissionServer(host=name, port=port, tls=RelayTls.STARTTLS)
    return await probe.probe(
        CustomerRelay(server=server, user=user),
        Secret("x") if user else None,
        reverse_path=parse_mailbox("postmaster@customer.com"),
        ehlo="mta1.esp.example",
    )


async def test_postfix_takes_the_reverse_path_and_no_message(postfix) -> None:
    found = await _probed(postfix)
    assert (found.failed, found.detail) == (None, "")
    assert found.tls.startswith("TLSv1.")
    assert "DSN" in found.offers
    log = postfix[0] / "mail.log"
    async with asyncio.timeout(20):
        while "quit=1" not in log.read_text():
            await asyncio.sleep(0.05)
    assert "starttls=1 mail=1 rset=1 quit=1 commands=6" in log.read_text()
    assert "data=" not in log.read_text()


async def test_postfix_without_logins_and_with_another_name_is_told_apart(
    postfix,
) -> None:
    assert (await _probed(postfix, user="esp")).failed is ProbeStep.AUTH_OFFERED
    other = await _probed(postfix, name=Domain("smtp.customer.com"))
    assert other.failed is ProbeStep.TLS
    assert "certificate" in other.detail
