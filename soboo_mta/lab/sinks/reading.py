"""Reading a message off a connection: to the final dot, or a chunk of known size.

Bounded in memory: what is over the limit is read and forgotten, so that the dialogue can
go on after the refusal (RFC 5321 §4.5.3.1.9). Can read slowly, as a busy host does.
"""

import asyncio
from collections.abc import Callable

_CHUNK = 65_536  # octets read at once
_END = b"\r\n.\r\n"
_SIPS = 10  # a second, where reading is slow


class OverLimit(Exception):
    """A chunk that would make the message too big; its octets have been read."""


async def read_to_the_dot(
    reader: asyncio.StreamReader,
    *,
    limit: int,
    alive: Callable[[], None],
    octets_per_second: int = 0,
) -> bytes | None:
    """Return the dot-stuffed octets, or None where they were over the limit.

    `alive` is called at each piece. What follows the dot stays in the reader.
    """
    held = bytearray(b"\r\n")  # so that a dot on the first line is one
    looked = 0
    is_over = False
    while (end := held.find(_END, looked)) < 0:
        if len(held) > limit:
            is_over = True
            del held[: -len(_END)]
        looked = max(0, len(held) - len(_END) + 1)
        alive()
        held += await _sip(reader, octets_per_second)
    rest = held[end + len(_END) :]
    if rest:  # the commands that came in the same packet
        reader._buffer[:0] = rest  # type: ignore[attr-defined]  # no public way back
    return None if is_over else bytes(held[2 : end + 2])


async def read_chunk(
    reader: asyncio.StreamReader,
    size: int,
    *,
    room: int,
    alive: Callable[[], None],
) -> bytes:
    """Return exactly `size` octets; raises OverLimit, once they are read, over `room`."""
    held = bytearray()
    left = size
    while left:
        alive()
        piece = await reader.read(min(left, _CHUNK))
        if not piece:
            raise asyncio.CancelledError  # end of file: the library ends the task too
        left -= len(piece)
        if size <= room:
            held += piece
    if size > room:
        raise OverLimit
    return bytes(held)


async def _sip(reader: asyncio.StreamReader, octets_per_second: int) -> bytes:
    if octets_per_second:
        await asyncio.sleep(1 / _SIPS)
    piece = await reader.read(_size(octets_per_second))
    if not piece:
        raise asyncio.CancelledError  # end of file: the library ends the task too
    return piece


def _size(octets_per_second: int) -> int:
    return max(1, octets_per_second // _SIPS) if octets_per_second else _CHUNK
