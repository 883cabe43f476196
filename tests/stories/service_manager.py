"""What a service manager hears: the datagrams of sd_notify, in their order."""

import socket
from pathlib import Path

from soboo_mta.cli.trial.world import World


class ServiceManager:
    """`environment` is what it gives to the service; `heard` the states told so far."""

    def __init__(self, directory: Path) -> None:
        path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        while True:
            try:
                text = self._socket.recv(4_096).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append(text.partition("=")[0])

    async def hears(self, place: World, *states: str, seconds: float = 60) -> None:
        """Wait until these, and no others, were told so far."""

        async def is_told() -> bool:
            return self.heard == list(states)

        await place.until(f"{states} was told, not {self.heard}", is_told, seconds)

    def close(self) -> None:
        self._socket.close()
