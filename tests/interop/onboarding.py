"""A story on an internet of real programs: the customer's and the sender's part in it."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from itertools import count
from pathlib import Path
from typing import Any

from soboo_mta.cli.trial.world import World, WorldError
from soboo_mta.lab.record import MessageRecord
from tests.interop.name_servers import Server, ZoneFile, ask
from tests.interop.receivers import Reception, Resolver, octets_of, receive

OPERATOR, CUSTOMER, SINK = "esp.com", "customer.com", "sink.com"
USER = "app"
_SECONDS = 40.0  # the machine may be busy
_RESTING = ("delivered", "held")
Holds = Callable[[MessageRecord], bool]


@dataclass(slots=True, kw_only=True)
class Internet:
    """What a story works with. `net` is the first three octets of its addresses: .1 the
    registry, .2 the customer's server, .3 and .4 the operator's, .9 the resolver."""

    net: str
    home: Path
    registry: Server
    registered: ZoneFile
    resolver: Resolver
    relay: World
    delegated: list[str] = field(default_factory=list)

    async def delegate(self, name: str, address: str, *more: str) -> None:
        """Register a domain at one server; `more` are lines as its DS records."""
        self.delegated += [f"{name}. NS ns1.{name}.", f"ns1.{name}. A {address}", *more]
        await self.registry.publish(self.registered, self.delegated)

    async def records(self, domain: str) -> list[str]:
        """What the customer is told to publish, less the DMARC record that it has."""
        found = await self.relay.records(domain)
        return [one for one in found if not one.startswith("_dmarc.")]

    async def until_good(self, domain: str) -> dict[str, Any]:
        """Wait until the monitor has found all that is required; return the domain."""
        found: dict[str, Any] = {}

        async def is_good() -> bool:
            listed = json.loads(await self.relay.command("domain", "list", "--json"))
            found.update(next(one for one in listed if one["name"] == domain))
            required = [one for one in found["records"] if one["required"]]
            return bool(found["verified_at"]) and all(
                one["status"] == "good" for one in required
            )

        try:
            await self.relay.until(f"{domain} is verified", is_good, _SECONDS)
        except WorldError as error:
            raise AssertionError(
                f"{error}\n{json.dumps(found, indent=1)}\n{self.relay.relay_log()[-4000:]}"
            ) from error
        return found

    def told(self) -> int:
        """How much the relay has logged: where `until_told` begins to read."""
        return len(self.relay.relay_log())

    async def until_told(self, words: str, *, since: int) -> None:
        """Wait until the relay has logged these words after that point."""

        async def is_told() -> bool:
            return words in self.relay.relay_log()[since:]

        await self.until(f"the log says {words!r}", is_told)

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]]) -> None:
        await self.relay.until(what, holds, _SECONDS)

    async def submit(self, domain: str, subject: str) -> str:
        """Submit a message of the domain over SMTP; return its id."""
        message = EmailMessage()
        message["From"], message["To"] = f"ann@{domain}", f"bob@{SINK}"
        message["Subject"] = subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = make_msgid(domain=domain)
        message.set_content(f"{subject}\n")
        reply = await self.relay.submit(USER, message, [f"bob@{SINK}"])
        found = re.search(r"[0-9a-z]{10,}", reply)
        assert found, reply
        return found[0]

    async def arrived(self, subject: str) -> MessageRecord:
        """Wait for a message by its subject."""

        def has_come(records: Sequence[MessageRecord]) -> bool:
            return any(map(is_it, records))

        def is_it(record: MessageRecord) -> bool:
            return f"Subject: {subject}\r\n".encode() in octets_of(record)

        records = await self.relay.lab.wait_for(has_come, _SECONDS)
        (found,) = filter(is_it, records)
        return found

    async def proven(
        self, domain: str, subject: str, holds: Holds = lambda _: True
    ) -> tuple[Reception, dict[str, Any]]:
        """Send a message and see that every tool of its receiver concludes what `trace`
        says was foretold; return what they say, and the plan.

        `holds` is asked of what came. Workers hear of a look within 250 ms: while it
        answers False another message is sent.
        """
        async with asyncio.timeout(_SECONDS):
            for number in count(1):
                numbered = f"{subject} ({number})"
                message_id = await self.submit(domain, numbered)
                record = await self.arrived(numbered)
                if holds(record):
                    break
        return await self.agreed(message_id, numbered)

    async def agreed(
        self, message_id: str, subject: str
    ) -> tuple[Reception, dict[str, Any]]:
        """As `proven`, of a message that was submitted before."""
        record = await self.arrived(subject)
        for name in _asked_for(record):
            await self._until_seen(name)
        reception = await receive(record, self.resolver, self.home)
        plan = await self.plan(message_id)
        reception.agrees_with(plan)
        return reception, plan

    async def _until_seen(self, name: str) -> None:
        """Wait until the resolver has a text at a name: that it had none is what it may
        go on saying for a second after the record was published (RFC 2308 §5)."""

        async def is_seen() -> bool:
            answer = await ask(self.resolver.address, name, "TXT")
            return answer is not None and bool(answer.answer)

        await self.until(f"the resolver sees {name}", is_seen)

    async def held(self, domain: str, subject: str) -> tuple[str, str]:
        """Submit until a message waits for its domain's DNS; return its id and subject."""
        async with asyncio.timeout(_SECONDS):
            for number in count(1):
                numbered = f"{subject} ({number})"
                message_id = await self.submit(domain, numbered)
                while (state := await self._state(message_id)) not in _RESTING:
                    await asyncio.sleep(0.05)
                if state == "held":
                    break
        return message_id, numbered

    async def _state(self, message_id: str) -> str:
        told = await self.relay.command("trace", message_id, "--json")
        ((_, state),) = json.loads(told)["recipients"]
        return str(state)

    async def plan(self, message_id: str) -> dict[str, Any]:
        """The plan by which a message was delivered, as `trace` tells it."""
        found: dict[str, Any] = {}

        async def is_delivered() -> bool:
            told = await self.relay.command("trace", message_id, "--json")
            for attempt in json.loads(told)["attempts"]:
                if attempt["outcome"] == "delivered":
                    found.update(attempt["plan"])
            return bool(found)

        await self.until(f"{message_id} was delivered", is_delivered)
        return found


def _asked_for(record: MessageRecord) -> list[str]:
    """The names of keys and of SPF that a receiver of the message asks for."""
    folded = rb"^DKIM-Signature:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*"
    fields = re.findall(folded, octets_of(record), re.M)
    names = [record.mail_from.rpartition("@")[2]]
    for one in fields:
        d, s = (re.search(rb"\b%b=([^;\s]+)" % tag, one) for tag in (b"d", b"s"))
        assert d is not None
        assert s is not None
        names.append(f"{s[1].decode()}._domainkey.{d[1].decode()}")
    return names


def signs_as(domain: str, selector: str) -> Holds:
    """Whether a message came with a signature of this d= and s=."""
    tags = f"; d={domain};", f"s={selector};"
    return lambda record: all(one.encode() in octets_of(record) for one in tags)


def bounces_at(domain: str) -> Holds:
    """Whether a message came with a reverse-path of this domain."""
    return lambda record: record.mail_from.endswith(f"@{domain}")
