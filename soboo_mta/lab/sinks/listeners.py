"""The sinks' sockets: one SMTP server an address, all at one port, and their end."""

import asyncio
import socket
from pathlib import Path

from soboo_mta.lab.binding import bound
from soboo_mta.lab.rules.behaviour import Behaviour
from soboo_mta.lab.sinks.certificates import Certificates
from soboo_mta.lab.sinks.dialogue import SinkDialogue
from soboo_mta.lab.sinks.options import Note, SinkOptions, Take
from soboo_mta.lab.sinks.session import SinkSession

_PORT_TRIES = 20  # port 0: the other addresses may have the first one's port taken
_BACKLOG = 1_024


class Sinks:
    """SMTP servers on all addresses at one port; `port` is the bound one once started.

    `tls_directory` is where the authority of the sinks' certificates is written.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        options: SinkOptions,
        tls_directory: Path,
        take: Take,
        note: Note,
    ) -> None:
        self.port = options.port
        self.certificates: Certificates | None = None
        self._behaviour = behaviour
        self._options = options
        self._tls_directory = tls_directory
        self._take = take
        self._note = note
        self._servers: list[asyncio.Server] = []
        self._dialogues: set[SinkSession] = set()

    async def start(self) -> None:
        """Bind every address; raises OSError where one is taken or not there."""
        loop = asyncio.get_running_loop()
        if self._options.certificates:
            self.certificates = Certificates(
                self._tls_directory,
                hostname=self._options.hostname,
                addresses=self._options.addresses,
            )
        sockets = _bound_all(self._options.addresses, self._options.port)
        self.port = sockets[0].getsockname()[1]
        for address, listening in zip(self._options.addresses, sockets, strict=True):
            server = await loop.create_server(
                lambda host=address: self._dialogue(host),  # type: ignore[misc]  # a default binds it now
                sock=listening,
                backlog=_BACKLOG,
            )
            self._servers.append(server)

    async def close(self) -> None:
        """Stop listening and cut every connection; what was taken stays taken."""
        for server in self._servers:
            server.close()
        self.cut()
        await asyncio.gather(
            *(dialogue.ended() for dialogue in list(self._dialogues)),
            return_exceptions=True,
        )
        for server in self._servers:
            await server.wait_closed()

    def cut(self) -> int:
        """End every connection there is, without a word; return how many."""
        dialogues = list(self._dialogues)
        for dialogue in dialogues:
            dialogue.cut()
        return len(dialogues)

    def _dialogue(self, host: str) -> SinkDialogue:
        return SinkDialogue(
            host=host,
            behaviour=self._behaviour,
            options=self._options,
            certificates=self.certificates,
            take=self._take,
            note=self._note,
            open_dialogues=self._dialogues,
        )


def _bound_all(addresses: tuple[str, ...], port: int) -> list[socket.socket]:
    """Return one socket per address, all at the same port."""
    for left in range(_PORT_TRIES if port == 0 else 1, 0, -1):
        made: list[socket.socket] = []
        try:
            for address in addresses:
                wanted = made[0].getsockname()[1] if made else port
                made.append(bound(address, wanted, socket.SOCK_STREAM, "a sink"))
        except OSError:
            for each in made:
                each.close()
            if left == 1:
                raise
        else:
            return made
    raise OSError("no port")  # not reached: the last try raises
