"""Doubts about a domain's DNS: a receiver says that its mail does not authenticate, so it is
looked at again now. The monitor's look says whether anything is wrong; a doubt changes
nothing else, and the recipient is not to blame.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Text,
    bindparam,
    insert,
    or_,
    select,
    update,
)

from soboo_mta.mail.ids import DomainId, MessageId
from soboo_mta.ports import Clock
from soboo_mta.store import schema
from soboo_mta.store.unit import Statement

DOUBTED_EVENT: Final = "domain-doubted"  # events.event.EventKind.DOMAIN_DOUBTED
PAUSE: Final = timedelta(minutes=5)  # a domain is not looked at more often for this
_MS: Final = timedelta(milliseconds=1)
_REMEMBERED: Final = 10_000  # domains; over it all are forgotten


class Doubts:
    """One process's. What it remembers spares the store a statement for each recipient
    of a refused mailing; between processes the time of the last look does."""

    def __init__(self, clock: Clock, *, pause: timedelta = PAUSE) -> None:
        self._clock = clock
        self._pause = pause
        self._until: dict[DomainId, float] = {}

    def raised(
        self,
        domain_id: DomainId,
        *,
        message_id: MessageId | None,
        actor: str,
        detail: Mapping[str, object],
    ) -> list[Statement]:
        """Return the statements that have the domain looked at at once and note the event,
        to be committed with what raised the doubt; none within the pause. `message_id`
        None: it is of no one message.

        They do nothing where the domain is due anyway, was looked at within the pause, or
        is released. `detail` as in `events.event.recorded`.
        """
        moment = self._clock.monotonic()
        if moment < self._until.get(domain_id, float("-inf")):
            return []
        if len(self._until) >= _REMEMBERED:
            self._until.clear()
        self._until[domain_id] = moment + self._pause.total_seconds()
        now = self._clock.unix_ms()
        of_domain = {"this": domain_id, "now": now, "stale": now - self._pause // _MS}
        told = {
            "about": None if message_id is None else int(message_id),
            "who": actor,
            "how": json.dumps(detail, sort_keys=True),
        }
        # The event first: once the domain is due nobody else tells of it.
        return [
            Statement(_TELL, ({**of_domain, **told},)),
            Statement(_HASTEN, (of_domain,)),
        ]


_domain = schema.sending_domain.c
_NOW = bindparam("now", type_=BigInteger)
_WORTH_A_LOOK = (
    _domain.id == bindparam("this", type_=BigInteger),
    _domain.released_at.is_(None),
    _domain.next_check_at > _NOW,
    or_(
        _domain.facts_at.is_(None),
        _domain.facts_at < bindparam("stale", type_=BigInteger),
    ),
)
_TELL = insert(schema.event).from_select(
    ["at", "kind", "tenant_id", "domain", "message_id", "actor", "detail"],
    select(
        _NOW,
        bindparam("what", DOUBTED_EVENT, type_=Text),
        _domain.tenant_id,
        _domain.name,
        bindparam("about", type_=BigInteger),
        bindparam("who", type_=Text),
        bindparam("how", type_=Text),
    ).where(*_WORTH_A_LOOK),
)
_HASTEN = update(schema.sending_domain).where(*_WORTH_A_LOOK).values(next_check_at=_NOW)
