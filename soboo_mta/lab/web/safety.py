"""What keeps hostile mail and other people's pages away from the lab's own.

Owns the headers of every answer, the stricter ones for HTML out of a message, and the
refusal of requests that a browser makes for another site: by a name that is not ours
(DNS rebinding) or from a page that is not ours. CSP level 3; RFC 9110 §7.2 for Host.
"""

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]  # ASGI's own shapes: Any
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
MAIL_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""For HTML that somebody sent: no script, no form, nothing loaded from anywhere."""
INERT_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
"""For octets that somebody sent, as a download."""
_ALWAYS = {
    "content-security-policy": _PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-dns-prefetch-control": "off",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_READING = ("GET", "HEAD")


class Guard:
    """ASGI: refuses what is not for us or not from us; adds the headers to the rest."""

    def __init__(self, app: App, *, is_open: bool) -> None:
        self._app = app
        self._is_open = is_open  # bound beyond loopback: any name may lead here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        refusal = self._refusal(scope["method"], headers)
        if refusal:
            await _refuse(refusal, send)
            return
        await self._app(scope, receive, _with_headers(send))

    def _refusal(self, method: str, headers: dict[str, str]) -> str:
        host = headers.get("host", "")
        if not self._is_open and not _is_local(host):
            return f"the lab answers to localhost and 127.0.0.1, not to {host[:100]!r}"
        if method in _READING:
            return ""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "a page of another site may change nothing here"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "a page of another site may change nothing here"
        return ""


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _with_headers(send: Send) -> Send:
    async def sending(event: Event) -> None:
        if event["type"] == "http.response.start":
            named = {name.lower() for name, _ in event["headers"]}
            event["headers"] = [
                *event["headers"],
                *(
                    (name.encode(), value.encode())
                    for name, value in _ALWAYS.items()
                    if name.encode() not in named
                ),
            ]
        await send(event)

    return sending


async def _refuse(text: str, send: Send) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    headers.append((b"content-length", str(len(body)).encode()))
    sending = _with_headers(send)
    await sending({"type": "http.response.start", "status": 403, "headers": headers})
    await sending({"type": "http.response.body", "body": body})
