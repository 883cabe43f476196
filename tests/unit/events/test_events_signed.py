"""What was signed with a key, counted from the attempts, in both stores."""

import json

from soboo_mta.events.attempt import AttemptFacts, attempted, plan_interned
from soboo_mta.events.signed import SignedCount, signed_with
from soboo_mta.mail.ids import KeyId, MessageId
from soboo_mta.mail.outcome import Deferred, Delivered, Outcome, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.spool.content import accepting
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.store.writer import Writer
from tests.unit.events.test_events_events import MESSAGE

DAY = 24 * 3600 * 1000
OK = Delivered(reply=reply(250, "2.0.0", "taken"))


def deferred(reason: Reason) -> Outcome:
    return Deferred(
        reply=reply(451, "4.4.2", "later"), reason=reason, scope=Scope.RECIPIENT
    )


async def attempt(
    writer: Writer, outcome: Outcome, *, at: int, key: int, message: int = 5
) -> None:
    signature = {"a": "rsa-sha256", "d": "example.com", "key": key, "s": "sb1"}
    plan_id, interned = plan_interned(
        json.dumps({"signatures": [signature]}, separators=(",", ":"))
    )
    facts = AttemptFacts(at=at, plan_id=plan_id)
    await writer.commit([attempted(MessageId(message), 0, outcome, facts), interned])


async def test_attempts_are_counted_by_day_destination_and_outcome(
    writer: Writer,
) -> None:
    await writer.commit(
        accepting(MESSAGE, pieces=0, holder=None, state=RecipientState.DEFERRED)
    )
    await attempt(writer, deferred(Reason.TIMEOUT), at=3 * DAY, key=1)
    await attempt(writer, deferred(Reason.REPLY), at=4 * DAY, key=1)
    await attempt(writer, OK, at=4 * DAY + 5, key=1, message=6)  # its row is gone
    await attempt(writer, OK, at=4 * DAY, key=11)  # another key
    await attempt(writer, OK, at=2 * DAY, key=1)  # too long ago
    found = await writer.read(lambda at: signed_with(at, [KeyId(1)], since=3 * DAY))
    plain = {"delivered": 0, "unanswered": 0, "refused": 0, "waiting": 0}
    at_home = plain | {"destination": "example.net"}
    assert found == (
        SignedCount(
            **(plain | {"day": "1970-01-05", "destination": "", "delivered": 1})
        ),
        SignedCount(**(at_home | {"day": "1970-01-05", "refused": 1, "waiting": 1})),
        SignedCount(**(at_home | {"day": "1970-01-04", "unanswered": 1, "waiting": 1})),
    )


async def test_a_key_that_signed_nothing_has_no_counts(writer: Writer) -> None:
    assert await writer.read(lambda at: signed_with(at, [KeyId(3)], since=0)) == ()
