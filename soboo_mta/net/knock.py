"""Whether a listener of ours answers: connect, say something, hear the first octets.

That a connection is made proves nothing: the kernel makes it for a process that is stuck.
"""

import asyncio
import ssl

from soboo_mta.ports import IpAddress


async def knock(
    address: IpAddress, port: int, *, tls: bool, say: bytes, hear: bytes
) -> str:
    """Return "" where the answer begins with `hear`, else what happened instead.

    A listener on all addresses is asked on loopback. No time-out: that is the caller's.
    """
    if address.is_unspecified:
        host = "::1" if address.version == 6 else "127.0.0.1"
    else:
        host = str(address)
    try:
        reader, writer = await asyncio.open_connection(
            host, port, ssl=_anyone() if tls else None
        )
    except OSError as error:  # ssl.SSLError is one
        return f"no connection: {error.strerror or error}"
    try:
        writer.write(say)
        heard = await reader.readexactly(len(hear))
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"the connection broke: {error}"
    finally:
        writer.transport.abort()
    return "" if heard == hear else f"answered {heard!r}"


def _anyone() -> ssl.SSLContext:
    """Our own certificate need not be for the address we ask: nothing secret is said."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
