"""The page: what arrived, and one message in full, as plain HTML from templates.

Works without scripts; with them it follows what arrives. HTML out of a message is shown
in a sandboxed frame under a policy that lets nothing run and nothing load.
"""

import base64
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from soboo_mta.lab.content import Content
from soboo_mta.lab.lab import Lab
from soboo_mta.lab.web.messages import Asked, the_message
from soboo_mta.lab.web.safety import MAIL_POLICY

_ROWS = 100
_SHOWN = 200_000  # letters of a text or source on the page; the file has the rest
_INSIDE = 8 * 1024 * 1024  # octets of images put into the HTML
_CONNECTS = re.compile(
    r"<(/?)(?=(?:base|embed|fencedframe|frame|frameset|iframe|link|meta|object)[\s/>])",
    re.IGNORECASE,
)  # a browser opens connections for some of these before it asks the policy
_CID = re.compile(r"cid:([^\s\"'<>()\\]+)", re.IGNORECASE)


class View(StrEnum):
    """What of a message is shown."""

    HTML = "html"
    TEXT = "text"
    HEADERS = "headers"
    SOURCE = "source"


def page_routes(lab: Lab) -> APIRouter:
    """Return the routes that people look at; they are not in the API's description."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    environment = _environment()
    box = lab.mailbox

    def page(template: str, **values: object) -> HTMLResponse:
        made = environment.get_template(template)
        return HTMLResponse(made.render(lab=lab, box=box, **values))

    @router.get("/")
    async def messages(
        request: Request, query: Asked, offset: Annotated[int, Parameter(ge=0)] = 0
    ) -> HTMLResponse:
        found = box.find(query)
        asked = {k: v for k, v in request.query_params.items() if v and k != "offset"}
        return page(
            "messages.html",
            found=len(found),
            shown=found[offset : offset + _ROWS],
            asked=asked,
            offset=offset,
            newer=_link(asked, max(0, offset - _ROWS)) if offset else "",
            older=_link(asked, offset + _ROWS) if offset + _ROWS < len(found) else "",
        )

    @router.get("/messages/{number}")
    async def message(number: int, view: View | None = None) -> Response:
        one = box.get(number)
        if one is None:
            response = page("gone.html", number=number)
            response.status_code = 404
            return response
        content = one.content
        shown = view or (View.HTML if content.html else View.TEXT)
        return page(
            "message.html",
            one=one,
            content=content,
            views=list(View),
            view=shown,
            limit=_SHOWN,
        )

    @router.get("/messages/{number}/body.html")
    async def body(number: int) -> HTMLResponse:
        shown = _CONNECTS.sub(
            r"<\1off-", _with_images(the_message(lab, number).content)
        )
        return HTMLResponse(shown, headers={"content-security-policy": MAIL_POLICY})

    _add_acts(router, lab)
    return router


def _add_acts(router: APIRouter, lab: Lab) -> None:
    """What buttons do."""
    box = lab.mailbox

    @router.post("/messages/{number}/delete")
    async def delete(number: int) -> RedirectResponse:
        box.remove([number])
        return RedirectResponse("/", 303)

    @router.post("/clear")
    async def clear() -> RedirectResponse:
        box.clear()
        return RedirectResponse("/", 303)


def _link(asked: dict[str, str], offset: int) -> str:
    return "/?" + urlencode(asked | {"offset": offset})


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["size"] = _size
    return made


def _size(octets: int) -> str:
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if octets >= step:
            return f"{octets / step:.1f} {unit}"
    return f"{octets} B"


def _with_images(content: Content) -> str:
    """The HTML with images that came along put in place of their cid: (RFC 2392)."""
    parts = {
        part.content_id: part
        for part in content.parts
        if part.content_id and part.kind.startswith("image/")
    }
    room = _INSIDE

    def put(found: re.Match[str]) -> str:
        nonlocal room
        part = parts.get(found[1])
        if part is None or len(part.octets) > room:
            return found[0]
        room -= len(part.octets)
        return f"data:{part.kind};base64,{base64.b64encode(part.octets).decode()}"

    return _CID.sub(put, content.html)
