"""The fields by which complaints about a message find home.

`Feedback-ID` is what Gmail adds its complaint rates up by: stream, domain and tenant, then
who sends, and nothing of one message or person. `CFBL-Address` tells any provider where its
reports go, `CFBL-Feedback-ID` what they are about (RFC 9477 §3): a signed reverse-path for
the message as a whole. An address that is not the Author's domain's counts where the
operator's domain has signed as well (RFC 9477 §3.1.4): only then it is given.
"""

from dataclasses import dataclass

from soboo_mta.formats.verp import WHOLE_MESSAGE, VerpSigner
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackOptions:
    """`sender` names the operator in Feedback-ID, "" writes none; `address` takes reports,
    None: no CFBL-Address. `life_ms`: how long a report may take after the message's
    lifetime."""

    sender: str = ""
    address: Mailbox | None = None
    life_ms: int = 0


class Feedback:
    """Writes the fields; `bounce_domain` is the operator's."""

    def __init__(
        self, *, verp: VerpSigner, bounce_domain: Domain, options: FeedbackOptions
    ) -> None:
        self._verp = verp
        self._bounce_domain = bounce_domain
        self._options = options

    def fields(
        self,
        message_id: MessageId,
        domain: DomainSettings,
        stream: Stream,
        expires_at: int,
    ) -> tuple[tuple[str, str], ...]:
        """Return names and values, for a message that expires at so many unix ms."""
        options = self._options
        found = []
        if options.sender:
            # Words of one field must not meet those of another: each says what it is.
            parts = (f"s-{stream or 'mail'}", f"d-{domain.domain_id}")
            whose = (f"t-{domain.tenant}", options.sender)
            found.append(("Feedback-ID", ":".join((*parts, *whose))))
        if options.address is not None and domain.sign_with_operator:
            token = self._verp.address(
                message_id,
                WHOLE_MESSAGE,
                expires_at + options.life_ms,
                self._bounce_domain,
            )
            found.append(("CFBL-Address", f"{options.address}; report=arf"))
            found.append(("CFBL-Feedback-ID", str(token)))
        return tuple(found)
