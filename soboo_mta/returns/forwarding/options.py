"""What the settings decide about returns that go home. Sizes are octets."""

from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.returns.options import MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingOptions:
    """Who sends them home, how many, and how much of each."""

    host_name: Domain
    """Our name: the host that reports what was reported to it."""
    domain: Domain
    """The operator's own: they come from an address there, and it signs them."""
    desk: Mailbox | None = None
    """Where mail for postmaster and abuse goes; None: it is only kept."""
    warn_of_delay: bool = False
    """Whether senders that asked for nothing are told of a delay."""
    per_recipient: int = 10
    """Returns about one recipient of one message that go home."""
    per_hour: int = 1_000
    """Of one tenant, by the hours of the clock."""
    max_attached: int = 256 * 1024
    """Of a return that goes as a part; of a larger one the header goes."""
    max_answer: int = 10 * MEBIBYTE
    """Of an answer that goes whole."""
    lifetime: timedelta = timedelta(days=5)
    """How long its delivery is tried."""
