"""A whole small world on loopback: lab, relay, customers' zones; the demo and the stories
live in it. Everything goes through the doors a user has: the command line, SMTP, DNS.
"""

import asyncio
import json
import os
import signal
import smtplib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from soboo_mta.cli.trial.settings import OPERATOR, loopback_settings
from soboo_mta.cli.trial.zones import Zones
from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.sinks.options import SinkOptions

PROGRAM: Sequence[str] = (sys.executable, "-m", "soboo_mta")
_SOURCE = "127.0.0.1"
_PATIENCE = 60.0  # seconds for what is waited for


class WorldError(Exception):
    """Something in the world did not come about; the text says what."""


@dataclass(slots=True, kw_only=True)
class World:
    """The running world. `secrets` maps a credential's user name to its secret.

    `environment` goes to every command and to the relay, above the settings file.
    """

    directory: Path
    lab: Lab
    zones: Zones
    config: Path
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    relay: asyncio.subprocess.Process | None = None

    async def command(self, *words: str, codes: Sequence[int] = (0,)) -> str:
        """Run `soboo-mta WORDS` as a user would; return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *words,
            *("--config", str(self.config)),
            env=os.environ | self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode not in codes:
            raise WorldError(
                f"soboo-mta {' '.join(words)}: {err.decode()}{out.decode()}"
            )
        return out.decode()

    async def apply(self, tenants: str) -> None:
        """Apply a tenants file; keep the secrets of the credentials it made."""
        file = self.directory / "tenants.toml"
        file.write_text(tenants)
        report = json.loads(await self.command("apply", "-f", str(file), "--json"))
        self.secrets |= {c["user_name"]: c["secret"] for c in report["credentials"]}

    async def records(self, domain: str) -> list[str]:
        """The lines of a zone file that the customer is asked to publish."""
        text = await self.command(
            "domain", "records", domain, "--format", "zone", "--no-dns"
        )
        return [line for line in text.splitlines() if line and line[0] != ";"]

    async def publish_operator(self) -> None:
        """Serve the operator's zone as the relay wants it now."""
        text = await self.command("domain", "records", "--operator", "--format", "zone")
        lines = [line for line in text.splitlines() if line and line[0] != ";"]
        self.zones.write(OPERATOR, lines)

    async def publish(self, domain: str) -> list[str]:
        """Serve a customer's zone with all that is asked for; return those records."""
        records = await self.records(domain)
        self.zones.write_customer(domain, records)
        return records

    async def start_relay(self, command: Sequence[str] = ("-m", "soboo_mta")) -> None:
        """Start the relay as a process of its own; return when it answers."""
        log = (self.directory / "relay.log").open("ab")
        with log:
            self.relay = await asyncio.create_subprocess_exec(
                *(sys.executable, *command, "serve", "--config", str(self.config)),
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
            )
        await self.until("the relay answers", self.answers)

    async def answers(self) -> bool:
        """Whether the relay greets; raises WorldError where its process has ended."""
        if self.relay is None or self.relay.returncode is not None:
            raise WorldError(f"the relay ended:\n{self.relay_log()[-3000:]}")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            greeting = await reader.readline()
            writer.close()
            await writer.wait_closed()
        except OSError:
            return False
        return greeting.startswith(b"220")

    async def stop_relay(self, number: int = signal.SIGTERM) -> int:
        """Signal the relay and return its exit code; 0 where none runs."""
        if self.relay is None:
            return 0
        if self.relay.returncode is None:
            # Not `send_signal`: it looks first, and takes a dead child's code with it.
            with suppress(ProcessLookupError):
                os.kill(self.relay.pid, number)
        code = await self.relay.wait()
        self.relay = None
        return code

    def relay_log(self) -> str:
        """All that the relay printed so far."""
        file = self.directory / "relay.log"
        return file.read_text() if file.exists() else ""

    async def submit(
        self, user: str, message: EmailMessage, recipients: Sequence[str]
    ) -> str:
        """Submit one message with Python's own client; return the reply to DATA."""
        return await asyncio.to_thread(self._submit, user, message, recipients)

    def _submit(
        self, user: str, message: EmailMessage, recipients: Sequence[str]
    ) -> str:
        with smtplib.SMTP("127.0.0.1", self.port, "app.test", timeout=30) as client:
            client.login(user, self.secrets[user])
            author = str(message["From"].addresses[0].addr_spec)
            client.ehlo_or_helo_if_needed()
            client.mail(author)
            for recipient in recipients:
                client.rcpt(recipient)
            code, text = client.data(message.as_bytes(policy=SMTP))
            return f"{code} {text.decode()}"

    async def until(
        self,
        what: str,
        question: Callable[[], Awaitable[bool]],
        seconds: float = _PATIENCE,
    ) -> None:
        """Wait until the coroutine function `question` answers True; WorldError when it
        does not in `seconds`, which are many: a busy machine is no fault."""
        try:
            async with asyncio.timeout(seconds):
                while not await question():  # noqa: ASYNC110 - it asks other processes
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise WorldError(f"waited {seconds:g} s in vain until {what}") from None


@asynccontextmanager
async def world(
    directory: Path,
    *,
    port: int,
    sinks: Sequence[str] = ("127.0.0.2",),
    rules: str = "",
    workers: int = 0,
    extra: str = "",
    environment: Mapping[str, str] | None = None,
    sink_tls: ssl.SSLContext | None = None,
    judges: int = 0,
    judging_late: bool = False,
) -> AsyncIterator[World]:
    """Run a lab and prepare a relay in `directory`; the relay is stopped at the end.

    `extra` are further lines of the settings file; `{sink}` in it is the sinks' port.
    `judges` are processes of their own for verdicts, where much mail is to be judged;
    `judging_late` as `LabOptions.is_judging_late`.
    """
    zones = Zones(directory=directory / "zones")
    zones.directory.mkdir(parents=True)
    zones.write_lab()
    (directory / "sinks.toml").write_text(rules)
    options = LabOptions(
        raw=directory / "raw",
        sinks=SinkOptions(addresses=tuple(sinks), tls=sink_tls),
        judges=judges,
        is_judging_late=judging_late,
    )
    async with Lab(directory, options) as lab:
        config = directory / "soboo.toml"
        config.write_text(
            loopback_settings(
                data=directory / "data",
                workers=workers,
                port=port,
                dns=lab.dns_port,
                smtp=lab.sink_port,
                retry=("2s", "4s"),
            )
            + extra.replace("{sink}", str(lab.sink_port))
        )
        (directory / "data").mkdir()
        place = World(
            directory=directory,
            lab=lab,
            zones=zones,
            config=config,
            port=port,
            environment=environment or {},
        )
        try:
            yield place
        finally:
            await place.stop_relay(signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(holder.getsockname()[1]) for holder in holders]
    for holder in holders:
        holder.close()
    return ports
