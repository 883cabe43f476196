"""The setup page of a domain, as plain HTML, for whoever manages its DNS.

Opened by a token that ends (tenancy.setup_link). Works without scripts; with them values
are copied by a click and the page follows what is seen in DNS.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Protocol
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import (
    DomainSettings,
    Operator,
    RecordCheck,
    RecordStatus,
    RequiredRecord,
)
from soboo_mta.identity.zones.zone_text import quoted, records_text
from soboo_mta.mail.ids import DomainId
from soboo_mta.onboarding.providers.table import PROVIDERS
from soboo_mta.ports import Clock, RecordType
from soboo_mta.store.unit import StoreError
from soboo_mta.tenancy.setup_link import SetupLinks

_HERE = Path(__file__).parent
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the address is the key
    "x-robots-tag": "noindex",
    "cache-control": "no-store",
}
_KEY = Query(max_length=32)  # of a DNS host
_APPLY = Query(max_length=4_000)  # a signed address, carried by the link
_NOTHING: Mapping[str, object] = MappingProxyType({})
_SHORTEST_MS = 5_000  # between looks that the page asks for
_FILES = {"setup.css": "text/css", "setup.js": "text/javascript"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A domain as its page shows it. Moments in unix ms."""

    settings: DomainSettings
    checks: tuple[RecordCheck, ...]
    verified_at: int | None
    next_check_at: int

    @property
    def looked_at(self) -> int | None:
        """The last look at any of its records; None: none yet."""
        return max((one.checked_at for one in self.checks), default=None)


class SetupBook(Protocol):
    """What the page needs of the store; may raise StoreError."""

    async def look(self, domain_id: DomainId) -> Setup | None:
        """Return the domain; None where it is given up."""
        ...

    async def check_soon(self, domain_id: DomainId) -> None:
        """Have its records looked at now."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """One record to publish, with what was last seen of it (None: not looked at)."""

    record: RequiredRecord
    check: RecordCheck | None

    @property
    def value(self) -> str:
        """The value as DNS panels take it."""
        return self.record.value

    @property
    def pieces(self) -> str:
        """A long TXT in quoted pieces, where some panels want it so; else ""."""
        is_long = self.record.kind is RecordType.TXT and len(self.record.value) > 255
        return quoted(self.record.value) if is_long else ""

    @property
    def is_good(self) -> bool:
        return self.check is not None and self.check.status is RecordStatus.GOOD

    @property
    def title(self) -> str:
        """How it is, in a word or two."""
        if self.check is None:
            return "not looked at yet"
        if self.check.status is RecordStatus.UNKNOWN:
            return "no answer"
        return self.check.status


def setup_routes(
    *,
    book: SetupBook,
    links: SetupLinks,
    operator: Callable[[], Operator],
    clock: Clock,
) -> APIRouter:
    """Return the routes under /setup; they are not in the API's description."""
    router = APIRouter(include_in_schema=False)
    environment = _environment()

    def page(
        template: str, status: int = 200, values: Mapping[str, object] = _NOTHING
    ) -> Response:
        text = environment.get_template(template).render(values)
        return HTMLResponse(text, status_code=status, headers=_HEADERS)

    async def opened(
        token: str, show: Callable[[Setup], Awaitable[Response]]
    ) -> Response:
        domain_id = links.opened(token, now=clock.unix_ms() // 1_000)
        try:
            found = None if domain_id is None else await book.look(domain_id)
            return page("gone.html", 404) if found is None else await show(found)
        except StoreError:
            return page("later.html", 503)

    @router.get("/setup/_/{name}")
    async def file(name: str) -> Response:
        if name not in _FILES:
            return page("gone.html", 404)
        return FileResponse(_HERE / "static" / name, media_type=_FILES[name])

    @router.get("/setup/{token}")
    async def setup(
        token: str, dns: Annotated[str, _KEY] = "", apply: Annotated[str, _APPLY] = ""
    ) -> Response:
        async def show(found: Setup) -> Response:
            values = _shown(found, operator(), dns) | {
                "token": token,
                "query": _query(dns, apply),
                "click": links.carried(token, apply),
            }
            return page("setup.html", values=values)

        return await opened(token, show)

    @router.get("/setup/{token}/zone.txt")
    async def zone_text(token: str) -> Response:
        async def show(found: Setup) -> Response:
            text = records_text(required_records(found.settings, operator()))
            return PlainTextResponse(text, headers=_HEADERS)

        return await opened(token, show)

    @router.post("/setup/{token}/check")
    async def check(
        token: str, dns: Annotated[str, _KEY] = "", apply: Annotated[str, _APPLY] = ""
    ) -> Response:
        async def show(found: Setup) -> Response:
            if _may_look(found, clock.unix_ms()):
                await book.check_soon(found.settings.domain_id)
            back = f"/setup/{token}{_query(dns, apply)}"
            return RedirectResponse(back, 303, headers=_HEADERS)

        return await opened(token, show)

    return router


def _shown(found: Setup, operator: Operator, dns: str) -> dict[str, object]:
    """What the page says of a domain; `dns` is the key of its DNS host, or ""."""
    lines = _lines(found, operator)
    needed = [line for line in lines if line.record.is_required]
    return {
        "advice": _advice(dns, lines),
        "domain": found.settings.name,
        "mode": found.settings.mode,
        "operator": operator.domain,
        "needed": needed,
        "wished": [line for line in lines if not line.record.is_required],
        "good": sum(line.is_good for line in needed),
        "is_verified": found.verified_at is not None,
        "looked": found.looked_at,
    }


def _may_look(found: Setup, now: int) -> bool:
    """Whether a look can be asked for: whoever has the link can, as often as they like."""
    looked = found.looked_at
    return looked is None or not 0 <= now - looked < _SHORTEST_MS


def _lines(found: Setup, operator: Operator) -> list[Line]:
    seen = {_place(check.record): check for check in found.checks}
    return [
        Line(record, seen.get(_place(record)))
        for record in required_records(found.settings, operator)
    ]


def _query(dns: str, apply: str) -> str:
    """What the link carried, for the page to come back with it."""
    kept = {name: value for name, value in (("dns", dns), ("apply", apply)) if value}
    return f"?{urlencode(kept)}" if kept else ""


def _advice(key: str, lines: list[Line]) -> tuple[str, ...]:
    """What to do at the DNS host that the link names; nothing where it is not known."""
    with_ns = any(line.record.kind is RecordType.NS for line in lines)
    for provider in PROVIDERS:
        if provider.key == key:
            return provider.advice(with_ns=with_ns)
    return ()


def _place(record: RequiredRecord) -> tuple[str, str, str]:
    return record.owner, record.kind, record.value


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["moment"] = _moment
    return made


def _moment(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1_000, UTC).strftime(
        "%Y-%m-%d %H:%M:%S UTC"
    )
