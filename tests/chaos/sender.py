"""Clients that submit named messages and know to the octet what they were answered."""

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from random import Random

from soboo_mta.cli.trial.world import World
from tests.chaos.ready_world import DOMAIN, SINKS, USER

LARGE_EACH = 6  # of so many messages one is staged in pieces
_COME_AGAIN = 0.3  # seconds
_LARGE = (300_000, 420_000)  # octets
_SMALL = (200, 20_000)


@dataclass(slots=True, kw_only=True)
class Mail:
    """One message; `digest` is of its body. `reply` is the answer to its final dot, ""
    while there is none: then it may arrive, but nobody promised that."""

    name: str
    life: int
    recipients: tuple[str, ...]
    octets: bytes
    digest: str
    reply: str = ""

    @property
    def is_acknowledged(self) -> bool:
        return self.reply.startswith("250")


class Post:
    """Writes the messages of a run; each name occurs once."""

    def __init__(self, random: Random, domains: Sequence[str] = tuple(SINKS)) -> None:
        self.sent: list[Mail] = []
        self._random = random
        self._domains = domains
        self._numbers = count(1)

    def mail(self, life: int) -> Mail:
        """A fresh message to one to three recipients; every sixth is a large one."""
        number = next(self._numbers)
        span = _LARGE if number % LARGE_EACH == 3 else _SMALL
        many = self._random.randint(1, len(self._domains))
        domains = self._random.sample(self._domains, many)
        mail = written(
            f"chaos-{number}",
            tuple(f"r{number}@{domain}" for domain in domains),
            self._random.randbytes(self._random.randint(*span) // 2),
            life=life,
        )
        self.sent.append(mail)
        return mail


def written(
    name: str, recipients: tuple[str, ...], content: bytes, *, life: int = 0
) -> Mail:
    """A message whose body is `content` in hexadecimal, with dots at line starts."""
    text = content.hex()
    lines = [f".{text[at : at + 75]}" for at in range(0, len(text), 75)]
    body = "".join(f"{line}\r\n" for line in lines).encode()
    header = (
        f"From: Acme <hello@{DOMAIN}>\r\nTo: {', '.join(recipients)}\r\n"
        f"Subject: {name}\r\nMessage-ID: <{name}@{DOMAIN}>\r\n\r\n"
    )
    return Mail(
        name=name,
        life=life,
        recipients=recipients,
        octets=header.encode() + body,
        digest=hashlib.sha256(body).hexdigest(),
    )


class TryLater(ConnectionError):
    """The relay said so: 4yz."""


class Farewell(TryLater):
    """The relay said 421, and went."""


class Client:
    """One SMTP connection that is logged in. ConnectionError: the relay went away."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, place: World) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", place.port))
        try:
            await client._expect("220")
            await client.say("EHLO app.test", "250")
            secret = f"\0{USER}\0{place.secrets[USER]}".encode()
            await client.say(f"AUTH PLAIN {base64.b64encode(secret).decode()}", "235")
        except BaseException:  # killed in between: nobody else will close it
            client.close()
            raise
        return client

    async def submit(self, mail: Mail) -> None:
        """Submit one message and note the reply to its final dot."""
        await self.say(f"MAIL FROM:<hello@{DOMAIN}>", "250")
        for recipient in mail.recipients:
            await self.say(f"RCPT TO:<{recipient}>", "250")
        await self.say("DATA", "354")
        stuffed = mail.octets.replace(b"\r\n.", b"\r\n..")
        self._writer.write(stuffed + b".\r\n")
        await self._writer.drain()
        mail.reply = await self.reply()

    async def say(self, line: str, code: str) -> None:
        """Say a command; AssertionError where the answer is another than `code`."""
        self._writer.write(line.encode() + b"\r\n")
        await self._writer.drain()
        await self._expect(code)

    def write(self, octets: bytes) -> None:
        """Send octets as they are."""
        self._writer.write(octets)

    def close(self) -> None:
        self._writer.close()

    async def _expect(self, code: str) -> None:
        answer = await self.reply()
        if answer.startswith(code):
            return
        if answer.startswith("421"):
            raise Farewell(answer)
        if answer.startswith("4"):
            raise TryLater(answer)
        raise AssertionError(answer)

    async def reply(self) -> str:
        """Return the last line of the next reply."""
        while line := await self._reader.readline():
            if line[3:4] != b"-":
                return line.decode().rstrip()
        raise ConnectionResetError


async def keep_submitting(
    place: World, mails: Iterator[Mail], *, until: asyncio.Event, quickly: int
) -> None:
    """Submit until the relay is gone or `until` is set: `quickly` so many, then two a
    second, which every point is reached with in the end."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        client = await Client.connect(place)
        with closing(client):
            for number, mail in enumerate(mails):
                if number >= quickly:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(until.wait(), 0.5)
                if until.is_set():
                    break
                await client.submit(mail)


async def keep_coming(
    place: World, mails: Iterator[Mail], *, until: asyncio.Event, quickly: int
) -> None:
    """As `keep_submitting`, but come again until `until` is set."""
    while not until.is_set():
        with suppress(OSError):  # nobody listens, or no descriptor is left
            await keep_submitting(place, mails, until=until, quickly=quickly)
        with suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), _COME_AGAIN)
