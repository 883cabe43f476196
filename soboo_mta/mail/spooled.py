"""A message as the spool holds it: the content as it will leave, less identity."""

from dataclasses import dataclass

from soboo_mta.mail.address import Mailbox, ReversePath
from soboo_mta.mail.ids import (
    NO_STREAM,
    CredentialId,
    DomainId,
    MessageId,
    Stream,
    TenantId,
)
from soboo_mta.mail.notify import ASKED_NOTHING, Asked, DsnRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceKey:
    """A client's own name for what it submits: one message for each in a `scope`.

    `scope` is the tenant's id, "" for the operator's credentials; `digest` the SHA-256 of
    what was submitted, so that a key used for something else is told apart.
    """

    scope: str
    key: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledMessage:
    """One accepted message. `content` is CRLF-lined octets, header and body, ready to be
    signed; `body_hash` the SHA-256 of its relaxed canonical body (RFC 6376 §3.7);
    times are unix milliseconds."""

    message_id: MessageId
    tenant: TenantId
    domain_id: DomainId
    credential: CredentialId | None
    reverse_path: ReversePath  # as submitted
    author: Mailbox
    recipients: tuple[Mailbox, ...]  # by position
    header_message_id: str  # with its angle brackets
    client: str  # who submitted: address, for the operator's eyes alone
    eight_bit: bool
    smtputf8: bool
    body_hash: bytes
    accepted_at: int
    expires_at: int
    content: bytes
    stream: Stream = NO_STREAM  # as its tenant named it
    dsn: DsnRequest | None = None  # what its sender asked to be told
    once: OnceKey | None = None  # while it is accepted; not read back

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def is_report(self) -> bool:
        """Whether it is a delivery status notification of ours."""
        return self.domain_id < 0

    def asked(self, position: int) -> Asked:
        """What was asked about one recipient."""
        return ASKED_NOTHING if self.dsn is None else self.dsn.asked[position]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One recipient that this worker may try now. `attempts` were made before;
    `is_warned`: its sender was told of the delay; `had_turn`: its tenant's mail leaves
    slowly, and it waited for its turn; `waited_out`: it did, to the end of its life, and got
    none."""

    message: SpooledMessage
    position: int
    attempts: int
    is_warned: bool = False
    had_turn: bool = False
    waited_out: bool = False

    @property
    def recipient(self) -> Mailbox:
        return self.message.recipients[self.position]
