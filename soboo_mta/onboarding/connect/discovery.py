"""Does the DNS host of a zone speak Domain Connect, and has it our template?

Asked is what the customer's own zone names (TXT at `_domainconnect`), so nothing of the
answer is believed further than its form: https alone, bounded texts. Domain Connect 2.3,
"DNS Provider Discovery" and "Query Supported Template".
"""

import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from soboo_mta.identity.state import Operator
from soboo_mta.mail.domain import Domain
from soboo_mta.onboarding.connect.apply import template_path
from soboo_mta.onboarding.judging.judge import printable
from soboo_mta.ports import (
    Found,
    HttpClient,
    NotFetched,
    RecordType,
    Resolver,
    Unanswered,
)

_PREFIX: Final = re.compile(
    r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?", re.IGNORECASE
)
_MAX_URL: Final = 300  # characters; a query is added
_MAX_NAME: Final = 80
_NOT_THERE: Final = 404
_OK: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class NotOffered:
    """The DNS host does not do it, for sure; why, without a full stop."""

    cause: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """It cannot be said now; why, without a full stop."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectHost:
    """A DNS host's settings for one zone. `sync_url` "" where it has no synchronous flow,
    `panel` "" where it names no page on which the zone is edited."""

    provider: str
    name: str
    sync_url: str
    api_url: str
    panel: str


async def discover(
    apex: Domain, resolver: Resolver, http: HttpClient
) -> ConnectHost | NotOffered | NoAnswer:
    """Return the settings of the DNS host that serves the zone `apex`."""
    answer = await resolver.lookup(f"_domainconnect.{apex}", RecordType.TXT)
    if isinstance(answer, Unanswered):
        return NoAnswer(answer.cause)
    texts = [one for one in getattr(answer, "records", ()) if isinstance(one, str)]
    if not isinstance(answer, Found) or not texts:
        return NotOffered(f"the DNS host of {apex} names no Domain Connect for it")
    prefix = texts[0].strip()
    if len(texts) > 1 or len(prefix) > _MAX_URL or not _PREFIX.fullmatch(prefix):
        return NotOffered(
            f"_domainconnect.{apex} holds what is no address: {_shown(texts[0])!r}"
        )
    url = f"https://{prefix.rstrip('/')}/v2/{quote(apex, safe='')}/settings"
    page = await http.get(url)
    if isinstance(page, NotFetched):
        return NoAnswer(page.cause)
    if page.status == _NOT_THERE:
        return NotOffered(f"{prefix} says that it does not serve {apex}")
    if page.status not in _OK:
        return NoAnswer(f"{url} answers {page.status}")
    return _settings(page.body, apex, url)


async def has_template(
    host: ConnectHost, operator: Operator, service: str, http: HttpClient
) -> bool | NoAnswer:
    """Return whether the DNS host has a template of ours."""
    url = host.api_url.rstrip("/") + template_path(operator, service)
    page = await http.get(url)
    if isinstance(page, NotFetched):
        return NoAnswer(page.cause)
    if page.status in _OK:
        return True
    if page.status == _NOT_THERE:
        return False
    return NoAnswer(f"{url} answers {page.status}")


def _settings(body: bytes, apex: Domain, url: str) -> ConnectHost | NoAnswer:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return NoAnswer(f"{url} answers what is no JSON")
    if not isinstance(found, dict):
        return NoAnswer(f"{url} answers no JSON object")
    provider = _text(found, "providerId")
    api_url = _https(_text(found, "urlAPI"))
    if not provider or not api_url:
        return NoAnswer(f"{url} lacks providerId, or urlAPI over https")
    name = _text(found, "providerDisplayName") or _text(found, "providerName")
    panel = _text(found, "urlControlPanel").replace("%domain%", quote(apex, safe=""))
    return ConnectHost(
        provider=_shown(provider),
        name=_shown(name or provider),
        sync_url=_https(_text(found, "urlSyncUX")),
        api_url=api_url,
        panel=_https(panel, with_query=True),
    )


def _text(values: dict[str, object], name: str) -> str:
    value = values.get(name)
    return value.strip() if isinstance(value, str) else ""


def _https(url: str, *, with_query: bool = False) -> str:
    """Return a URL over https, to which a path can be added; "" for anything else."""
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        return ""
    try:
        parts = urlsplit(url)
        is_fit = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    if parts.username is not None or parts.password is not None:
        return ""
    if (parts.query or parts.fragment) and not with_query:
        return ""
    return url if is_fit else ""


def _shown(text: str) -> str:
    return printable(text)[:_MAX_NAME]
