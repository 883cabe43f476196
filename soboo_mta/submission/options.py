"""What the settings decide about submission: policy, then the bounds of its doors.

Sizes are octets. A bound that is reached answers 421, 451 or 452 and loses nothing.
"""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

from soboo_mta.mail.domain import Domain

IpNetwork = IPv4Network | IPv6Network
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceOptions:
    """What is accepted, and how it is kept."""

    host_name: Domain
    """Our name in the banner, in EHLO and in the Received field."""
    trusted_networks: tuple[IpNetwork, ...] = ()
    """Clients that send without AUTH for whichever tenant owns the From domain."""
    max_message_octets: int = 25 * MEBIBYTE
    """The SIZE announced (RFC 1870), and the bound at the final dot."""
    max_recipients: int = 1_000
    """Of one message; at least 100 (RFC 5321 §4.5.3.1.8). More get 452."""
    max_hops: int = 50
    """Received fields a message may bring before it counts as a loop."""
    mend_line_ends: bool = False
    """True: a bare CR or LF becomes CRLF. False: such a message is refused."""
    lifetime: timedelta = timedelta(days=5)
    """How long delivery is tried, counted from acceptance (RFC 5321 §4.5.4.1)."""
    longest_hold: timedelta = timedelta(days=30)
    """How far ahead a release may be asked for (RFC 4865); zero: FUTURERELEASE is not
    offered."""
    thread_over_octets: int = MEBIBYTE
    """Messages over this size are prepared in a thread, so that others do not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """Bounds on clients. Time-outs on waiting close the connection with 421."""

    max_connections: int = 1_000
    """Open at a time in this process, over all listeners, TLS handshakes included."""
    max_connections_per_address: int = 100
    """From one client: an IPv4 address or an IPv6 /64."""
    max_connections_per_credential: int = 100
    """Open at a time in this process that logged in with one credential."""
    connections_per_minute_per_address: int | None = None
    """New ones of a client, over all workers of this host. None: any number."""
    messages_per_minute_per_address: int | None = None
    """Of a client over all its connections and all workers. None: any number."""
    messages_per_minute_per_credential: int | None = None
    """With one credential, wherever from. None: any number."""
    recipients_per_minute_per_address: int | None = None
    """Of a client, over all messages. None: any number."""
    recipients_per_minute_per_credential: int | None = None
    """With one credential, over all messages. None: any number."""
    max_errors: int = 10
    """Commands of a connection answered with a syntax or sequence error."""
    max_idle_commands: int = 100
    """NOOP, RSET, VRFY, EHLO and HELP between two messages of a connection."""
    max_failed_logins: int = 3
    """Wrong passwords on one connection."""
    max_failed_logins_per_address: int = 20
    """Within the window below, from one client over all connections."""
    max_failed_logins_per_user: int = 50
    """Within the window, for one user name from clients that never logged in as it."""
    failed_login_window: timedelta = timedelta(minutes=10)
    """How long a wrong password counts."""
    failed_login_delay: timedelta = timedelta(seconds=1)
    """Before a wrong password is answered."""
    clear_login_on_loopback: bool = True
    """AUTH without TLS from 127.0.0.0/8 and ::1. It is never allowed from elsewhere."""
    handshake_timeout: timedelta = timedelta(seconds=30)
    """For the whole TLS handshake."""
    login_timeout: timedelta = timedelta(minutes=2)
    """For a client from its connection until it may send: greeting, TLS, AUTH."""
    command_timeout: timedelta = timedelta(minutes=5)
    """For one whole command line, not for each octet (RFC 5321 §4.5.3.2.7)."""
    data_block_timeout: timedelta = timedelta(minutes=3)
    """Between two reads inside a message (RFC 5321 §4.5.3.2.5)."""
    data_grace: timedelta = timedelta(minutes=1)
    """How long a message may come slower than the rate below, at its beginning."""
    min_data_rate: int = 500
    """Octets a second of a message, on average, once the grace is over; at least 1."""
    max_buffered_octets: int = 512 * MEBIBYTE
    """Message octets held by all connections that send a message or wait for its 250."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Bounds of one process's HTTP server. Clients are counted as on all doors."""

    connections: int = 200
    """Open at a time, where no count is shared with other doors; over it 503."""
    idle: timedelta = timedelta(seconds=15)
    """For a kept connection without a request."""
    head: timedelta = timedelta(seconds=15)
    """For the head of a request, whole."""
    head_octets: int = 65_536
    """Of the head of a request."""
    request_octets: int = MEBIBYTE
    """Of a request with its framing: a client that goes on is cut off."""
    handshake: timedelta = timedelta(seconds=30)
    """For the whole TLS handshake."""
    grace: timedelta = timedelta(seconds=10)
    """For requests under way at the stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectOptions:
    """Bounds of mail over HTTP, beside those that it shares with the listener."""

    max_body_octets: int = 50 * MEBIBYTE
    """Of a JSON request; a raw message has `max_message_octets`."""
    max_batch: int = 100
    """Messages in one request."""
