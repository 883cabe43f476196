"""The door for reports of others: a POST without a login, bounded, kept and not read.

Any 2xx tells its sender that the report is here for good; 201 is what RFC 8460 §5.4 names.
A refusal says in JSON what to change, as all doors do.
"""

import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from soboo_mta.mail.errors import Reject
from soboo_mta.net.smtp_server import Limits, SharedTimes
from soboo_mta.net.smtp_server.limits.admission import client_key
from soboo_mta.net.smtp_server.limits.rates import Rates
from soboo_mta.ports import IpAddress
from soboo_mta.returns.reports.door import MEDIA, ReportDoor, limit_of
from soboo_mta.submission import replies
from soboo_mta.submission.options import ListenerOptions
from soboo_mta.web.body import body_of
from soboo_mta.web.inject import answers

FROM_ONE: Final = 60  # reports a minute of one client: one a day and bounce host
FROM_ALL: Final = 120  # of all clients of this host: there is no login that bounds them
_CREATED: Final = 201


class PostedOften:
    """How often reports are posted, over all workers of the host."""

    def __init__(
        self, times: SharedTimes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._of_one = Rates(_a_minute(FROM_ONE), times, clock)
        self._of_all = Rates(_a_minute(FROM_ALL), times, clock)

    def may_post(self, client: IpAddress) -> bool:
        """Count one more report, or return False. A proxy on this host is many clients."""
        is_one_too_many = not client.is_loopback and not self._of_one.may_send(
            f"reports {client_key(client)}", None
        )
        return not is_one_too_many and self._of_all.may_send("reports", None)


def report_routes(
    *,
    path: str,
    door: ReportDoor,
    often: PostedOften,
    limits: Limits,
    listener: ListenerOptions,
) -> APIRouter:
    """Return the one route at `path`; it is not in the API's description."""
    router = APIRouter(include_in_schema=False)

    async def take(request: Request) -> Response:
        media = _media(request)
        assert request.client is not None  # a TCP connection has one
        client = ip_address(request.client.host.partition("%")[0])
        if not often.may_post(client):
            raise Reject(replies.SENDING_TOO_OFTEN)
        door.admit()
        async with body_of(
            request,
            limit=limit_of(media),
            options=listener,
            admission=limits.admission,
        ) as body:
            kept = await door.keep(body, media=media, client=client)
        content = answers.accepted(kept, {}).content
        return Response(
            content.model_dump_json(include={"code", "status", "text"}),
            status_code=_CREATED,
            media_type="application/json",
        )

    router.add_api_route(path, take, methods=["POST"])
    return router


def _a_minute(number: int) -> ListenerOptions:
    return ListenerOptions(messages_per_minute_per_address=number)


def _media(request: Request) -> str:
    """The type of the body. Its first octets say whether it is packed, whatever the field
    of HTTP's own encoding says."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media not in MEDIA or encoding not in ("", "identity", "gzip"):
        raise Reject(answers.WRONG_REPORT)
    return media
