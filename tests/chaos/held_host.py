"""A next hop that keeps the first transaction waiting at DATA until it is told to go on."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class HeldHost:
    """`ends`: per connection, in the order of connecting, what became of its DATA:
    "held", "asked" (354 was said), "dot" (the final dot came) or "gone" (it never did)."""

    ends: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection; for asyncio.start_server."""
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"220 held.test\r\n")
        while line := await reader.readline():
            word = line[:4].upper().rstrip()
            if word == b"DATA":
                await self._take(reader, writer)
            elif word == b"QUIT":
                return
            else:
                writer.write(b"250 2.0.0 Fine\r\n")

    async def _take(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        number = len(self.ends)
        self.ends.append("held")
        if number == 0:
            await self.go_on.wait()
        writer.write(b"354 Go ahead\r\n")
        self.ends[number] = "asked"
        try:
            await reader.readuntil(b"\r\n.\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            self.ends[number] = "gone"
            raise
        self.ends[number] = "dot"
        writer.write(b"250 2.0.0 Taken\r\n")
