"""Makes reports: as statements of the unit that settles what they tell of.

So a crash leaves neither a failure without its report nor two of them. A report goes to
the submitted reverse-path where that is in one of the tenant's verified domains, else to
the tenant's registered address; where there is neither it is an event. It is the
operator's own mail: null reverse-path, From the operator's domain (RFC 3464 §2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.dsn.report import SENDER, Original, Report, rendered
from soboo_mta.formats.dsn.status import RecipientStatus
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.identity.state import DomainState, PublicKey
from soboo_mta.mail.address import NULL_REVERSE_PATH, Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageIds, TenantId, report_lane
from soboo_mta.mail.notify import wants_failures
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.mail.returned import Action
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.ports import Clock
from soboo_mta.spool.content import accepting
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.moves.settle import warned
from soboo_mta.spool.moves.sweep import Overdue
from soboo_mta.store.unit import Statement
from soboo_mta.transfer.reporting.due import ReportPolicy

_ACTOR = "transfer"
_TURNED_OFF = ""  # no report, and no event either: the tenant wants none
_NO_KEYS = "the operator has no keys to sign reports with: soboo-mta key operator"


class Tenant(Protocol):
    """What reporting asks of a tenant."""

    @property
    def reports(self) -> bool: ...

    @property
    def report_address(self) -> Mailbox | None: ...


class Accounts(Protocol):
    """Who gets reports, cached (tenancy.Directory)."""

    @property
    def operator_keys(self) -> tuple[PublicKey, ...]: ...

    async def tenant(self, tenant_id: TenantId) -> Tenant | None: ...

    async def sending_domain(
        self, author_domain: Domain, *, tenant: TenantId | None
    ) -> DomainState | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How reports are made."""

    reporting_mta: Domain
    """Our host name, as in Received fields."""
    domain: Domain
    """The operator's own domain: reports come from MAILER-DAEMON there."""
    policy: ReportPolicy = field(default_factory=ReportPolicy)
    max_returned: int = 50 * 1024
    """Octets of the message that come back at most."""
    lifetime: timedelta = timedelta(days=5)
    """How long the delivery of a report is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is to be reported of one recipient. `host` is the next hop whose `reply` it
    is ("name[address]:port"), "" where the reply is our own."""

    position: int
    action: Action
    reason: Reason
    reply: Reply
    host: str
    at: int  # unix ms
    is_expired: bool = False


