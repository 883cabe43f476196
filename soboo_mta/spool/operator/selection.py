"""Which recipients an operator means: the terms of every list, summary and move."""

from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, exists, or_

from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.store.schema import ACTIVE, WAITING, attempt, recipient

UNSETTLED = or_(WAITING, ACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Recipients that meet all that is given; None: any."""

    tenant: TenantId | None = None
    domain_ids: tuple[DomainId, ...] | None = None  # sending domains
    destination: str | None = None  # the recipient's domain
    site: str | None = None  # one of the hosts of the site that deferred it last
    source: str | None = None  # an attempt left from it
    message_id: MessageId | None = None
    state: RecipientState | None = None
    reason: Reason | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is given."""
        return all(getattr(self, one.name) is None for one in fields(self))

    def terms(self) -> list[ColumnElement[bool]]:
        """Return the conditions on `recipient`."""
        equal = {
            recipient.c.tenant_id: self.tenant,
            recipient.c.domain: self.destination,
            recipient.c.message_id: self.message_id and int(self.message_id),
            recipient.c.state: self.state and self.state.value,
            recipient.c.reason: self.reason and self.reason.value,
        }
        terms = [
            column == value for column, value in equal.items() if value is not None
        ]
        if self.domain_ids is not None:
            terms.append(recipient.c.domain_id.in_(self.domain_ids))
        if self.site is not None:  # a site's name is its hosts with | between them
            hosts = "|" + recipient.c.site + "|"
            terms.append(hosts.contains(f"|{self.site}|", autoescape=True))
        if self.source is not None:
            terms.append(_left_from(self.source))
        return terms


def _left_from(source: str) -> ColumnElement[bool]:
    return (
        exists()
        .where(
            attempt.c.message_id == recipient.c.message_id,
            attempt.c.position == recipient.c.position,
            attempt.c.source == source,
        )
        .correlate(recipient)
    )
