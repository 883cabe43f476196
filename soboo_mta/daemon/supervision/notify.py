"""Tells the service manager how the relay is: sd_notify(3), a datagram and no library."""

import os
import socket
import time

import structlog

_log = structlog.get_logger(__name__)


def tell_ready() -> None:
    """All processes work; also the end of a reload."""
    _tell("READY=1", "STATUS=takes mail")


def tell_reloading() -> None:
    """A reload began: the manager waits for `tell_ready` (its own clock named, as
    Type=notify-reload wants)."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    _tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=replaces its processes")


def tell_stopping() -> None:
    """The end has begun."""
    _tell("STOPPING=1", "STATUS=finishes what is under way")


def _tell(*facts: str) -> None:
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    address = "\0" + place[1:] if place.startswith("@") else place  # abstract
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto("\n".join(facts).encode(), address)
    except OSError as error:
        _log.warning("service_manager_not_told", facts=facts, cause=str(error))
