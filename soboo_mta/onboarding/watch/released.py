"""Watches the names that released domains leave behind, while they still lead to us.

Nothing of theirs is served and no token is used again, so nobody can claim them; but such
a name is its owner's risk the day that anything else goes, and it is said. Looks seldom,
and not for ever: names that were clean for some looks are left alone.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import structlog

from soboo_mta.identity.records import required_records
from soboo_mta.identity.standing import RecordName
from soboo_mta.identity.state import DomainSettings, Operator, Purpose
from soboo_mta.identity.web_hosts import WEB_PURPOSES
from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import (
    Authority,
    Clock,
    Found,
    RecordType,
    Resolver,
    Unanswered,
)
from soboo_mta.tenancy.domains import LeftName, ReleasedDomain

_log = structlog.get_logger(__name__)
_MS = timedelta(milliseconds=1)
Leads = DnsName | str | None
"""The name of ours that something leads to; "" for none; None without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedOptions:
    """When released domains are looked at."""

    every: timedelta = timedelta(days=1)
    """Between looks at one."""
    clean_looks: int = 7
    """So many looks in a row at which nothing led to us end the watch."""
    pause: timedelta = timedelta(minutes=1)
    """Between rounds that found nothing due."""
    at_once: int = 20
    """Domains of one round, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedLook:
    """One look at a released domain, for the store. `found` is new, `cleared` gone."""

    domain: ReleasedDomain
    left: tuple[LeftName, ...]
    found: tuple[LeftName, ...]
    cleared: tuple[LeftName, ...]
    clean_looks: int
    next_look_at: int | None  # unix ms; None: never again


class ReleasedBook(Protocol):
    """What the watch needs of the store; each call is one transaction."""

    async def due(self, *, now: int, limit: int) -> tuple[ReleasedDomain, ...]:
        """Return at most `limit` released domains whose look is due."""
        ...

    async def record(self, look: ReleasedLook) -> None:
        """Keep it; note an event for what is new and for what is gone."""
        ...


class ReleasedWatch:
    """Looks at what is due, until cancelled."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        authority: Authority,
        book: ReleasedBook,
        operator: Operator,
        clock: Clock,
        options: ReleasedOptions,
    ) -> None:
        self._resolver = resolver
        self._authority = authority
        self._book = book
        self._operator = operator
        self._clock = clock
        self._options = options

    async def run(self) -> None:
        """Round after round. An error of one round is logged; the next one tries again."""
        while True:
            looked = 0
            try:
                looked = await self.round()
            except Exception:  # noqa: BLE001 - a task's root: nothing may end the watch
                _log.exception("released_round_failed")
            if looked < self._options.at_once:
                await asyncio.sleep(self._options.pause.total_seconds())

    async def round(self) -> int:
        """Look at what is due now; return how many were."""
        due = await self._book.due(
            now=self._clock.unix_ms(), limit=self._options.at_once
        )
        for domain in due:
            seen = await self._seen(domain)
            now = self._clock.unix_ms()
            await self._book.record(judged(domain, seen, self._options, now=now))
        return len(due)

    async def _seen(self, domain: ReleasedDomain) -> dict[RecordName, Leads]:
        names = names_left(domain.settings, self._operator)
        try:
            return {
                name: await self._leads(name, targets)
                for name, targets in names.items()
            }
        except Exception:  # noqa: BLE001 - as a task's root: one domain stops no other
            _log.exception("released_look_failed", domain=domain.settings.name)
            return dict.fromkeys(names)  # as if there was no answer: again in a day

    async def _leads(self, name: RecordName, targets: Iterable[DnsName]) -> Leads:
        """Which of `targets`, our names, it leads to."""
        found: Iterable[str]
        if name.kind is RecordType.NS:
            parent = await self._authority.delegation(name.owner)
            if isinstance(parent, Unanswered):
                return None
            found = parent.servers
        else:
            answer = await self._resolver.lookup(name.owner, name.kind, fresh=True)
            if isinstance(answer, Unanswered):
                return None
            found = map(str, answer.records) if isinstance(answer, Found) else ()
        there = set(found)
        return next((target for target in targets if target in there), "")


def names_left(
    settings: DomainSettings, operator: Operator
) -> dict[RecordName, tuple[DnsName, ...]]:
    """Return the names that a domain's owner pointed at us, each with where to. What is
    pasted by hand leads nowhere; CNAMEs into a delegated zone go with its delegation."""
    found: dict[RecordName, tuple[DnsName, ...]] = {}
    every_door = replace(operator, open_doors=frozenset(WEB_PURPOSES))
    for record in required_records(settings, every_door):
        if record.kind not in (RecordType.CNAME, RecordType.NS):
            continue
        if record.purpose is Purpose.AUTHOR_SELECTOR:
            continue
        name = RecordName(record.owner, record.kind)
        target = DnsName(record.value.removesuffix("."))
        found[name] = (*found.get(name, ()), target)
    return found


def judged(
    domain: ReleasedDomain,
    seen: Mapping[RecordName, Leads],
    options: ReleasedOptions,
    *,
    now: int,
) -> ReleasedLook:
    """Return what one look (unix ms) came to. No answer changes nothing."""
    before = {one.name: one for one in domain.left}
    left: list[LeftName] = []
    for name, leads in seen.items():
        known = before.get(name)
        if leads:
            since = known.since if known else now
            left.append(
                LeftName(name=name, target=DnsName(leads), since=since, seen_at=now)
            )
        elif leads is None and known is not None:
            left.append(known)
    clean = domain.clean_looks
    if any(seen.values()):
        clean = 0
    elif None not in seen.values():
        clean += 1
    is_over = not seen or clean >= options.clean_looks
    names = {one.name for one in left}
    return ReleasedLook(
        domain=domain,
        left=tuple(left),
        found=tuple(one for one in left if one.name not in before),
        cleared=tuple(one for one in domain.left if one.name not in names),
        clean_looks=clean,
        next_look_at=None if is_over else now + options.every // _MS,
    )
