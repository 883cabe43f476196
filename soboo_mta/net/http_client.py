"""Reads from web sites behind the `HttpClient` port, by httpx, over HTTPS alone.

The URL comes from strangers (a TXT record, a redirection), so the host's addresses are
looked up here and judged before one is connected to: what is judged is what is used. The
certificate is held against the host's name all the same. No proxy, no cookies, no coding
that could swell. RFC 9110.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import httpx

from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import (
    Fetched,
    Found,
    IpAddress,
    NotFetched,
    RecordType,
    Resolver,
    Unanswered,
)
from soboo_mta.transfer.routing.hosts import is_nowhere, is_private

_MAX_REDIRECTS: Final = 3  # a loop must end
_MAX_ADDRESSES: Final = 4  # tried of one host: each costs a connection
_SHOWN: Final = 200  # characters of what a stranger says


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpClientOptions:
    """How sites are read."""

    lifetime: timedelta = timedelta(seconds=10)
    """For one `get`: look-ups, connections, redirections and the whole body."""
    octets: int = 64 * 1024
    """Of a body; a longer one is not taken."""
    private_destinations: bool = False
    """Whether loopback and private addresses are connected to (labs)."""


class HttpsClient:
    """An `HttpClient` over HTTPS."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        options: HttpClientOptions | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver = resolver
        self._options = options or HttpClientOptions()
        self._tls = tls

    async def get(self, url: str) -> Fetched | NotFetched:
        """As `HttpClient.get`; never raises for what a site can do."""
        lifetime = self._options.lifetime.total_seconds()
        try:
            async with asyncio.timeout(lifetime):
                return await self._followed(url)
        except TimeoutError:
            return NotFetched(f"{url[:_SHOWN]}: no whole answer within {lifetime:g} s")

    async def _followed(self, url: str) -> Fetched | NotFetched:
        for _ in range(1 + _MAX_REDIRECTS):
            try:
                site = _site(url)
            except FormatError as error:
                return NotFetched(str(error))
            addresses = await self._addresses(site)
            if isinstance(addresses, NotFetched):
                return addresses
            answer = await self._read(site, addresses)
            if not isinstance(answer, str):
                return answer
            url = answer
        return NotFetched(f"{url[:_SHOWN]}: over {_MAX_REDIRECTS} redirections")

    async def _addresses(self, site: httpx.URL) -> Sequence[IpAddress] | NotFetched:
        found: list[IpAddress] = []
        silence = ""
        for kind in (RecordType.A, RecordType.AAAA):
            answer = await self._resolver.lookup(_host(site), kind)
            if isinstance(answer, Unanswered):
                silence = answer.cause
            elif isinstance(answer, Found):
                found += [one for one in answer.records if isinstance(one, IpAddress)]
        if not found:
            return NotFetched(silence or f"{_host(site)} has no address")
        allowed = [one for one in found if self._may_reach(one)]
        if not allowed:
            return NotFetched(
                f"{_host(site)} leads to a private address, {found[0]}: it is not connected to"
            )
        return allowed[:_MAX_ADDRESSES]

    def _may_reach(self, address: IpAddress) -> bool:
        if is_nowhere(address):
            return False
        return self._options.private_destinations or not is_private(address)

    async def _read(
        self, site: httpx.URL, addresses: Sequence[IpAddress]
    ) -> Fetched | NotFetched | str:
        """Return the answer of the first address that has one, or where it leads to."""
        cause = ""
        async with httpx.AsyncClient(
            verify=self._tls or ssl.create_default_context(),
            trust_env=False,  # a proxy would look the host up by itself
            follow_redirects=False,
            timeout=None,  # noqa: S113 - `get` has one for all of it
            headers={"accept-encoding": "identity", "user-agent": "soboo-mta"},
        ) as client:
            for address in addresses:
                try:
                    return await self._exchange(client, site, address)
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    said = str(error) or type(error).__name__
                    cause = f"{site} at {address}: {said}"[: 2 * _SHOWN]
        return NotFetched(cause)

    async def _exchange(
        self, client: httpx.AsyncClient, site: httpx.URL, address: IpAddress
    ) -> Fetched | NotFetched | str:
        async with client.stream(
            "GET",
            site.copy_with(host=str(address)),
            headers={"host": site.netloc.decode("ascii"), "accept": "application/json"},
            extensions={"sni_hostname": str(_host(site))},
        ) as answer:
            if answer.has_redirect_location:
                return str(site.join(answer.headers["location"]))
            if answer.headers.get("content-encoding", "identity") != "identity":
                return NotFetched(f"{site}: it is compressed, which was not asked for")
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > self._options.octets:
                    return NotFetched(
                        f"{site}: the answer is over {self._options.octets} octets"
                    )
            return Fetched(status=answer.status_code, body=bytes(body))


def _site(url: str) -> httpx.URL:
    """Return the URL of a host by name, over HTTPS; raise FormatError."""
    try:
        site = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FormatError(f"{url[:_SHOWN]!r} is no URL") from error
    if site.scheme != "https":
        raise FormatError(f"{url[:_SHOWN]!r} is not over https: it is not asked")
    if site.userinfo:
        raise FormatError(f"{url[:_SHOWN]!r} holds a name or a password")
    _host(site)
    return site


def _host(site: httpx.URL) -> Domain:
    """The host; FormatError for an address or a single label, names of our own network."""
    return Domain.parse(site.raw_host.decode("ascii"))
