"""What the sessions of one listener have in common."""

import socket
import ssl
from dataclasses import dataclass

from soboo_mta.submission.options import IpNetwork


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket, and how it is spoken on."""

    socket: socket.socket
    implicit_tls: bool = False
    """TLS begins with the connection (port 465)."""
    starttls: bool = True
    """STARTTLS is offered, where there is a certificate."""
    own_tls: ssl.SSLContext | None = None
    """Asks for client certificates. None: the server's is used, which does not."""
    chunking: bool = True
    """CHUNKING is offered (RFC 3030)."""
    proxies: tuple[IpNetwork, ...] = ()
    """Who connects from here begins with a PROXY header that names the real client."""
