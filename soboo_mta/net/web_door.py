"""Whether one of our own link or image hosts answers HTTP (ports.WebDoor)."""

import asyncio
from datetime import timedelta
from typing import Final

from soboo_mta.mail.domain import DnsName
from soboo_mta.net.knock import knock
from soboo_mta.ports import Found, IpAddress, MxRecord, RecordType, Resolver

_WITHIN: Final = timedelta(seconds=5)
_HTTP: Final = 80


class HttpDoor:
    """Knocks at port 80: its certificate may not be there before the customer's name is."""

    def __init__(
        self, *, resolver: Resolver, port: int = _HTTP, within: timedelta = _WITHIN
    ) -> None:
        """`within` bounds all of one answer, the names looked up included."""
        self._resolver = resolver
        self._port = port
        self._within = within

    async def answers(self, host: IpAddress | DnsName) -> bool:
        """As `WebDoor.answers`."""
        try:
            async with asyncio.timeout(self._within.total_seconds()):
                for address in await self._addresses(host):
                    if await self._answers_at(address, host):
                        return True
        except TimeoutError:
            return False
        return False

    async def _addresses(self, host: IpAddress | DnsName) -> list[IpAddress]:
        if not isinstance(host, DnsName):
            return [host]
        found: list[IpAddress] = []
        for kind in (RecordType.A, RecordType.AAAA):
            answer = await self._resolver.lookup(host, kind)
            if isinstance(answer, Found):
                found += [
                    r for r in answer.records if not isinstance(r, str | MxRecord)
                ]
        return found

    async def _answers_at(self, address: IpAddress, host: IpAddress | DnsName) -> bool:
        name = f"[{host}]" if ":" in str(host) else str(host)
        say = f"HEAD / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        said = await knock(
            address, self._port, tls=False, say=say.encode("ascii"), hear=b"HTTP/"
        )
        return not said
