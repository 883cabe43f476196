"""A client that says everything at once and reads what is answered."""

import asyncio
from collections.abc import Sequence


async def replies_to(port: int, commands: Sequence[bytes]) -> list[str]:
    """Say `commands` on one connection to 127.0.0.1; return the banner and each reply,
    the lines of one joined by newlines, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(command + b"\r\n" for command in commands))
    replies: list[str] = []
    lines: list[str] = []
    async with asyncio.timeout(60):
        while line := await reader.readline():
            lines.append(line.decode().rstrip("\r\n"))
            if line[3:4] != b"-":
                replies.append("\n".join(lines))
                lines = []
    writer.close()
    await writer.wait_closed()
    return replies
