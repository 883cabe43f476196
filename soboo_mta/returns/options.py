"""What the settings decide about returns. Sizes are octets."""

from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionOptions:
    """What the return listener takes."""

    host_name: Domain
    """Our name in the banner and in EHLO."""
    own_domains: frozenset[Domain]
    """Domains of the operator's that have a postmaster and an abuse desk here."""
    feedback: frozenset[Mailbox] = frozenset()
    """Addresses registered for feedback reports."""
    dmarc_reports: frozenset[Mailbox] = frozenset()
    tls_reports: frozenset[Mailbox] = frozenset()
    max_message_octets: int = 50 * MEBIBYTE
    """The SIZE announced: a bounce may bring a whole message back."""
    max_recipients: int = 100
    """Of one transaction (RFC 5321 §4.5.3.1.8); more get 452."""
    max_refused: int = 20
    """Recipients of one transaction that are refused; then the client is cut off."""
    max_hops: int = 50
    """Received fields that a return may bring before it counts as a loop."""
    thread_over_octets: int = MEBIBYTE
    """Returns over this size are prepared in a thread, so that others do not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderLimits:
    """What one return may cost the process that reads it; over any of them it ends."""

    seconds: timedelta = timedelta(seconds=20)
    """On the clock, from asking to the answer."""
    cpu_seconds: int = 10
    memory_octets: int = 768 * MEBIBYTE
    """Address space of the process, the program itself included."""
    answer_octets: int = MEBIBYTE
    """Of what it says the return is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How kept returns are read."""

    readers: int = 1
    """Processes that read."""
    settled_together: int = 8
    """Returns of one transaction: a 250 may have to wait for it. A DMARC report has one
    of its own."""
    octets_at_once: int = 8 * MEBIBYTE
    """Of their contents in memory; a larger one is read alone."""
    claim: timedelta = timedelta(seconds=30)
    """A return that was claimed and not settled for so long is anybody's."""
    tries: int = 3
    """Readers that may end over one return before it is kept as unrecognised."""
    poll: timedelta = timedelta(seconds=1)
    """How often the store is asked where nothing was received here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlingOptions:
    """Who is believed."""

    host_name: Domain
    """Our name in Authentication-Results (RFC 8601 §2.5)."""
    bounce_domain: Domain
    """The operator's own bounce host: reports on it count too."""
    reporters: frozenset[Domain] = frozenset()
    """Domains whose complaints count where their mail is proved to be theirs, though they
    know a message by its Message-ID alone."""
