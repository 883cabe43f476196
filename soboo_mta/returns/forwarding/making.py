"""The message in which a return goes home: pure, from values to a message of the spool.

A report is told in our own words and form, so that whoever reads our reports reads these,
with the report itself as its third part. An answer goes as it was written, from the
operator's address; where its header leaves doubt, and where nobody knows what it is, it is
attached to a few words. Only a person's answer may be answered by a program: it alone has a
reverse-path, at the operator's bounce host, and what comes back for that ends there.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.formats.dsn.report import SENDER, Original, Report, rendered
from soboo_mta.formats.dsn.status import RecipientStatus
from soboo_mta.formats.forwarded.answer import answer
from soboo_mta.formats.forwarded.attached import attached
from soboo_mta.formats.forwarded.frame import Frame, has_mark
from soboo_mta.formats.forwarded.wrapped import wrapped
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.address import NULL_REVERSE_PATH, Mailbox, ReversePath
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import OPERATOR_LANE, DomainId, report_lane
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.returned import (
    Action,
    AutoReply,
    Dsn,
    HumanReply,
    Reported,
    Return,
    Unrecognised,
)
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.returns.forwarding.options import ForwardingOptions
from soboo_mta.returns.verdict import the_worst, verdict
from soboo_mta.spool.returned.forwarding import ClaimedForward, Submitted
from soboo_mta.spool.returned.settling import About

LOOPS: Final = "it was sent home before: it loops"
_REPLY: Final = re.compile(r"([245]\d\d)[ -](.*)", re.DOTALL)
_CODES: Final = {Action.FAILED: 550, Action.DELAYED: 450}


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a forward is made from. `whom` and `sent` None: it is about no message."""

    claimed: ClaimedForward
    to: Mailbox
    found: Return
    content: bytes
    from_null: bool  # it came with a null reverse-path
    received_at: int  # unix ms
    whom: About | None
    sent: Submitted | None


class Making:
    """See the module."""

    def __init__(self, *, rules: RuleSet, options: ForwardingOptions) -> None:
        self._rules = rules
        self._options = options

    @property
    def desk(self) -> Mailbox | None:
        return self._options.desk

    def loops(self, material: Material) -> bool:
        """Whether what came back was sent home by us before."""
        return has_mark(material.content, self._options.domain)

    def message(self, material: Material, *, now: int) -> SpooledMessage:
        """Return the message, ready to be kept. `now` is unix ms."""
        frame = self._frame(material, now)
        is_report = isinstance(material.found, Dsn) and material.sent is not None
        if is_report:
            author = Mailbox(SENDER, self._options.domain)
            content = self._report(material, frame, author)
        else:
            author = frame.sender
            content = self._answer(material, frame)
        life = self._options.lifetime // timedelta(milliseconds=1)
        claimed = material.claimed
        return SpooledMessage(
            message_id=frame.forward_id,
            tenant=claimed.whose.tenant,
            domain_id=_lane(material.whom),
            credential=None,
            reverse_path=NULL_REVERSE_PATH
            if frame.is_automatic
            else ReversePath(frame.sender),
            author=author,
            recipients=(material.to,),
            header_message_id=frame.header_message_id,
            client="",
            eight_bit=not content.isascii(),
            smtputf8=not material.to.is_ascii,
            body_hash=body_hash(HeaderBlock.parse(content).body),
            accepted_at=now,
            expires_at=now + life,
            content=content,
        )

    def _frame(self, material: Material, now: int) -> Frame:
        found = material.found
        if material.whom is None:  # for the operator's desk
            is_automatic = material.from_null or isinstance(found, AutoReply)
        else:
            is_automatic = not isinstance(found, HumanReply)
        return Frame(
            forward_id=material.claimed.forward_id,
            domain=self._options.domain,
            to=material.to,
            made_at=_moment(now),
            is_automatic=is_automatic,
        )

    # ---- an answer

    def _answer(self, material: Material, frame: Frame) -> bytes:
        options = self._options
        is_unknown = (
            isinstance(material.found, Unrecognised) and material.whom is not None
        )
        if not is_unknown and len(material.content) <= options.max_answer:
            with suppress(FormatError):  # attached, then
                return answer(material.content, frame)
        return wrapped(
            material.content, _words(material), frame, limit=options.max_attached
        )

    # ---- a report

    def _report(self, material: Material, frame: Frame, sender: Mailbox) -> bytes:
        sent, options = material.sent, self._options
        assert sent is not None
        assert isinstance(material.found, Dsn)
        report = Report(
            report_id=frame.forward_id,
            reporting_mta=options.host_name,
            sender=sender,
            to=frame.to,
            made_at=frame.made_at,
            original=Original(
                content=b"",
                header_message_id=sent.header_message_id,
                envelope_id=sent.envelope_id,
                returned=None,
                author_domain=sent.author.domain,
                arrived_at=_moment(sent.accepted_at),
            ),
            statuses=[self._status(material, material.found, sent)],
            max_returned=0,
            third_part=attached(material.content, limit=options.max_attached),
            fields=(frame.mark,),
        )
        return rendered(report)

    def _status(
        self, material: Material, found: Dsn, sent: Submitted
    ) -> RecipientStatus:
        """The recipient as its sender knows it; all else as the report has it."""
        told = the_worst(found, material.whom)
        said = verdict(found, material.whom, self._rules)
        host = material.whom.host.partition("[")[0] if material.whom else ""
        return RecipientStatus(
            recipient=sent.recipient,
            original=sent.asked.orcpt,
            action=told.action,
            reason=Reason.REPLY,
            reply=_reply(told, said.text),
            remote_mta=told.remote_mta or found.reporting_mta or host,
            last_attempt=_moment(material.received_at),
            retry_until=told.retry_until,
            meaning=said.classified.facts.says if said.classified else "",
        )


def _reply(told: Reported, text: str) -> Reply:
    """What the host said, as a reply; its code is the action's where none stands there."""
    found = _REPLY.match(text)
    if found:
        reply = Reply.received(int(found[1]), found[2])
    else:
        reply = Reply.received(_CODES.get(told.action, 250), text)
    return reply if reply.status else Reply(reply.code, told.status, reply.text)


def _lane(whom: About | None) -> DomainId:
    return OPERATOR_LANE if whom is None else report_lane(whom.domain_id)


def _words(material: Material) -> str:
    """What is said of a return that is attached."""
    size = f"It has {len(material.content)} octets, and is attached"
    if material.sent is None:
        about = "This came for an address that you answer for."
    else:
        sent = material.sent
        about = (
            f"This came back for your message {sent.header_message_id} to"
            f" <{sent.recipient}>. What it is is for you to see."
        )
    lines = f"{about}\n{size}, or its header is where it is too large."
    return lines.encode("ascii", "replace").decode()


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms // 1_000, UTC)
