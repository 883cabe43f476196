"""What an attempt's outcome means for its tenant's suppression list, done in the
transaction that settles it.

A failure for good counts where the next hop said it, or DNS did that the domain takes no
mail: silence may be our own trouble, and a block, a hold or an error of ours says nothing
of the recipient. A delivery forgets the soft failures of its recipient: the worker's view
knows whether there are any, so that nearly all deliveries pay one look into memory.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.formats.classes.rules import RuleSet, said_in
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.bounce_class import BounceClass, Classified
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Delivered, Failed, Outcome, Reason
from soboo_mta.mail.spooled import Claimed
from soboo_mta.store.unit import Statement, Step, perform
from soboo_mta.tenancy.suppression import (
    Evidence,
    Suppression,
    SuppressionRules,
    concerns_recipient,
    consequences,
    folded,
    forgive,
)

_log = logging.getLogger(__name__)
_SAID_BY_THE_PEER: Final = frozenset((Reason.REPLY, Reason.DNS_PERMANENT))

_LASTED: Final = frozenset((BounceClass.UNKNOWN, BounceClass.PEER_TROUBLE))
"""What means no more, at the end of all retries, than that they had an end."""


class Failures(Protocol):
    """Whose soft failures are counted (tenancy.Suppressions)."""

    def has_failures(self, tenant: TenantId, address: Mailbox) -> bool: ...

    def forgiven(self, tenant: TenantId, address: Mailbox) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What follows from outcomes, by the class of what was said and by the rules."""

    classes: RuleSet
    rules: SuppressionRules
    failures: Failures

    def of(
        self, claimed: Claimed, tried: Outcome, settled: Outcome, *, host: str, at: int
    ) -> list[Step]:
        """Return what is done with the settlement. `tried` is what the attempt came to,
        `settled` what becomes of it: a Deferred may have been the last. `host` is
        "name[address]:port" or ""; `at` in unix ms."""
        tenant, recipient = claimed.message.tenant, claimed.recipient
        if claimed.message.is_report:  # ours, to a sender: no mail of the tenant's
            return []
        if isinstance(settled, Delivered):
            if not self.failures.has_failures(tenant, recipient):
                return []
            self.failures.forgiven(tenant, recipient)
            return [Step(partial(forgive, tenant=tenant, key=folded(recipient)))]
        if not isinstance(settled, Failed):
            return []
        found = self._class_of(tried, settled, host)
        if found is None or not concerns_recipient(found):
            return []
        follow = partial(
            consequences,
            tenant=tenant,
            address=recipient,
            classified=found,
            evidence=Evidence(
                message=claimed.message.message_id,
                position=claimed.position,
                said=str(settled.reply),
            ),
            now=at,
            rules=self.rules,
        )
        return [Step(partial(_done, follow=follow))]

    def _class_of(
        self, tried: Outcome, settled: Failed, host: str
    ) -> Classified | None:
        if getattr(tried, "reason", None) not in _SAID_BY_THE_PEER:
            return None
        name = host.partition("[")[0]
        said = said_in(str(settled.reply), hosts=(name,) if name else ())
        found = self.classes.classify(said)
        is_over = settled.reason is Reason.LIFETIME
        if is_over and found.bounce_class in _LASTED:
            return self.classes.of(BounceClass.EXPIRED)
        return found


def added_event(entry: Suppression) -> Statement:
    """Return the statement that records that an entry came into a list."""
    return recorded(
        EventKind.SUPPRESSION_ADDED,
        at=entry.since,
        actor=entry.actor,
        tenant=entry.tenant,
        message_id=entry.evidence.message,
        detail={
            "address": str(entry.address),
            "stream": entry.stream,
            "reason": entry.reason.value,
            "because": entry.because,
            "evidence": entry.evidence.as_json(),
        },
    )


def _done(
    connection: Connection, follow: Callable[[Connection], tuple[Suppression, ...]]
) -> None:
    try:
        perform(connection, *map(added_event, follow(connection)))
    except SQLAlchemyError:
        raise  # the store's: the settlement is tried again with it
    except Exception:  # noqa: BLE001 - logged, and the recipient is still settled: else it
        # would be tried again and again.
        _log.exception("what follows from a failure could not be done")
