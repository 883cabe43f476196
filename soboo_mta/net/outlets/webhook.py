"""Posts events to a URL that a customer chose. RFC 9110.

The name is not believed: it is looked up here, at each delivery, every address must be a
public one, and the address that was judged is the one connected to. The certificate is held
against the name. No redirection is followed, no proxy used, no cookie kept; of the answer
only so much is read. Each webhook has connections of its own: those to one address might
else serve another's name.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final

import httpx

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.outlets.wire import Wire, WireError
from soboo_mta.ports import Clock, Found, IpAddress, RecordType, Resolver, Unanswered
from soboo_mta.transfer.routing.hosts import is_nowhere, is_private

_MAX_URL: Final = 2_000  # characters
_MAX_ADDRESSES: Final = 4  # tried of one name: each costs a connection
_SAID: Final = 300  # characters of an answer that are shown
_IDLE: Final = 30.0  # seconds that a connection is kept for the next event
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """Where events may go, and how long that may take."""

    ports: tuple[int, ...] = (443, 8443)
    timeout: timedelta = timedelta(seconds=15)
    """For one delivery: look-ups, connection, and the whole answer."""
    connections: int = 10
    """To one webhook, at once."""
    private_destinations: bool = False
    """Labs: private addresses are connected to, also by address, also in clear."""


@dataclass(frozen=True, slots=True)
class Posted:
    """It answered. `said` is the beginning of the body where the status is no 2xx;
    `retry_after` what it asked for, if anything (RFC 9110 §10.2.3)."""

    status: int
    said: str = ""
    retry_after: timedelta | None = None

    @property
    def is_accepted(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class NotPosted:
    """It gave no answer, or was not asked; `cause` is fit for its owner."""

    cause: str


def parse_webhook_url(text: str, options: WebhookOptions) -> httpx.URL:
    """Return the URL of a webhook; raise FormatError that says what is wrong with it."""
    if len(text) > _MAX_URL or not text.isprintable():
        raise FormatError(
            f"a webhook's URL has at most {_MAX_URL} printable characters"
        )
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise FormatError("that is no URL") from error
    if url.scheme not in ("https", "http") or not url.host:
        raise FormatError("a webhook's URL begins with https:// and a host's name")
    if url.scheme == "http" and not options.private_destinations:
        raise FormatError(
            "a webhook's URL begins with https://: events are not for all"
        )
    if url.userinfo:
        raise FormatError("a webhook's URL holds no user name or password")
    port = _port(url)
    if port not in options.ports:
        allowed = ", ".join(map(str, options.ports))
        raise FormatError(
            f"port {port} is none of webhooks: {allowed} are ([webhooks] ports)"
        )
    if _literal(url) is None:
        Domain.parse(url.raw_host.decode("ascii"))
    elif not options.private_destinations:
        raise FormatError("a webhook's host is a name, not an address")
    return url


class WebhookDoor:
    """The way to one webhook; close it where it is no longer used."""

    def __init__(
        self,
        url: str,
        *,
        resolver: Resolver,
        clock: Clock,
        options: WebhookOptions,
        tls: ssl.SSLContext,
    ) -> None:
        self.url = url
        self._resolver = resolver
        self._clock = clock
        self._options = options
        self._tls = tls
        self._idle: list[Wire] = []
        self._site: httpx.URL | FormatError
        try:
            self._site = parse_webhook_url(url, options)
        except FormatError as error:  # the settings have changed since it was added
            self._site = error

    def close(self) -> None:
        """Close its connections."""
        while self._idle:
            self._idle.pop().close()

    async def addresses(self) -> Sequence[IpAddress] | NotPosted:
        """Return the addresses that events may go to now, or why there are none."""
        if isinstance(self._site, FormatError):
            return NotPosted(str(self._site))
        return await self._judged(self._site)

    async def post(self, body: bytes, fields: Mapping[str, str]) -> Posted | NotPosted:
        """Post one event; never raises for what the other side can do."""
        timeout = self._options.timeout.total_seconds()
        try:
            async with asyncio.timeout(timeout):
                return await self._post(body, fields)
        except TimeoutError:
            return NotPosted(f"no whole answer within {timeout:g} s")

    async def _judged(self, url: httpx.URL) -> Sequence[IpAddress] | NotPosted:
        found = await self._found(url)
        if isinstance(found, NotPosted):
            return found
        for one in found:
            if is_nowhere(one) or (
                is_private(one) and not self._options.private_destinations
            ):
                return NotPosted(
                    f"{url.host} leads to {one}, which is no public address: nothing is"
                    " sent there"
                )
            if url.scheme == "http" and not is_private(one):
                return NotPosted(
                    f"{url.host} leads to {one}: nothing goes there in clear"
                )
        return found[:_MAX_ADDRESSES]

    async def _found(self, url: httpx.URL) -> list[IpAddress] | NotPosted:
        literal = _literal(url)
        if literal is not None:
            return [literal]
        found: list[IpAddress] = []
        silence = ""
        for kind in (RecordType.A, RecordType.AAAA):
            answer = await self._resolver.lookup(url.raw_host.decode("ascii"), kind)
            if isinstance(answer, Unanswered):
                silence = answer.cause
            elif isinstance(answer, Found):
                found += [one for one in answer.records if isinstance(one, IpAddress)]
        if not found:
            why = f"DNS gave no answer: {silence}" if silence else "it has no address"
            return NotPosted(f"{url.host}: {why}")
        return found

    async def _post(self, body: bytes, fields: Mapping[str, str]) -> Posted | NotPosted:
        url = self._site
        if isinstance(url, FormatError):
            return NotPosted(str(url))
        addresses = await self._judged(url)
        if isinstance(addresses, NotPosted):
            return addresses
        request = _request(url, body, fields)
        while (kept := self._kept(addresses)) is not None:
            try:
                return await self._exchange(kept, request)
            except WireError as error:
                if not error.is_stale:
                    return NotPosted(f"{kept.address}: {_words(error)}")
            except OSError as error:
                return NotPosted(f"{kept.address}: {_words(error)}")
        return await self._by_a_new_one(url, addresses, request)

    async def _by_a_new_one(
        self, url: httpx.URL, addresses: Sequence[IpAddress], request: bytes
    ) -> Posted | NotPosted:
        cause = ""
        tls = self._tls if url.scheme == "https" else None
        for address in addresses:
            try:
                wire = await Wire.opened(
                    address, _port(url), tls=tls, name=url.raw_host.decode("ascii")
                )
            except OSError as error:  # nothing was said: the next one
                cause = f"{address}: {_words(error)}"
                continue
            try:
                return await self._exchange(wire, request)
            except (OSError, WireError) as error:
                return NotPosted(f"{address}: {_words(error)}")
        return NotPosted(cause)

    def _kept(self, addresses: Sequence[IpAddress]) -> Wire | None:
        """A connection from before, to an address that is good now."""
        now = self._clock.monotonic()
        while self._idle:
            wire = self._idle.pop()
            is_fresh = now - wire.idle_since < _IDLE
            if is_fresh and wire.is_reusable and wire.address in addresses:
                return wire
            wire.close()
        return None

    async def _exchange(self, wire: Wire, request: bytes) -> Posted:
        try:
            answer = await wire.exchange(request)
        finally:
            if wire.is_reusable and len(self._idle) < self._options.connections:
                wire.idle_since = self._clock.monotonic()
                self._idle.append(wire)
            else:
                wire.close()
        is_accepted = 200 <= answer.status < 300
        said = answer.body[: 4 * _SAID].decode(errors="replace")
        return Posted(
            status=answer.status,
            said="" if is_accepted else _printable(said),
            retry_after=_retry_after(
                answer.fields.get("retry-after", ""), self._clock.now()
            ),
        )


def _request(url: httpx.URL, body: bytes, fields: Mapping[str, str]) -> bytes:
    head = {
        "host": url.netloc.decode("ascii"),
        "user-agent": "soboo-mta",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **fields,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    target = url.raw_path.decode("ascii")
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + body


def _port(url: httpx.URL) -> int:
    return url.port or _PORTS[url.scheme]


def _retry_after(text: str, now: datetime) -> timedelta | None:
    text = text.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text[:9]))
    try:
        wait = parsedate_to_datetime(text) - now
    except (ValueError, TypeError):  # no date, or one without a zone
        return None
    return max(wait, timedelta(0))


def _literal(url: httpx.URL) -> IpAddress | None:
    try:
        return ip_address(url.host)
    except ValueError:
        return None


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    return _printable(str(error) or type(error).__name__)


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[
        :_SAID
    ]
