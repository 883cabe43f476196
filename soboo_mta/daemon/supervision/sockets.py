"""The listening sockets of a relay: bound once, handed over to the next run, shared by
all workers. Named in words, by where they are bound."""

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from soboo_mta.daemon.web import HttpSocket
from soboo_mta.net.door import bind
from soboo_mta.net.smtp_server import Listener
from soboo_mta.ports import IpAddress
from soboo_mta.settings import Settings
from soboo_mta.settings.sections import ListenerTls


class CannotBind(Exception):
    """An address that is taken, or not this host's; the text names its section."""


def bound(settings: Settings, kept: Mapping[str, int]) -> dict[str, socket.socket]:
    """Take on what is bound already, bind the rest; raises CannotBind.

    The kernel closes what is left over with the last old worker.
    """
    sockets: dict[str, socket.socket] = {}
    for section, name, address, port in _wanted(settings):
        try:
            if name in kept:
                sockets[name] = socket.socket(fileno=kept[name])
                sockets[name].set_inheritable(False)
            else:
                sockets[name] = bind(str(address), port)
        except OSError as error:
            raise CannotBind(f"{section} {name}: {error.strerror}") from error
    for name, descriptor in kept.items():
        if " port " in name and name not in sockets:
            os.close(descriptor)
    return sockets


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Copies for the workers and control: they close theirs at their end, the supervisor's
    outlive them."""

    listeners: tuple[Listener, ...]
    http: tuple[HttpSocket, ...]
    returns: tuple[Listener, ...]
    monitoring: socket.socket | None

    @classmethod
    def copied(cls, settings: Settings, sockets: Mapping[str, socket.socket]) -> Self:
        monitoring = settings.monitoring
        return cls(
            listeners=tuple(
                Listener(
                    sockets[_name(one.address, one.port)].dup(),
                    implicit_tls=one.tls is ListenerTls.IMPLICIT,
                    starttls=one.tls is ListenerTls.STARTTLS,
                    chunking=one.chunking,
                    proxies=one.proxies,
                )
                for one in settings.listeners
            ),
            http=tuple(
                HttpSocket(sockets[_name(one.address, one.port)].dup(), one.tls)
                for one in settings.http_listeners
            ),
            returns=tuple(
                Listener(
                    sockets[_name(one.address, one.port)].dup(),
                    starttls=one.tls is ListenerTls.STARTTLS,
                    proxies=one.proxies,
                )
                for one in settings.return_listeners
            ),
            monitoring=None
            if monitoring.port is None
            else sockets[_name(monitoring.address, monitoring.port)].dup(),
        )


def _wanted(settings: Settings) -> Iterator[tuple[str, str, IpAddress, int]]:
    """Section, name, address and port of each."""
    for one in settings.listeners:
        yield "[[listeners]]", _name(one.address, one.port), one.address, one.port
    for other in settings.http_listeners:
        name = _name(other.address, other.port)
        yield "[[http_listeners]]", name, other.address, other.port
    for returning in settings.return_listeners:
        name = _name(returning.address, returning.port)
        yield "[[return_listeners]]", name, returning.address, returning.port
    last = settings.monitoring
    if last.port is not None:
        yield "[monitoring]", _name(last.address, last.port), last.address, last.port


def _name(address: IpAddress, port: int) -> str:
    return f"{address} port {port}"
