"""The lab's HTTP application, put together and served beside the lab."""

import asyncio
import socket
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from soboo_mta import __version__
from soboo_mta.lab.binding import bound
from soboo_mta.lab.entries import nearest, sentence
from soboo_mta.lab.lab import Lab
from soboo_mta.lab.rules.rule import Rule
from soboo_mta.lab.web.control import LARGEST, rule_routes, state_routes
from soboo_mta.lab.web.live import Ending, live_routes
from soboo_mta.lab.web.messages import message_routes
from soboo_mta.lab.web.pages import page_routes
from soboo_mta.lab.web.safety import App, Guard
from soboo_mta.net.http_server import HttpServer
from soboo_mta.submission.options import HttpOptions

_STATIC = Path(__file__).parent / "static"
_GRACE = timedelta(seconds=1)  # for requests under way: nobody waits for a lab to end
_LOOPBACK = ("127.", "::1")


def build_app(lab: Lab, ending: Ending, *, is_open: bool = False) -> App:
    """Return the ASGI application: API, pages, static files, behind the guard.

    `is_open`: bound beyond loopback, where any host name may be meant.
    """
    app = FastAPI(
        title="soboo-mta lab",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
    )
    for routes in (
        message_routes(lab),
        rule_routes(lab),
        state_routes(lab),
        live_routes(lab, ending),
    ):
        app.include_router(routes, dependencies=[Depends(_refuse_unknown)])
    app.include_router(page_routes(lab))
    app.mount("/static", StaticFiles(directory=_STATIC))
    app.add_exception_handler(RequestValidationError, _explain)
    return Guard(app, is_open=is_open)


class LabWeb:
    """Serves the page and the API: `async with LabWeb(lab, port=8025) as web`.

    `port` is the bound one once started. Give it up before the lab.
    """

    def __init__(self, lab: Lab, *, address: str = "127.0.0.1", port: int = 0) -> None:
        self.address = address
        self.port = port
        self._lab = lab
        self._ending = Ending()
        is_open = not address.startswith(_LOOPBACK)
        self._server = HttpServer(
            build_app(lab, self._ending, is_open=is_open),
            options=HttpOptions(grace=_GRACE, request_octets=2 * LARGEST),
        )
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}/"

    async def __aenter__(self) -> Self:
        """Bind and serve; raises OSError where the port is taken."""
        listening = bound(self.address, self.port, socket.SOCK_STREAM, "the page")
        self.port = listening.getsockname()[1]
        self._serving = asyncio.create_task(self._server.run([listening]))
        await self._server.started.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.announce(self._lab)
        self._server.stop()
        if self._serving is not None:
            await self._serving


async def _refuse_unknown(request: Request) -> None:
    """Refuse a parameter that the route does not have: a query that was mistyped would
    find all, and delete it."""
    path, method = request.scope["route"].path, request.method.lower()
    described = request.app.openapi()["paths"][path][method]  # made once
    parameters = described.get("parameters", ())
    known = [one["name"] for one in parameters if one["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            hint = nearest(name, known)
            raise HTTPException(422, f"there is no parameter {name!r}{hint}")


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request in sentences; of a rule, as of its file."""
    assert isinstance(error, RequestValidationError)
    lines = []
    for detail in error.errors():
        place, *rest = detail["loc"]
        known = detail | {"loc": tuple(rest)}
        if place == "body" and request.url.path == "/api/rules" and rest:
            lines.append(sentence(known, Rule))
        else:
            text = detail["msg"].removeprefix("Value error, ")
            lines.append(f"{'.'.join(map(str, rest)) or place}: {text}")
    return JSONResponse({"detail": "\n".join(lines)}, status_code=422)
