"""The API over received messages: find, wait, read, download, delete."""

from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi import Query as Parameter

from soboo_mta.lab.lab import Lab
from soboo_mta.lab.mailbox import Kept, Query
from soboo_mta.lab.web.safety import INERT_POLICY
from soboo_mta.lab.web.shapes import Deleted, Message, MessageList, WholeMessage

_PAGE = 50  # messages in one answer
_LONGEST_WAIT = 300.0  # seconds


def asked(
    to: Annotated[str, Parameter(description="In a recipient's address.")] = "",
    sender: Annotated[
        str, Parameter(alias="from", description="In the reverse-path or From.")
    ] = "",
    subject: Annotated[str, Parameter(description="In the Subject.")] = "",
    text: Annotated[str, Parameter(alias="q", description="In any of these.")] = "",
    since: Annotated[datetime | None, Parameter(description="ISO 8601.")] = None,
    until: Annotated[datetime | None, Parameter(description="ISO 8601.")] = None,
    after: Annotated[int, Parameter(ge=0, description="Numbers above it.")] = 0,
) -> Query:
    """What is looked for; all that is given has to hold, in either case of letters."""
    for moment in (since, until):
        if moment is not None and moment.tzinfo is None:
            raise HTTPException(422, "a time has a zone: 2026-01-31T12:00:00Z")
    return Query(
        to=to,
        sender=sender,
        subject=subject,
        text=text,
        since=since,
        until=until,
        after=after,
    )


Asked = Annotated[Query, Depends(asked)]


def message_routes(lab: Lab) -> APIRouter:
    """Return the routes below /api/messages."""
    router = APIRouter(prefix="/api/messages", tags=["messages"])
    box = lab.mailbox

    @router.get("")
    async def find(
        query: Asked,
        limit: Annotated[int, Parameter(ge=1, le=1_000)] = _PAGE,
        offset: Annotated[int, Parameter(ge=0)] = 0,
    ) -> MessageList:
        """List messages, the newest first."""
        return _listed(lab, box.find(query), limit, offset)

    @router.get("/wait", responses={404: {"description": "Not within the time."}})
    async def wait(
        query: Asked,
        count: Annotated[int, Parameter(ge=1, le=10_000)] = 1,
        timeout: Annotated[  # noqa: ASYNC109  # the client's, answered with 404
            float, Parameter(gt=0, le=_LONGEST_WAIT, description="Seconds.")
        ] = 10.0,
    ) -> MessageList:
        """Answer as soon as `count` messages are found, also those already there."""
        if await box.wait(lambda: len(box.find(query)) >= count, timeout):
            return _listed(lab, box.find(query), limit=1_000, offset=0)
        found = len(box.find(query))
        raise HTTPException(404, f"{found} of {count} within {timeout:g} s{_last(lab)}")

    @router.get("/{number}")
    async def read(number: int) -> WholeMessage:
        """Read one message: envelope, verdicts with reasons, header, texts, parts."""
        return WholeMessage.kept(the_message(lab, number))

    @router.get("/{number}/raw", response_class=Response)
    async def raw(number: int) -> Response:
        """Download the octets as they were received."""
        one = the_message(lab, number)
        return download(one.octets, f"message-{number}.eml", "message/rfc822")

    @router.get("/{number}/attachments/{part}", response_class=Response)
    async def attachment(number: int, part: int) -> Response:
        """Download one attachment, decoded."""
        for one in the_message(lab, number).content.parts:
            if one.number == part:
                return download(one.octets, one.name, "application/octet-stream")
        raise HTTPException(404, f"message {number} has no attachment {part}")

    @router.delete("/{number}")
    async def delete(number: int) -> Deleted:
        """Delete one message."""
        the_message(lab, number)
        return Deleted(deleted=box.remove([number]))

    @router.delete("")
    async def clear(query: Asked) -> Deleted:
        """Delete what is found; without a query, all."""
        return Deleted(deleted=box.remove(one.number for one in box.find(query)))

    return router


def the_message(lab: Lab, number: int) -> Kept:
    """Return one message; answers 404 where it is gone or never was."""
    found = lab.mailbox.get(number)
    if found is None:
        raise HTTPException(404, f"there is no message {number}, or no longer")
    return found


def download(octets: bytes, name: str, kind: str) -> Response:
    """Octets that somebody sent: a file to save, never shown (RFC 6266)."""
    plain = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name
    )
    return Response(
        octets,
        media_type=kind,
        headers={
            "content-disposition": f'attachment; filename="{plain}"; '
            f"filename*=utf-8''{quote(name, safe='')}",
            "content-security-policy": INERT_POLICY,
        },
    )


def _listed(lab: Lab, found: list[Kept], limit: int, offset: int) -> MessageList:
    return MessageList(
        total=len(found),
        dropped=lab.mailbox.dropped,
        messages=[Message.kept(one) for one in found[offset : offset + limit]],
    )


def _last(lab: Lab) -> str:
    last = [", ".join(one.record.rcpt_to) for one in lab.mailbox.find(Query())[:5]]
    refusals = f"; {len(lab.refusals)} refusals by rules" if lab.refusals else ""
    came = f"the last for {'; '.join(last)}" if last else "nothing arrived"
    return f": {came}{refusals}"
