"""What a refusal means beyond its recipient: its class in the log, a look at the domain."""

import json

import pytest

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.outcome import Outcome
from soboo_mta.mail.reply import Reply
from soboo_mta.transfer.classify import Stage, of_reply
from tests.fakes.connector import OK, a_message
from tests.fakes.engine import DOWN, World

RULES = own_rules()


def answered(text: str, stage: Stage = Stage.RCPT) -> Outcome:
    return of_reply(stage, Reply.received(int(text[:3]), text[4:]), rules=RULES)


async def logged(world: World, count: int) -> list[tuple[str, object]]:
    """The attempts in the log, each with its class."""
    kinds = ("delivered", "deferred", "failed")

    def found() -> list[tuple[str, object]]:
        lines = [line for line in world.log.lines if line[0] in kinds]
        return [(event, facts.get("bounce_class")) for event, facts in lines]

    await world.until(lambda: len(found()) >= count)
    return found()


@pytest.mark.parametrize("code", [421, 450, 550])
async def test_mail_that_does_not_authenticate_has_its_domain_looked_at_once(
    start, code
):
    world = await start(ready={"first_connections": 1})
    text = f"{code} {code // 100}.7.26 This mail is unauthenticated"
    world.connector.answer = answered(text, Stage.DOT)
    for number in range(30):
        world.engine.offer(a_message(number, to=(f"u{number}@there.example",)), (0,))
    word = "failed" if code == 550 else "deferred"
    assert await logged(world, 30) == [(word, "unauthenticated")] * 30
    told, hastened = world.ledger.looks
    assert told["this"] == hastened["this"] == 7
    detail = json.loads(told["how"])
    assert detail["host"].startswith("a.there.example[9.9.9.1]")
    assert detail["reply"] == text


async def test_another_refusal_asks_for_no_look(start):
    world = await start(ready={"first_connections": 1})
    answers = iter(
        [
            answered("550 5.1.1 no such user"),
            answered("452 4.2.2 mailbox full"),
            OK,
        ]
    )
    world.connector.answer = lambda _: next(answers)
    for number in range(3):
        world.engine.offer(a_message(number), (0,))
    assert await logged(world, 3) == [
        ("failed", "invalid-mailbox"),
        ("deferred", "mailbox-full"),
        ("delivered", None),
    ]
    assert world.ledger.looks == []


async def test_what_no_peer_said_has_the_class_of_its_reason(start):
    world = await start(ready={"first_connections": 1})
    world.connector.failures = {"9.9.9.1": DOWN, "9.9.9.2": DOWN}
    world.engine.offer(a_message(1), (0,))
    assert await logged(world, 1) == [("deferred", "no-answer")]
