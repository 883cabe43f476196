"""Settles what was read: attributed, noted, told of, carried through, and sent home, in
one transaction for each batch; a report on domains is counted in it.

A recipient that a next hop took and whose mail came back for good is RETURNED. What else
follows is the class's: `Consequences` suppress a recipient or have a domain looked at. Only
what is proved has consequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from soboo_mta.events.event import recorded
from soboo_mta.events.reports.alarms import Alarm
from soboo_mta.formats.authentication import Authentication
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.mail.returned import DmarcReport, Return, TlsReport
from soboo_mta.returns.attribution import Attribution, attributed
from soboo_mta.returns.forwarding.deciding import Case, Deciding
from soboo_mta.returns.options import SettlingOptions
from soboo_mta.returns.reader.frames import as_json
from soboo_mta.returns.reports.tls_counting import CountedReport, count_tls_report
from soboo_mta.returns.verdict import Verdict, verdict
from soboo_mta.spool.returned.claiming import Unread
from soboo_mta.spool.returned.settling import (
    About,
    SettledReturn,
    mark_returned,
    settle_return,
)
from soboo_mta.store.unit import perform

ACTOR: Final = "returns"
_MAX_TEXT: Final = 500  # characters of what was said, in an event


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReturn:
    """A return, and what it is."""

    unread: Unread
    found: Return
    authentication: Authentication | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one; `attribution` None: it is about nothing we know. `counted` is
    what a report on whole domains came to, by host."""

    unread: Unread
    kind: str
    attribution: Attribution | None
    verdict: Verdict
    has_moved: bool  # the recipient is RETURNED now
    counted: tuple[CountedReport, ...] = ()
    alarms: tuple[Alarm, ...] = ()  # what a report on domains shows


class Consequences(Protocol):
    """What a return does to a tenant's lists, a domain's next look and the figures kept."""

    def failed(
        self, connection: Connection, whom: About, said: Verdict, *, now: int
    ) -> None:
        """The recipient did not get it; `said.classified` is why."""
        ...

    def complained(self, connection: Connection, whom: About, *, now: int) -> None: ...

    def unsubscribed(
        self, connection: Connection, whom: About, *, now: int
    ) -> None: ...

    def dmarc_reported(
        self,
        connection: Connection,
        unread: Unread,
        found: DmarcReport,
        proved: Authentication | None,
        *,
        now: int,
    ) -> tuple[Alarm, ...]:
        """Count a report; return what was told of it."""
        ...


class Settling:
    """See the module."""

    def __init__(
        self,
        *,
        verp: VerpSigner,
        rules: RuleSet,
        consequences: Consequences,
        deciding: Deciding,
        options: SettlingOptions,
    ) -> None:
        self._verp = verp
        self._rules = rules
        self._consequences = consequences
        self._deciding = deciding
        self._options = options

    def settle(
        self, connection: Connection, read: Sequence[ReadReturn], now: int
    ) -> tuple[Settled, ...]:
        """Settle each that is still its reader's; return those."""
        settled = (self._settle(connection, one, now) for one in read)
        return tuple(one for one in settled if one is not None)

    def _settle(
        self, connection: Connection, read: ReadReturn, now: int
    ) -> Settled | None:
        found, unread = read.found, read.unread
        attribution = attributed(connection, unread, found, self._verp)
        whom = None if attribution is None else attribution.about
        said = verdict(found, whom, self._rules)
        classified = said.classified
        noted = SettledReturn(
            kind=found.kind.value,
            detail=as_json(found),
            bounce_class=classified.bounce_class.value if classified else None,
            authentication=self._written(read.authentication),
            about=whom,
        )
        if not settle_return(connection, unread, noted, now=now):
            return None
        has_moved = False
        if attribution is not None:
            is_proved = attribution.by.is_proof or self._is_believed(read, said)
            if is_proved:
                has_moved = self._carry_through(connection, attribution, said, now)
            _tell(connection, unread, attribution, said, now, is_proved=is_proved)
        case = Case(
            unread=unread,
            found=found,
            attribution=attribution,
            verdict=said,
            has_moved=has_moved,
            authentication=read.authentication,
        )
        self._deciding.decide(connection, case, now=now)
        alarms: tuple[Alarm, ...] = ()
        if isinstance(found, DmarcReport):
            alarms = self._consequences.dmarc_reported(
                connection, unread, found, read.authentication, now=now
            )
        return Settled(
            unread=unread,
            kind=found.kind.value,
            attribution=attribution,
            verdict=said,
            has_moved=has_moved,
            counted=self._counted(connection, read, now),
            alarms=alarms,
        )

    def _counted(
        self, connection: Connection, read: ReadReturn, now: int
    ) -> tuple[CountedReport, ...]:
        """What is added up of a report on whole domains."""
        if not isinstance(read.found, TlsReport):
            return ()
        return count_tls_report(
            connection,
            read.unread,
            read.found,
            read.authentication,
            bounce_domain=self._options.bounce_domain,
            now=now,
        )

    def _written(self, found: Authentication | None) -> str | None:
        """The Authentication-Results field's value (RFC 8601 §2.2), in one line."""
        if found is None:
            return None
        field = found.header(self._options.host_name)
        return " ".join(field.partition(":")[2].split())

    def _is_believed(self, read: ReadReturn, said: Verdict) -> bool:
        """Whether a complaint comes, proved, from somebody whose word counts."""
        proved = read.authentication
        if not said.is_complaint or proved is None:
            return False
        return any(
            domain == reporter or domain.endswith(f".{reporter}")
            for domain in proved.authentic_domains
            for reporter in self._options.reporters
        )

    def _carry_through(
        self, connection: Connection, attribution: Attribution, said: Verdict, now: int
    ) -> bool:
        whom = attribution.about
        if whom.is_report:
            return False  # its recipient is the tenant, who asked for none of this
        if said.is_complaint:
            self._consequences.complained(connection, whom, now=now)
        if said.is_unsubscribe:
            self._consequences.unsubscribed(connection, whom, now=now)
        if not said.is_final:
            return False
        has_moved = mark_returned(
            connection, whom, f"{said.status} {said.text}".strip()
        )
        if has_moved:  # of several reports on one recipient the first counts
            self._consequences.failed(connection, whom, said, now=now)
        return has_moved


def _tell(
    connection: Connection,
    unread: Unread,
    attribution: Attribution,
    said: Verdict,
    now: int,
    *,
    is_proved: bool,
) -> None:
    """Record the event; it holds nothing of the return but what was said of it."""
    if said.event is None:
        return
    whom = attribution.about
    detail: dict[str, object] = {
        "return": unread.returned_id,
        "by": attribution.by.value,
        "proved": is_proved,
        "position": whom.position,
        "recipient": str(whom.recipient),
        "attempt": whom.attempt,
        "host": whom.host,
        "text": said.text[:_MAX_TEXT],
    }
    if said.action is not None:
        detail |= {"action": said.action.value, "status": said.status}
    if said.classified is not None:
        facts = said.classified
        detail |= {
            "class": facts.bounce_class.value,
            "charged": facts.facts.charged.value,
            "rule": facts.rule,
        }
    event = recorded(
        said.event,
        at=now,
        actor=ACTOR,
        tenant=whom.tenant,
        domain=whom.domain,
        message_id=whom.message_id,
        detail=detail,
    )
    perform(connection, event)
