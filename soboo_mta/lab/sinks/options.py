"""How the sinks are set up, and a message as they hand it over."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from soboo_mta.lab.rules.behaviour import Decision
from soboo_mta.lab.rules.rule import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOptions:
    """`addresses` all listen at one `port`, 0 for a free one; each is a host to rules.

    STARTTLS is offered where `certificates` is set, with one of the lab's own authority
    for whatever name the client asks; or with the one in `tls`, which cannot be made bad.
    """

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    hostname: str = "sink.lab.test"
    largest: int = 64 * 1024 * 1024  # octets of one message
    tls: ssl.SSLContext | None = None
    certificates: bool = False
    any_login: bool = False  # AUTH is offered, and every password is right


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message as it came, dots unstuffed; `mail_from` is "" for the null one.

    `login` is the user name given to AUTH, "" without.
    """

    peer: str
    sink: str
    helo: str
    tls: bool
    login: str
    mail_from: str
    rcpt_to: tuple[str, ...]
    octets: bytes


Take = Callable[[Delivery], Awaitable[None]]
"""Takes responsibility for a message; an OSError is answered 452."""
Note = Callable[[Moment, Decision], None]
"""Told of every moment that was not simply accepted."""
