"""Asks what SPF, DKIM and DMARC say of one message that came in.

DNS is asked for all of it within one time-out. An answer that is missing makes a result
temperror, never fail: a return is kept whatever is found here.
"""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from soboo_mta.formats.authentication import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    SignatureVerdict,
    SpfVerdict,
)
from soboo_mta.formats.authentication.signatures import Lookup, SignedMessage
from soboo_mta.formats.authentication.spf import spf_result
from soboo_mta.formats.author import parse_author
from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.mail.address import ReversePath
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import (
    Answer,
    Found,
    IpAddress,
    RecordType,
    Resolver,
    Unanswered,
)
from soboo_mta.returns.authentication.dmarc import (
    Texts,
    dmarc_verdict,
    names_of_author,
    names_of_proven,
)

_NOBODY = "unknown"  # what macros see of a HELO that is no domain (RFC 7208 §7.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationOptions:
    """`lookups_within`: all look-ups of one message together. `threads` do what takes the
    longer the larger a message is, so that a loop can turn meanwhile: one is best, for
    several would keep each other and the loop waiting for the interpreter."""

    lookups_within: timedelta = timedelta(seconds=5)
    threads: Executor | None = None  # None: those of the loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """The connection and envelope that a message came with; `helo` as it was said."""

    client: IpAddress
    helo: str
    reverse_path: ReversePath


async def authenticated(
    content: bytes,
    came: Came,
    resolver: Resolver,
    *,
    suffixes: Suffixes,
    options: AuthenticationOptions,
) -> Authentication:
    """Return what SPF, DKIM and DMARC say of `content`.

    Never raises for what a message, its envelope or DNS can say. Ends within the time-out
    and the time that hashing takes, which a thread does.
    """
    asked = _InTime(resolver, options.lookups_within)
    worked = partial(asyncio.get_running_loop().run_in_executor, options.threads)
    try:
        message = await worked(SignedMessage.read, content)
    except FormatError as error:
        return await _without_header(came, asked, str(error))
    author = _author(message)
    spf, keys, records = await asyncio.gather(
        _spf(came, asked),
        _texts(message.key_names(), asked),
        _texts(names_of_author(author, suffixes) if author else (), asked),
    )
    dkim = await worked(message.verify, _lookup_in(keys))
    if author is None:
        dmarc = DmarcVerdict(result=Result.NONE, cause="no one plain Author address")
        return Authentication(spf=spf, dkim=dkim, dmarc=dmarc)
    more = names_of_proven(author, (spf, *dkim))
    records |= await _texts([name for name in more if name not in records], asked)
    return Authentication(
        spf=spf, dkim=dkim, dmarc=dmarc_verdict(author, spf, dkim, records, suffixes)
    )


async def _without_header(came: Came, resolver: Resolver, cause: str) -> Authentication:
    return Authentication(
        spf=await _spf(came, resolver),
        dkim=(SignatureVerdict(result=Result.PERMERROR, cause=cause),),
        dmarc=DmarcVerdict(result=Result.NONE, cause=cause),
    )


def _author(message: SignedMessage) -> Domain | None:
    """The domain of the one Author address that all parsers read alike."""
    values = message.values(b"from")
    if len(values) != 1:
        return None
    try:
        return parse_author(values[0], smtputf8=True).domain
    except FormatError:
        return None


async def _spf(came: Came, resolver: Resolver) -> SpfVerdict:
    helo = Domain.parse_or_none(came.helo)
    mailbox = came.reverse_path.mailbox
    identity = Identity.HELO if mailbox is None else Identity.MAILFROM
    domain = helo if mailbox is None else mailbox.domain
    if domain is None:  # RFC 7208 §4.3
        return SpfVerdict(result=Result.NONE, identity=identity, domain=None)
    result = await spf_result(
        came.client,
        sender=str(mailbox or f"postmaster@{domain}"),  # RFC 7208 §2.4
        helo=helo or _NOBODY,
        resolver=resolver,
    )
    return SpfVerdict(result=result, identity=identity, domain=domain)


# ---- look-ups


class _InTime:
    """A `Resolver` whose answers all come within one time, or are none."""

    def __init__(self, resolver: Resolver, within: timedelta) -> None:
        self._resolver = resolver
        self._until = asyncio.get_running_loop().time() + within.total_seconds()

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        try:
            async with asyncio.timeout_at(self._until):
                return await self._resolver.lookup(name, kind, fresh=fresh)
        except TimeoutError:
            return Unanswered(cause=f"{kind} {name}: not in time")


async def _texts(names: Iterable[DnsName], resolver: Resolver) -> dict[DnsName, Texts]:
    """The TXT records of each name; None where DNS gave no answer."""

    async def texts(name: DnsName) -> Texts:
        answer = await resolver.lookup(name, RecordType.TXT)
        if isinstance(answer, Unanswered):
            return None
        if not isinstance(answer, Found):
            return ()
        return tuple(record for record in answer.records if isinstance(record, str))

    asked = tuple(names)
    answers = await asyncio.gather(*map(texts, asked))
    return dict(zip(asked, answers, strict=True))


def _lookup_in(keys: Mapping[DnsName, Texts]) -> Lookup:
    """Of several records at one name the first that may be a key (RFC 6376 §3.6.2.2)."""

    def lookup(name: DnsName) -> str | None:
        texts = keys[name]
        if texts is None:
            raise TimeoutError(name)
        return next((text for text in texts if "p=" in text), next(iter(texts), None))

    return lookup
