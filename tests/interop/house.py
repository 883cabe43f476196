"""The world that other people's programs meet: relay with TLS, three customers, sinks.

Everything here is set up through the doors a user has. One house serves the whole run;
tests tell their messages apart by the recipient.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiosmtplib
import trustme

from soboo_mta.cli.trial.world import World, free_ports, world
from soboo_mta.lab.record import MessageRecord
from tests.interop.verifiers import Opinion, judge, suspect

ACME = "acme.example"  # mode cname
VEREIN = "verein.example"  # mode manual, one more signature with the operator's d=
NORDWIND = "nordwind.example"  # mode cname, Ed25519 beside RSA
SINK = "sink.test"
BYPASSED = "sink2.test"  # its host takes what is sent past the relay
_TENANTS = f"""\
[[tenant]]
id = "acme"
name = "Acme Ltd"
credential = [{{ user_name = "acme-app" }}]
domain = [
  {{ name = "{ACME}" }},
  {{ name = "{VEREIN}", mode = "manual", sign_with_operator = true }},
]

[[tenant]]
id = "nordwind"
name = "Nordwind GmbH"
credential = [{{ user_name = "nordwind-app" }}]
domain = [{{ name = "{NORDWIND}", ed25519 = true }}]
"""
_TLS = """
[[listeners]]
address = "127.0.0.1"
port = {starttls}
tls = "starttls"

[[listeners]]
address = "127.0.0.1"
port = {implicit}
tls = "implicit"

[tls]
certificate_file = "{certificate}"
private_key_file = "{key}"
"""
SECURITIES = ("clear", "starttls", "implicit")
_ARRIVES_WITHIN = 20  # seconds, a first retry included


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """`clear`, `starttls` and `implicit` are the relay's ports; `authority` a CA file."""

    world: World
    starttls: int
    implicit: int
    authority: Path

    @property
    def clear(self) -> int:
        return self.world.port

    @property
    def secret(self) -> str:
        """The secret of the user "acme-app"."""
        return self.world.secrets["acme-app"]

    def port(self, security: str) -> int:
        """The port for "clear", "starttls" or "implicit"."""
        ports = {"starttls": self.starttls, "implicit": self.implicit}
        return ports.get(security, self.clear)

    async def submit(self, octets: bytes, to: str) -> str:
        """Submit a message as it is; return the reply to its content."""
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=self.clear, start_tls=False)
        async with client:
            await client.login("acme-app", self.secret)
            await client.mail(f"b@{ACME}")
            await client.rcpt(to)
            try:
                _, text = await client.data(octets)
            except aiosmtplib.SMTPDataError as error:
                return f"{error.code} {error.message}"
            return f"250 {text}"

    async def arrived(self, *recipients: str) -> list[MessageRecord]:
        """Wait until each recipient has one message; return them in that order."""
        wanted = set(recipients)

        def has_all(records: tuple[MessageRecord, ...]) -> bool:
            return wanted <= {one for record in records for one in record.rcpt_to}

        records = await self.world.lab.wait_for(has_all, _ARRIVES_WITHIN)
        found = []
        for recipient in recipients:
            copies = [one for one in records if recipient in one.rcpt_to]
            assert len(copies) == 1, f"{recipient}: {len(copies)} copies"
            found += copies
        return found

    async def opinions(self, *records: MessageRecord) -> list[Opinion]:
        """What the verifiers say, by the DNS of this house."""
        return await judge([suspect(one) for one in records], self.world.lab.dns_port)

    async def aligned(self, domain: str, *recipients: str) -> list[bytes]:
        """Wait for the recipients' messages, see that all verifiers find them aligned
        for `domain`, and return their octets."""
        records = await self.arrived(*recipients)
        for opinion in await self.opinions(*records):
            assert opinion.agrees_on(domain), opinion
        return [record.raw.read_bytes() for record in records if record.raw]


@asynccontextmanager
async def open_house(directory: Path) -> AsyncIterator[House]:
    """Set everything up and start the relay."""
    clear, starttls, implicit = free_ports(3)
    authority, certificate, key = certificates(directory)
    extra = _TLS.format(
        starttls=starttls, implicit=implicit, certificate=certificate, key=key
    )
    place = world(
        directory / "world", port=clear, sinks=("127.0.0.2", "127.0.0.3"), extra=extra
    )
    async with place as inside:
        await settle_in(inside)
        inside.zones.write_destination(SINK, "127.0.0.2")
        inside.zones.write_destination(BYPASSED, "127.0.0.3")
        await inside.start_relay()
        yield House(
            world=inside, starttls=starttls, implicit=implicit, authority=authority
        )
        assert await inside.stop_relay() == 0, inside.relay_log()[-3000:]


async def settle_in(place: World) -> None:
    """Tenants, keys and zones; every customer's domain is verified."""
    await place.command("secret", "generate")
    await place.apply(_TENANTS)
    await place.command("key", "operator")
    await place.publish_operator()
    for domain in (ACME, VEREIN, NORDWIND):
        await place.publish(domain)
        await place.command("domain", "verify", domain)


def certificates(directory: Path) -> tuple[Path, Path, Path]:
    """An authority's certificate, and a chain and key for localhost, as files."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    names = ("authority.pem", "chain.pem", "key.pem")
    ca, chain, key = (directory / name for name in names)
    authority.cert_pem.write_to_path(ca)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    return ca, chain, key
