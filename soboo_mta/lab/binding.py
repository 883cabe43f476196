"""Sockets for the lab's servers; where an address is taken, whose it would have been."""

import socket


class CannotBind(OSError):
    """An address that cannot be had; the text says for what, which, and why."""

    def __str__(self) -> str:
        return str(self.args[1])


def bound(address: str, port: int, kind: socket.SocketKind, what: str) -> socket.socket:
    """Return a socket bound to one address; raises CannotBind, which names `what`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    is_tcp = kind == socket.SOCK_STREAM
    # The protocol is named: asyncio sets TCP_NODELAY only on sockets that say TCP.
    made = socket.socket(family, kind, socket.IPPROTO_TCP if is_tcp else 0)
    try:
        if is_tcp:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if is_tcp:
            made.listen()  # two may bind, one may listen: a taken port shows here
    except OSError as trouble:
        made.close()
        transport = "TCP" if is_tcp else "UDP"
        raise CannotBind(
            trouble.errno,
            f"{what} at {address}, {transport} port {port}: {trouble.strerror}",
        ) from trouble
    return made
