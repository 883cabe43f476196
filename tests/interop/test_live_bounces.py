"""Five real MTAs take our mail, fail to pass it on, and bounce it: live reports come home.

Each message goes to three recipients of one MTA, of whom one fails. Everything happens
once, for all MTAs together; the tests then look at what came of each.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import pytest
import pytest_asyncio

from soboo_mta.cli.trial.world import World
from soboo_mta.lab.rules.rule import Action, Rule
from tests.chaos.ready_world import DOMAIN, SINKS, USER, ready_world
from tests.interop.bouncing_hosts import HOSTS, Bouncing, Nudge, Ways
from tests.interop.running import is_listening

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RETURNS = "127.0.0.12"  # whose port is the sinks' and the MTAs'
_EXTRA = f"""
[[return_listeners]]
address = "{_RETURNS}"
port = {{sink}}
tls = "none"
"""
# Seconds: more than MTAs wait here, but OpenSMTPD, which would wait for minutes.
_SILENCE = 4.0
_HEARD = 100.0  # seconds in which all reports are there, on the slowest machine


@dataclass(frozen=True, slots=True)
class Failure:
    """What the next host says to one recipient ("": nothing at all), and what is to come
    of it. `at` is the recipient's position in the message."""

    name: str
    reply: str
    at: int
    action: str
    classes: tuple[str, ...]


