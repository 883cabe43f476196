"""The HTTP door on loopback, before a desk of fakes; and a client of it."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx

from soboo_mta.mail.ids import MessageId
from soboo_mta.net.door import bind
from soboo_mta.net.http_server import HttpServer
from soboo_mta.net.smtp_server import Limits
from soboo_mta.spool.view import QueuedMessage
from soboo_mta.submission.options import HttpOptions, InjectOptions, ListenerOptions
from soboo_mta.web.inject.api import api
from soboo_mta.web.inject.submit import Submissions
from tests.fakes.submission import Desk

ACME = ("acme", "s3cret")
TOKEN = b64encode(b"acme:s3cret").decode()
QUICK = ListenerOptions(failed_login_delay=timedelta(0))
HELLO = {
    "from": "Acme <shop@acme.example>",
    "to": "rcpt@dest.example",
    "subject": "Hello",
    "text": "Hello\n",
}


@asynccontextmanager
async def injecting(
    one: Desk,
    *,
    listener: ListenerOptions = QUICK,
    options: InjectOptions | None = None,
    status: dict[MessageId, QueuedMessage] | None = None,
    tls: ssl.SSLContext | None = None,
    auth: tuple[str, str] | None = ACME,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose base address is the door, authenticated as `auth`."""
    limits = Limits(listener)
    submissions = Submissions(
        acceptance=one.acceptance,
        limits=limits,
        listener=listener,
        options=options or InjectOptions(),
    )

    async def messages(message_id: MessageId) -> QueuedMessage | None:
        return (status or {}).get(message_id)

    server = HttpServer(
        api(submissions, messages),
        options=HttpOptions(request_octets=200 << 20),
        tls=tls,
        limits=limits,
    )
    bound = bind("127.0.0.1", 0)
    url = f"{'https' if tls else 'http'}://127.0.0.1:{bound.getsockname()[1]}"
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run([bound]))
        await server.started.wait()
        async with httpx.AsyncClient(
            base_url=url, auth=auth, timeout=20, verify=False
        ) as client:
            yield client
        server.stop()
    assert limits.admission.buffered == 0