class Reports:
    """Makes the reports of one process."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        ids: MessageIds,
        clock: Clock,
        options: ReportOptions,
    ) -> None:
        self._accounts = accounts
        self._ids = ids
        self._clock = clock
        self._options = options
        self._sender = Mailbox(SENDER, options.domain)

    @property
    def policy(self) -> ReportPolicy:
        return self._options.policy

    async def made(
        self, message: SpooledMessage, endings: Sequence[Ending]
    ) -> list[Statement]:
        """Return what belongs into the unit that settles `endings`: one report on all
        of them with its event, or the event that there is none. May raise StoreError."""
        unit = [
            warned(message.message_id, one.position, one.at)
            for one in endings
            if one.action is Action.DELAYED
        ]
        if message.is_report:
            return [self._event(EventKind.REPORT_FAILED, message, endings, {})]
        to = await self._destination(message)
        if isinstance(to, Mailbox):
            return unit + self._kept(message, endings, to)
        if to != _TURNED_OFF:
            kind = EventKind.REPORT_WITHHELD
            unit.append(self._event(kind, message, endings, {"cause": to}))
        return unit

    async def of_expired(
        self, message: SpooledMessage, late: Sequence[Overdue]
    ) -> list[Statement]:
        """As `made`, for recipients whose lifetime ended behind a gate."""
        if message.reverse_path.is_null and not message.is_report:
            return []
        now = self._clock.unix_ms()
        endings = [
            Ending(
                position=one.position,
                action=Action.FAILED,
                reason=one.reason,
                reply=reply(451, "4.7.5", one.why),
                host="",
                at=now,
                is_expired=True,
            )
            for one in late
            if wants_failures(message.asked(one.position).notify)
        ]
        return await self.made(message, endings) if endings else []

    # ----

    async def _destination(self, message: SpooledMessage) -> Mailbox | str:
        """The address a report may go to; else why there is none."""
        tenant = await self._accounts.tenant(message.tenant)
        if tenant is None or not tenant.reports:
            return _TURNED_OFF
        if not self._accounts.operator_keys:
            return _NO_KEYS
        own = message.reverse_path.mailbox
        if own is not None and await self._is_verified(own.domain, message.tenant):
            return own
        return tenant.report_address or (
            f"{message.reverse_path} is in none of the tenant's verified domains, and the"
            " tenant has no report address"
        )

    async def _is_verified(self, domain: Domain, tenant: TenantId) -> bool:
        state = await self._accounts.sending_domain(domain, tenant=tenant)
        return state is not None and (
            state.was_verified or state.settings.assume_verified
        )

    def _kept(
        self, message: SpooledMessage, endings: Sequence[Ending], to: Mailbox
    ) -> list[Statement]:
        report = Report(
            report_id=self._ids.next(),
            reporting_mta=self._options.reporting_mta,
            sender=self._sender,
            to=to,
            made_at=self._clock.now(),
            original=_original(message),
            statuses=[_status(message, one) for one in endings],
            max_returned=self._options.max_returned,
        )
        spooled = self._spooled(message, report)
        unit = accepting(spooled, pieces=0, holder=None, state=RecipientState.QUEUED)
        facts = {"report": str(report.report_id), "to": str(to)}
        unit.append(self._event(EventKind.REPORT_MADE, message, endings, facts))
        return unit

    def _spooled(self, message: SpooledMessage, report: Report) -> SpooledMessage:
        content, now = rendered(report), self._clock.unix_ms()
        life = self._options.lifetime // timedelta(milliseconds=1)
        return SpooledMessage(
            message_id=report.report_id,
            tenant=message.tenant,
            domain_id=report_lane(message.domain_id),
            credential=None,
            reverse_path=NULL_REVERSE_PATH,
            author=self._sender,
            recipients=(report.to,),
            header_message_id=report.header_message_id,
            client="",
            eight_bit=not content.isascii(),
            smtputf8=not report.to.is_ascii,
            body_hash=body_hash(HeaderBlock.parse(content).body),
            accepted_at=now,
            expires_at=now + life,
            content=content,
        )

    def _event(
        self,
        kind: EventKind,
        message: SpooledMessage,
        endings: Sequence[Ending],
        facts: dict[str, str],
    ) -> Statement:
        told = {
            str(message.recipients[one.position]): one.action.value for one in endings
        }
        return recorded(
            kind,
            at=self._clock.unix_ms(),
            actor=_ACTOR,
            tenant=message.tenant,
            message_id=message.message_id,
            detail={**facts, "recipients": told},
        )


def _original(message: SpooledMessage) -> Original:
    request = message.dsn
    return Original(
        content=message.content,
        header_message_id=message.header_message_id,
        envelope_id=request.envelope_id if request else "",
        returned=request.returned if request else None,
        author_domain=message.author.domain,
        arrived_at=_moment(message.accepted_at),
    )


def _status(message: SpooledMessage, ending: Ending) -> RecipientStatus:
    return RecipientStatus(
        recipient=message.recipients[ending.position],
        original=message.asked(ending.position).orcpt,
        action=ending.action,
        reason=ending.reason,
        reply=ending.reply,
        remote_mta=ending.host.partition("[")[0],
        last_attempt=_moment(ending.at),
        retry_until=_moment(message.expires_at),
        is_expired=ending.is_expired,
    )


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms // 1_000, UTC)