FAILURES = (
    Failure(
        "unknown-user", "550 5.1.1 No such user", 0, "failed", ("invalid-mailbox",)
    ),
    Failure("full", "552 5.2.2 The mailbox is full", 1, "failed", ("mailbox-full",)),
    Failure("denied", "550 5.7.1 Relaying denied", 2, "failed", ("relaying-denied",)),
    Failure("timeout", "", 1, "failed", ("no-answer", "expired")),
    Failure("delay", "451 4.7.1 Greylisted, wait", 2, "delayed", ("greylisted",)),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One message to three of an MTA's recipients."""

    host: Bouncing
    failure: Failure

    @property
    def recipients(self) -> list[str]:
        found = [f"ann@{self.host.domain}", f"bob@{self.host.domain}"]
        found.insert(self.failure.at, self.failing)
        return found

    @property
    def failing(self) -> str:
        return f"{self.failure.name}@{self._domain}"

    @property
    def _domain(self) -> str:
        host, is_silent = self.host, not self.failure.reply
        return host.silent_domain if is_silent else host.domain


@dataclass(frozen=True, slots=True)
class Came:
    """What came back for one message, as `returns list` has it, and its trace."""

    returns: Sequence[Mapping[str, Any]]
    trace: Mapping[str, Any]


ALL = [Sent(host, failure) for host in HOSTS for failure in FAILURES]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def came(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[Sent, Came]]:
    """Send all, wait until every MTA has said what it has to say."""
    directory = tmp_path_factory.mktemp("bounces") / "world"
    async with ready_world(directory, extra=_EXTRA) as place, AsyncExitStack() as stack:
        rules = _misbehave(place)
        served = [stack.enter_async_context(_serving(place, host)) for host in HOSTS]
        nudges = await asyncio.gather(*served)
        await place.start_relay()
        ids = await asyncio.gather(*(_submit(place, sent) for sent in ALL))
        letters = dict(zip(ALL, ids, strict=True))
        returns = await _heard(place, letters, rules, nudges)
        traces = {
            sent: json.loads(await place.command("trace", letter, "--json"))
            for sent, letter in letters.items()
        }
        yield {
            sent: Came(_about(returns, letter), traces[sent])
            for sent, letter in letters.items()
        }
        assert await place.stop_relay() == 0, place.relay_log()[-3000:]


@asynccontextmanager
async def _serving(place: World, host: Bouncing) -> AsyncIterator[Nudge]:
    port = place.lab.sink_port
    ways = Ways(
        port=port,
        answering=SINKS["alpha.test"],
        silent=SINKS["beta.test"],
        returns=_RETURNS,
    )
    for domain in (host.domain, host.silent_domain):
        place.zones.write_destination(domain, host.address)
    async with host.serves(host, ways) as nudge:
        await place.until(
            f"{host.name} listens", lambda: is_listening(host.address, port)
        )
        yield nudge


async def _submit(place: World, sent: Sent) -> str:
    message = EmailMessage()
    message["From"], message["Subject"] = f"news@{DOMAIN}", f"To {sent.failing}"
    message.set_content("Hello there")
    answer = await place.submit(USER, message, sent.recipients)
    return answer.split()[-1]


async def _heard(
    place: World,
    letters: Mapping[Sent, str],
    rules: Mapping[Sent, int],
    nudges: Iterable[Nudge],
) -> list[dict[str, Any]]:
    """What came back, when something final came for each failure and a delay for each
    delay. Who is only late takes its mail as soon as its sender was told so."""
    found: list[dict[str, Any]] = []
    late = {sent for sent in letters if sent.failure.action == "delayed"}

    async def all_heard() -> bool:
        for nudge in nudges:
            await nudge()
        listed = await place.command("returns", "list", "--json", "--limit", "10000")
        found[:] = json.loads(listed)
        heard = {
            sent
            for sent, letter in letters.items()
            if sent.failure.action in map(_action, _about(found, letter))
        }
        for sent in heard & late:
            place.lab.behaviour.remove(rules[sent])
        return heard == letters.keys()

    await place.until("all MTAs have reported", all_heard, seconds=_HEARD)

    async def is_taken() -> bool:
        for nudge in nudges:
            await nudge()
        taken = {to for one in place.lab.records for to in one.rcpt_to}
        return {sent.failing for sent in late} <= taken

    await place.until("what was late is delivered", is_taken)
    return found


def _misbehave(place: World) -> dict[Sent, int]:
    """The rules of the next hosts, by what they are for."""
    silent = Rule(host=SINKS["beta.test"], action=Action.HANG, seconds=_SILENCE)
    place.lab.behaviour.add(silent)
    return {
        sent: place.lab.behaviour.add(
            Rule(recipient=sent.failing, reply=sent.failure.reply)
        )
        for sent in ALL
        if sent.failure.reply
    }


def _about(returns: Iterable[dict[str, Any]], letter: str) -> list[dict[str, Any]]:
    return [one for one in returns if one["message_id"] == letter and one["kind"]]


def _action(one: Mapping[str, Any]) -> str:
    return str(one["detail"]["recipients"][0]["action"]) if one["detail"] else ""


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
async def test_case_097_099_a_live_bounce_lands_on_its_recipient_with_its_class(
    came: dict[Sent, Came], host: Bouncing, failure: Failure, figures: list[str]
) -> None:
    sent = Sent(host, failure)
    returns, trace = came[sent].returns, came[sent].trace

    assert {one["kind"] for one in returns} == {"dsn"}
    assert {one["door"] for one in returns} == {"recipient"}
    assert {one["position"] for one in returns} == {failure.at}
    (told,) = [one for one in returns if _action(one) == failure.action]
    figures.append(
        f"live bounces: {host.name:10} {failure.name:13} {told['kind']}"
        f" {failure.action:8} {told['bounce_class']}"
    )
    assert told["bounce_class"] in failure.classes
    (about,) = told["detail"]["recipients"]
    assert about["recipient"] == sent.failing

    is_final = failure.action == "failed"
    states = dict.fromkeys(sent.recipients, "delivered")
    states[sent.failing] = "returned" if is_final else "delivered"
    assert dict(trace["recipients"]) == states
    kind = "returned" if is_final else "return-told"
    (event,) = [one for one in trace["events"] if one["kind"] == kind]
    assert event["detail"]["recipient"] == sent.failing
    assert event["detail"]["position"] == failure.at
    assert event["detail"]["action"] == failure.action
    assert event["detail"]["class"] == told["bounce_class"]
