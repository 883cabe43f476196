"""A request's body, read within bounds: its size, its pace, the memory of all of them.

The bounds of DATA hold here too. A body that announces too many octets is refused before
a single one is read.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from soboo_mta.mail.errors import Reject
from soboo_mta.net.smtp_server.limits.admission import Admission
from soboo_mta.net.smtp_server.limits.pace import Pace
from soboo_mta.submission import replies
from soboo_mta.submission.options import ListenerOptions


@asynccontextmanager
async def body_of(
    request: Request, *, limit: int, options: ListenerOptions, admission: Admission
) -> AsyncIterator[bytes]:
    """The whole body, counted among the octets in memory until the block ends.

    Raises Reject where it is over `limit` octets, too slow, or one too many.
    """
    if _announced(request) > limit:
        raise Reject(replies.too_large(limit))
    octets = bytearray()
    held = 0
    try:
        async for chunk in _paced(request, options):
            octets += chunk
            if len(octets) > limit:
                raise Reject(replies.too_large(limit))
            held += len(chunk)
            if not admission.hold(len(chunk)):
                raise Reject(replies.BUSY)
        yield bytes(octets)
    finally:
        admission.hold(-held)


def _announced(request: Request) -> int:
    """Content-Length; the parser let nothing but digits through."""
    return int(request.headers.get("content-length", "0"))


async def _paced(request: Request, options: ListenerOptions) -> AsyncIterator[bytes]:
    """The body's parts, at the pace that a message keeps in DATA."""
    now = asyncio.get_running_loop().time
    pace = Pace(options, now())
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout_at(pace.deadline(now())):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Reject(replies.TOO_SLOW) from error
        pace.count(len(chunk), now())
        yield chunk
