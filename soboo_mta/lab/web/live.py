"""News for whoever watches: server-sent events (WHATWG HTML §9.2), until the lab ends."""

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from soboo_mta.lab.lab import Lab

_HEARTBEAT = 15.0  # seconds; a proxy or a phone gives a silent connection up


class Ending:
    """Told once that the server stops: streams end, so that it can."""

    def __init__(self) -> None:
        self.is_near = False

    def announce(self, lab: Lab) -> None:
        """Let every stream end now."""
        self.is_near = True
        lab.mailbox.wake()


def live_routes(lab: Lab, ending: Ending) -> APIRouter:
    """Return the route of the stream."""
    router = APIRouter(prefix="/api", tags=["messages"])

    @router.get("/events", response_class=StreamingResponse)
    async def events() -> StreamingResponse:
        """An event `change` at once and at each change, with the counts as JSON."""
        return StreamingResponse(_stream(lab, ending), media_type="text/event-stream")

    return router


async def _stream(lab: Lab, ending: Ending) -> AsyncIterator[bytes]:
    box = lab.mailbox
    told = -1
    while not ending.is_near:
        if told != box.changes:
            told = box.changes
            counts = {
                "kept": len(box),
                "dropped": box.dropped,
                "received": lab.received,
            }
            yield f"event: change\ndata: {json.dumps(counts)}\n\n".encode()
        elif not await box.wait(
            lambda: told != box.changes or ending.is_near,  # noqa: B023  # awaited here
            _HEARTBEAT,
        ):
            yield b": still here\n\n"
