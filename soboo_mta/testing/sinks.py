"""The sinks for one test: what they answer, and what reached them since it began."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from soboo_mta.testing.dns import Record, Zones
from soboo_mta.testing.message import ReceivedMessage
from soboo_mta.testing.running.lab import NotYet, SobooLab

_BY_HOST = (
    "connect",
    "banner",
    "ehlo",
    "starttls",
    "mail",
)  # no recipient is known yet
_AT = {
    "hide": "ehlo",
    "offer": "ehlo",
    "tls": "starttls",
}  # where these have their place


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A moment at which a rule answered, hung or dropped."""

    stage: str
    recipients: tuple[str, ...]
    action: str
    reply: str


class SobooSinks:
    """Sinks whose rules and messages are this test's own.

    An application may send here itself: `host`, `port`, any user and password.
    """

    def __init__(self, lab: SobooLab, zones: Zones, *, timeout: float) -> None:
        self.host = lab.host
        self.port = lab.smtp_port
        self._lab = lab
        self._zones = zones
        self._timeout = timeout
        self._hosts: dict[str, str] = {}  # domain → the sink that is its own
        self._before: dict[str, tuple[Record, ...] | None] = {}  # those domains' zones
        self._after = self._last("messages", "messages")
        self._after_refusal = self._last("refusals", "")

    # ---- what came

    @property
    def messages(self) -> list[ReceivedMessage]:
        """What was received since the test began, the oldest first."""
        return self._messages({"limit": 1000})

    def wait_for(
        self,
        *,
        to: str = "",
        sender: str = "",
        subject: str = "",
        timeout: float | None = None,
    ) -> ReceivedMessage:
        """Wait for a message and return it: the first that has all that is given.

        Also one that came earlier in the test. AssertionError, which says what came
        instead, when `timeout` seconds have passed.
        """
        __tracebackhide__ = True
        asked = {"to": to, "from": sender, "subject": subject}
        return self._wait(1, asked, timeout)[0]

    def wait_for_all(
        self, count: int, *, to: str = "", timeout: float | None = None
    ) -> list[ReceivedMessage]:
        """Wait for so many messages and return them, the oldest first."""
        __tracebackhide__ = True
        return self._wait(count, {"to": to}, timeout)

    async def wait_for_async(self, **asked: Any) -> ReceivedMessage:
        """As `wait_for`, while the event loop goes on."""
        return await asyncio.to_thread(self.wait_for, **asked)

    def assert_nothing_for(self, to: str) -> None:
        """Nothing was received for an address so far."""
        __tracebackhide__ = True
        found = self._messages({"to": to})
        if found:
            raise AssertionError(f"{to} received {[one.subject for one in found]}")

    @property
    def refusals(self) -> list[Refused]:
        """What rules turned away since the test began, the oldest first."""
        return self._refusals({})

    def wait_for_refusal(
        self,
        *,
        to: str = "",
        stage: str = "",
        count: int = 1,
        timeout: float | None = None,
    ) -> list[Refused]:
        """Wait until rules turned so much away, and return it."""
        __tracebackhide__ = True
        limit = timeout or self._timeout
        try:
            return self._refusals(
                {"to": to, "stage": stage, "count": count, "timeout": limit}
            )
        except NotYet as late:
            raise AssertionError(str(late)) from None

    # ---- what is answered

    def rule(self, **keys: Any) -> int:
        """Add a rule with the keys of docs/lab.md, below those added before.

        A rule for a `domain` or `recipient` at a stage where no recipient is known yet
        gives the domain a sink of its own and holds there. Raises ValueError for a rule
        that makes no sense.
        """
        stage = keys.get("stage", _AT.get(keys.get("action", ""), "rcpt"))
        if stage in _BY_HOST:
            recipient = keys.pop("recipient", "")
            domain = keys.pop("domain", recipient.rpartition("@")[2])
            if domain:
                keys["host"] = self.host_of(domain)
            self._lab.cut_connections()  # one that is kept open is past those stages
        answer = self._lab.send("POST", "rules", json.dumps(keys).encode())
        return int(json.loads(answer)["numbers"][0])

    def refuse(self, to: str, reply: str = "550 5.1.1 No such user") -> None:
        """Refuse a recipient (an address, or "@domain") for good."""
        self.rule(**_whom(to), reply=reply)

    def defer(
        self, to: str, reply: str = "451 4.3.0 Try again later", *, times: int = 0
    ) -> None:
        """Turn a recipient away for now: so many times, or always."""
        self.rule(**_whom(to), reply=reply, times=times)

    def break_tls(
        self, domain: str, fault: str = "handshake", *, times: int = 0
    ) -> None:
        """Let STARTTLS go wrong at a domain's host: "handshake", "expired",
        "self-signed" or "wrong-name"."""
        self.rule(domain=domain, action="tls", fault=fault, times=times)

    def hide(self, domain: str, *extensions: str) -> None:
        """Let a domain's host not offer some extensions, as "STARTTLS", "8BITMIME"."""
        self.rule(domain=domain, action="hide", extensions=extensions)

    def remove(self, number: int) -> None:
        """Take a rule away."""
        self._lab.send("DELETE", f"rules/{number}", None)

    def clear(self) -> None:
        """Take all rules of this test away; it is done when the test ends, too."""
        self._lab.send("DELETE", "rules", None)

    def host_of(self, domain: str) -> str:
        """Give a domain a sink of its own, in DNS too; return its address."""
        if domain not in self._hosts:
            host = self._lab.next_host()
            if host in (self._lab.host, *self._hosts.values()):
                raise ValueError(f"no sink is left for {domain}: {self._hosts}")
            before = self._zones.book.get(domain)
            self._before[domain] = before
            name = f"mx.{domain}"
            places = [
                Record(name=domain, type="MX", value=f"10 {name}."),
                Record(name=name, type="A", value=host),
            ]
            others = [
                one
                for one in before or ()
                if (one.name, one.type) not in ((domain, "MX"), (name, "A"))
            ]
            self._zones.write(domain, [*others, *places])
            self._hosts[domain] = host
        return self._hosts[domain]

    def close(self) -> None:
        """Undo what the test asked for."""
        self.clear()
        self._lab.cut_connections()
        for domain, records in self._before.items():
            self._zones.restore(domain, records)
        self._before.clear()
        self._hosts.clear()

    # ---- inside

    def _wait(
        self, count: int, asked: dict[str, Any], timeout: float | None
    ) -> list[ReceivedMessage]:
        __tracebackhide__ = True
        limit = timeout or self._timeout
        given = asked | {"after": self._after, "count": count, "timeout": limit}
        try:
            found = self._lab.get("messages/wait", **given)["messages"]
        except NotYet as late:
            wanted = ", ".join(f"{k.rstrip('_')}={v!r}" for k, v in asked.items() if v)
            raise AssertionError(
                f"no message with {wanted or 'anything'}: {late}"
            ) from None
        return [self._whole(one["number"]) for one in reversed(found)]

    def _messages(self, asked: dict[str, Any]) -> list[ReceivedMessage]:
        found = self._lab.get("messages", **asked, after=self._after)["messages"]
        return [self._whole(one["number"]) for one in reversed(found)]

    def _whole(self, number: int) -> ReceivedMessage:
        return ReceivedMessage.of(
            self._lab.get(f"messages/{number}"),
            lambda below: self._lab.octets(f"messages/{number}/{below}"),
        )

    def _refusals(self, asked: dict[str, Any]) -> list[Refused]:
        return [
            Refused(
                stage=one["stage"],
                recipients=tuple(one["recipients"]),
                action=one["action"],
                reply=one["reply"],
            )
            for one in self._lab.get("refusals", **asked, after=self._after_refusal)
        ]

    def _last(self, what: str, within: str) -> int:
        found = self._lab.get(what)
        listed = found[within] if within else found
        return max((int(one["number"]) for one in listed), default=0)


def _whom(to: str) -> dict[str, str]:
    return {"domain": to[1:]} if to.startswith("@") else {"recipient": to}
