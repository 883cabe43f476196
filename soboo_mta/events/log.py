"""Facts as JSON lines, one method each; never credentials, bodies or link targets."""

from collections.abc import Mapping
from typing import Protocol

import structlog

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Outcome
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import SpooledMessage


class Sink(Protocol):
    """Where lines go: structlog's logger, or a list in tests."""

    def info(self, event: str, **facts: object) -> object: ...

    def warning(self, event: str, **facts: object) -> object: ...

    def error(self, event: str, **facts: object) -> object: ...


class EventLog:
    """The mail log. Line ends and control characters in facts are JSON-escaped."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink: Sink = sink or structlog.get_logger("soboo_mta")

    def serving(self, worker: int, listeners: list[str]) -> None:
        """A worker takes mail from now on."""
        self._sink.info("serving", worker=worker, listeners=listeners)

    def stopped(self, worker: int) -> None:
        """A worker has settled what it could and ended in order."""
        self._sink.info("stopped", worker=worker)

    def accepted(self, message: SpooledMessage) -> None:
        """250 was answered: the message is ours."""
        self._sink.info(
            "accepted",
            message=str(message.message_id),
            tenant=message.tenant,
            author=str(message.author),
            recipients=len(message.recipients),
            size=message.size,
            client=message.client,
        )

    def refused(self, reply: Reply, *, client: str, tenant: TenantId | None) -> None:
        """A message of a submission was refused."""
        self._sink.info("refused", reply=str(reply), client=client, tenant=tenant)

    def settled(
        self,
        message: SpooledMessage,
        position: int,
        outcome: Outcome,
        *,
        host: str,
        next_attempt: int | None = None,
        bounce_class: BounceClass | None = None,
    ) -> None:
        """An attempt ended and its settlement is committed."""
        facts: dict[str, object] = {
            "message": str(message.message_id),
            "tenant": message.tenant,
            "recipient": str(message.recipients[position]),
            "host": host,
        }
        match outcome:
            case Delivered(reply=reply):
                self._sink.info("delivered", **facts, reply=str(reply))
            case Deferred(reply=reply, reason=reason):
                self._sink.info(
                    "deferred",
                    **facts,
                    reply=str(reply),
                    reason=reason.value,
                    bounce_class=bounce_class,
                    next_attempt=next_attempt,
                )
            case Failed(reply=reply, reason=reason):
                self._sink.info(
                    "failed",
                    **facts,
                    reply=str(reply),
                    reason=reason.value,
                    bounce_class=bounce_class,
                )
            case Held(reason=reason, explanation=explanation):
                self._sink.warning(
                    "held", **facts, reason=reason.value, explanation=explanation
                )

    def gate_closed(self, scope: str, subject: str, explanation: str) -> None:
        """A domain's or tenant's mail waits from now on."""
        self._sink.warning(
            "gate_closed", scope=scope, subject=subject, explanation=explanation
        )

    def gate_opened(self, scope: str, subject: str) -> None:
        """What waited behind the gate is due."""
        self._sink.info("gate_opened", scope=scope, subject=subject)

    def domain_changed(
        self, domain: DnsName, domain_id: DomainId, change: str, explanation: str
    ) -> None:
        """What a sending domain may do has changed: verified, broken, mended."""
        self._sink.info(
            "domain_changed",
            domain=domain,
            domain_id=domain_id,
            change=change,
            explanation=explanation,
        )

    def domain_trouble(
        self, domain: DnsName, domain_id: DomainId, kind: str, moves: list[str]
    ) -> None:
        """A domain's owner has something to mend, or to explain."""
        self._sink.warning(
            "domain_trouble", domain=domain, domain_id=domain_id, kind=kind, moves=moves
        )

    def domain_mended(
        self, domain: DnsName, domain_id: DomainId, kind: str, moves: list[str]
    ) -> None:
        """What a domain can do was seen good for the first time, or again."""
        self._sink.info(
            "domain_mended", domain=domain, domain_id=domain_id, kind=kind, moves=moves
        )

    def domain_alarm(
        self, kind: str, domain: DnsName, detail: Mapping[str, object]
    ) -> None:
        """Reports of receivers show something wrong with a domain's mail."""
        self._sink.warning("domain_alarm", kind=kind, domain=domain, detail=detail)

    def name_dangling(
        self, domain: DnsName, domain_id: DomainId, *, record: str, target: DnsName
    ) -> None:
        """A released domain's name still leads to us."""
        self._sink.warning(
            "name_dangling",
            domain=domain,
            domain_id=domain_id,
            record=record,
            target=target,
        )

    def name_cleared(
        self, domain: DnsName, domain_id: DomainId, *, record: str, target: DnsName
    ) -> None:
        """It no longer does."""
        self._sink.info(
            "name_cleared",
            domain=domain,
            domain_id=domain_id,
            record=record,
            target=target,
        )

    def alert(
        self, kind: str, *, source: str, site: str, tenant: TenantId | None, reply: str
    ) -> None:
        """A source or a tenant cannot deliver somewhere, and somebody should look."""
        self._sink.warning(
            kind.replace("-", "_"), source=source, site=site, tenant=tenant, reply=reply
        )

    def lease_lost(self, number: int, epoch: int) -> None:
        """This worker was silent too long; what it had claimed is taken over."""
        self._sink.warning("lease_lost", worker=number, epoch=epoch)

    def store_trouble(self, cause: str) -> None:
        """The store did not do what was asked; clients are told to try again."""
        self._sink.warning("store_trouble", cause=cause)

    def corrupt(self, message_id: MessageId, cause: str) -> None:
        """A message cannot be read back as it was accepted; it is set aside, held."""
        self._sink.error("corrupt", message=str(message_id), cause=cause)

    def login_failed(self, *, client: str, user_name: str, cause: NoLogin) -> None:
        """Nobody is logged in; the client is not told the cause."""
        self._sink.warning(
            "login_failed", client=client, user_name=user_name, cause=cause.value
        )

    def proxy_refused(self, *, proxy: str, cause: str) -> None:
        """A proxy sent no good PROXY header: its connection was closed."""
        self._sink.warning("proxy_refused", proxy=proxy, cause=cause)

    def return_kept(self, *, door: str, address: str, size: int, client: str) -> None:
        """250 was answered to who brought something back: it is ours."""
        self._sink.info(
            "return_kept", door=door, address=address, size=size, client=client
        )

    def return_refused(self, reply: Reply, *, client: str) -> None:
        """An address, or what came to it, was refused by the return listener."""
        self._sink.info("return_refused", reply=str(reply), client=client)

    def return_read(
        self,
        returned_id: int,
        *,
        kind: str,
        message: MessageId | None,
        tenant: TenantId | None,
        recipient: str,
        bounce_class: str,
    ) -> None:
        """It is known what a return is, and noted; "" and None where that says nothing."""
        self._sink.info(
            "return_read",
            returned=returned_id,
            kind=kind,
            message=None if message is None else str(message),
            tenant=tenant,
            recipient=recipient,
            bounce_class=bounce_class,
        )

    def tls_report(
        self,
        returned_id: int,
        *,
        reporter: str,
        proved_by: str,
        host: str,
        passed_over: str,
    ) -> None:
        """What a TLS report says of a bounce host was added up; or why it was not."""
        self._sink.info(
            "tls_report",
            returned=returned_id,
            reporter=reporter,
            proved_by=proved_by,
            host=host,
            passed_over=passed_over,
        )

    def tls_failing(
        self, host: str, *, result: str, sessions: int, reporter: str, mend: str
    ) -> None:
        """Mail to a bounce host could not come under TLS, by a fault that is ours."""
        self._sink.warning(
            "tls_failing",
            host=host,
            result=result,
            sessions=sessions,
            reporter=reporter,
            mend=mend,
        )

    def return_forwarded(
        self, returned_id: int, *, message: MessageId, tenant: TenantId, to: Mailbox
    ) -> None:
        """A return is in the queue as `message`, on its way home; "": the operator's."""
        self._sink.info(
            "return_forwarded",
            returned=returned_id,
            message=str(message),
            tenant=tenant,
            to=str(to),
        )

    def complaints_moved(
        self,
        scope: str,
        subject: str,
        *,
        tenant: TenantId | None,
        level: str,
        before: str,
        complaints: int,
        delivered: int,
    ) -> None:
        """How often mail is complained of came to another level: what is done changed."""
        self._sink.warning(
            "complaints_moved",
            scope=scope,
            subject=subject,
            tenant=tenant,
            level=level,
            before=before,
            complaints=complaints,
            delivered=delivered,
        )

    def reader_ended(self, returned_id: int, reads: int, cause: str) -> None:
        """A process that read a return ended over it; it is tried again, then kept as
        unrecognised."""
        self._sink.warning(
            "reader_ended", returned=returned_id, reads=reads, cause=cause
        )

    def internal_error(self, *, stage: str, error: BaseException) -> None:
        """An error of ours; the client was told nothing of it."""
        self._sink.error("internal_error", stage=stage, exc_info=error)
