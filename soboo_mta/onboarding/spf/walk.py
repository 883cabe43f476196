"""Walks the SPF record of any name to the end, whatever is wrong in it (RFC 7208 §4.6).

Terms are parsed by spftrace; the walk is ours, through the `Resolver` port, since an
evaluation stops at the first match or error and a tree must not.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address

import spftrace
from spftrace.errors import SpfPermError
from spftrace.evaluator import valid_domain
from spftrace.macros import MacroContext, expand, truncate_domain
from spftrace.parser import VERSION_RE, Record, Term, parse

from soboo_mta.onboarding.judging.judge import texts
from soboo_mta.onboarding.spf.tree import SpfBudget, SpfNode, SpfTerm
from soboo_mta.ports import (
    Answer,
    Found,
    IpAddress,
    MxRecord,
    RecordType,
    Resolver,
    Unanswered,
)

MAX_WALKED = 100  # terms: a tree that others publish can't be walked for ever
_STRANGERS = (ip_address("0.0.0.0"), ip_address("::"))  # noqa: S104 - clients, not binds
_WHOLE = {4: "0.0.0.0/0", 6: "::/0"}
_PTR = "receivers may ignore ptr, and it is slow: list addresses (RFC 7208 §5.5)"
_COSTLY = frozenset(("include", "a", "mx", "ptr", "exists", "redirect"))
_MAX_HOSTS = spftrace.MAX_MX_RECORDS


async def spf_budget(name: str, resolver: Resolver) -> SpfBudget:
    """Walk the SPF record of `name`. Never raises for what DNS can say."""
    v4, v6 = _STRANGERS
    return SpfBudget(
        v4=await spf_tree(name, resolver, v4), v6=await spf_tree(name, resolver, v6)
    )


async def spf_tree(name: str, resolver: Resolver, client: IpAddress) -> SpfNode:
    """Walk the record of `name` for `client`, taken as one that nothing names."""
    return await _Walk(resolver, client, name).node(name, ())


@dataclass(slots=True)
class _Walk:
    """One walk: a look-up that found nothing counts once, however often it is needed."""

    resolver: Resolver
    client: IpAddress
    sender_domain: str
    walked: int = 0
    void: set[tuple[str, RecordType]] = field(default_factory=set)

    async def node(self, name: str, above: tuple[str, ...]) -> SpfNode:
        if not valid_domain(name):  # RFC 7208 §4.3: nobody asks for it
            return SpfNode(name=name, fault=f"{name[:80]!r} is no domain")
        answer, voids = await self._ask(name, RecordType.TXT)
        if isinstance(answer, Unanswered):
            return SpfNode(name=name, is_unanswered=True)
        found = tuple(text for text in texts(answer) if VERSION_RE.match(text))
        if len(found) != 1:
            fault = f"{name} has no SPF record"
            if found:
                fault = f"{name} has {len(found)} SPF records: join them to one"
            return SpfNode(name=name, records=found, fault=fault, voids=voids)
        record, fault = _parsed(name, found[0])
        terms = await self._terms(record, name, (*above, name.lower()))
        return SpfNode(name=name, records=found, terms=terms, fault=fault, voids=voids)

    async def _terms(
        self, record: Record, name: str, path: tuple[str, ...]
    ) -> tuple[SpfTerm, ...]:
        mechanisms = [term for term in record.terms if term.is_mechanism]
        order = [*mechanisms, *([record.redirect] if record.redirect else [])]
        done: list[SpfTerm] = []
        is_over = False
        for term in order:
            if is_over:  # RFC 7208 §5.1 and §6.1
                done.append(SpfTerm(text=term.raw, is_reached=False))
                continue
            done.append(await self._term(term, name, path))
            is_over = done[-1].matches_all
        return tuple(done)

    async def _term(self, term: Term, name: str, path: tuple[str, ...]) -> SpfTerm:
        if term.name not in _COSTLY:
            network = f"{term.arg}/{term.cidr4 if term.name == 'ip4' else term.cidr6}"
            every = term.name == "all" or network == _WHOLE[self.client.version]
            return SpfTerm(text=term.raw, matches_all=every)
        self.walked += 1
        if self.walked > MAX_WALKED:
            return SpfTerm(
                text=term.raw, lookups=1, fault=f"over {MAX_WALKED} terms: not walked"
            )
        if "%{p" in (term.arg or "").lower():  # the client's own host name
            return SpfTerm(text=term.raw, lookups=1)
        target = await self._target(term, name)
        if term.name in ("include", "redirect"):
            return await self._below(term, target, path)
        return await self._asked(term, target)

    async def _target(self, term: Term, name: str) -> str:
        context = MacroContext(
            ip=self.client,
            sender=f"postmaster@{self.sender_domain}",
            helo=self.sender_domain,
            domain=name,
        )
        return truncate_domain(await expand(term.arg, context)) if term.arg else name

    async def _below(self, term: Term, target: str, path: tuple[str, ...]) -> SpfTerm:
        if target.lower() in path:
            return SpfTerm(
                text=term.raw,
                target=target,
                lookups=1,
                fault="it leads back to a record above: the look-ups never end",
            )
        below = await self.node(target, path)
        return SpfTerm(
            text=term.raw,
            target=target,
            lookups=1,
            below=below,
            matches_all=term.name == "include" and below.passes_all,
        )

    async def _asked(self, term: Term, target: str) -> SpfTerm:
        """a, mx, ptr and exists: one term, however many look-ups."""
        fault = ""
        if not valid_domain(target) and term.name != "ptr":
            return SpfTerm(text=term.raw, target=target, lookups=1)
        first = {
            "mx": (target, RecordType.MX),
            "ptr": (self.client.reverse_pointer, RecordType.PTR),
            "exists": (target, RecordType.A),
        }.get(term.name, (target, self._address_type))
        answer, voids = await self._ask(*first)
        silent = isinstance(answer, Unanswered)
        hosts = _hosts(answer) if term.name == "mx" else ()
        if len(hosts) > _MAX_HOSTS:
            fault = f"{target} has over {_MAX_HOSTS} MX: an error (RFC 7208 §4.6.4)"
            hosts = ()
        for host in hosts:
            there, void = await self._ask(host, self._address_type)
            voids += void
            silent |= isinstance(there, Unanswered)
        return SpfTerm(
            text=term.raw,
            target=target,
            lookups=1,
            voids=voids,
            fault=fault,
            remark=_PTR if term.name == "ptr" else "",
            is_unanswered=silent,
            matches_all=term.name == "exists" and isinstance(answer, Found),
        )

    async def _ask(self, name: str, kind: RecordType) -> tuple[Answer, int]:
        """The answer, and 1 where it is a look-up without result seen first."""
        answer = await self.resolver.lookup(name, kind)
        key = (name.lower().rstrip("."), kind)
        if isinstance(answer, Found | Unanswered) or key in self.void:
            return answer, 0
        self.void.add(key)
        return answer, 1

    @property
    def _address_type(self) -> RecordType:
        return RecordType.A if self.client.version == 4 else RecordType.AAAA


def _parsed(name: str, text: str) -> tuple[Record, str]:
    """The record, and the first term that is none; such terms are left out of it."""
    try:
        return parse(text), ""
    except SpfPermError as error:
        fault = f"the record of {name} is no SPF: {error}"
    words = [word for word in text.split(" ")[1:] if word]
    good = [word for word in words if _is_term(word)]
    bad = [word for word in words if word not in good]
    if len(bad) > 1:
        fault += f" (wrong are {', '.join(bad)})"
    try:
        return parse(" ".join(["v=spf1", *good])), fault
    except SpfPermError:  # a modifier twice
        return Record(text=text), fault


def _is_term(word: str) -> bool:
    try:
        parse(f"v=spf1 {word}")
    except SpfPermError:
        return False
    return True


def _hosts(answer: Answer) -> tuple[str, ...]:
    if not isinstance(answer, Found):
        return ()
    return tuple(r.host for r in answer.records if isinstance(r, MxRecord))
