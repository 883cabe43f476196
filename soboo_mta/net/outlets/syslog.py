"""Syslog messages (RFC 5424) to a local socket, by UDP (RFC 5426) or TCP (RFC 6587 §3.4.1).

Syslog has no answer: what the other side's host took counts as told.
"""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final, Self

from soboo_mta.events.outbox.form import ToldEvent, rfc3339
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import IpAddress

_MAIL_INFO: Final = 2 * 8 + 6  # facility mail, severity informational
_TIMEOUT: Final = 10.0  # seconds
_NETWORK = re.compile(r"(udp|tcp):(?:\[([^]]+)\]|([\d.]+)):(\d{1,5})")


class Transport(StrEnum):
    """How messages travel."""

    LOCAL = "local"
    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class SyslogTarget:
    """Where messages go: a local socket's path, or an address and port."""

    transport: Transport
    path: str = ""
    address: IpAddress | None = None
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the target written as `/dev/log`, `udp:192.0.2.1:514` or `tcp:[…]:601`."""
        if text.startswith("/"):
            return cls(Transport.LOCAL, path=text)
        found = _NETWORK.fullmatch(text)
        if found is None or not 0 < int(found[4]) < 65_536:
            raise FormatError(
                f'{text[:60]!r} is no place of syslog: write "/dev/log",'
                ' "udp:192.0.2.1:514" or "tcp:192.0.2.1:601"'
            )
        try:
            address = ip_address(found[2] or found[3])
        except ValueError as error:
            raise FormatError(f"{found[2] or found[3]!r} is no IP address") from error
        return cls(Transport(found[1]), address=address, port=int(found[4]))

    @property
    def place(self) -> str | tuple[str, int]:
        """As a socket connects to it."""
        return self.path if self.address is None else (str(self.address), self.port)

    def __str__(self) -> str:
        if self.address is None:
            return self.path
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.transport}:{host}:{self.port}"


class Syslog:
    """Sends events as syslog messages; connects when it has something to say."""

    name = "syslog"

    def __init__(self, target: SyslogTarget, *, host_name: DnsName) -> None:
        self._target = target
        self._host = host_name
        self._socket: socket.socket | None = None

    def write(self, events: Sequence[ToldEvent]) -> None:
        """Return when all was handed over; raise OSError where that cannot be."""
        try:
            open_socket = self._connected()
            for one in events:
                message = syslog_message(one, self._host)
                if self._target.transport is Transport.TCP:
                    message = b"%d %s" % (len(message), message)
                open_socket.sendall(message)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is not None and self._has_ended(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._open()
        return self._socket

    def _has_ended(self, open_socket: socket.socket) -> bool:
        """Whether the other side has closed: else the first message would be lost."""
        if self._target.transport is not Transport.TCP:
            return False
        try:
            return not open_socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False

    def _open(self) -> socket.socket:
        target = self._target
        kind = (
            socket.SOCK_STREAM
            if target.transport is Transport.TCP
            else socket.SOCK_DGRAM
        )
        family, place = socket.AF_UNIX, target.place
        if target.address is not None:
            is_v6 = target.address.version == 6
            family = socket.AF_INET6 if is_v6 else socket.AF_INET
        made = socket.socket(family, kind)
        made.settimeout(_TIMEOUT)
        try:
            made.connect(place)
        except OSError:
            made.close()
            raise
        return made


def syslog_message(event: ToldEvent, host_name: DnsName) -> bytes:
    """Return an event as RFC 5424 §6 has it; MSGID is its type, MSG its JSON in ASCII."""
    head = (
        f"<{_MAIL_INFO}>1 {rfc3339(event.at)} {host_name} soboo-mta - {event.type[:32]}"
    )
    return f"{head} - {event.text()}".encode("ascii")
