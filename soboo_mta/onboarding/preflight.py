"""What a preflight observes: the look-ups that receivers make for a message.

Asks through the `Resolver` port and returns values; `identity.preflight` judges them.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from soboo_mta.formats.keys import public_bits
from soboo_mta.identity.dmarc import (
    Suffixes,
    Texts,
    names_to_ask,
    names_to_ask_by_suffix,
    record_at,
    record_texts,
    report_hosts,
    view_by_suffix_list,
    view_by_walk,
)
from soboo_mta.identity.plan import depart
from soboo_mta.identity.preflight.values import (
    DmarcSeen,
    KeySeen,
    MailHosts,
    Observed,
    ReportAddress,
    ReverseSeen,
    RootSeen,
    SpfSeen,
)
from soboo_mta.identity.state import (
    Departure,
    DmarcView,
    DomainState,
    KeyState,
    Operator,
    Plan,
    PublicKey,
    SignaturePlan,
    Source,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging.judge import texts
from soboo_mta.onboarding.judging.judge_key import key_fault
from soboo_mta.onboarding.looking.look import Fresh
from soboo_mta.onboarding.spf import spf_results
from soboo_mta.onboarding.spf.walk import spf_budget, spf_tree
from soboo_mta.ports import (
    Found,
    IpAddress,
    MxRecord,
    NoName,
    RecordType,
    Resolver,
    TlsPolicy,
    Unanswered,
)

_MAX_NAMES = 10  # of one address: RFC 7208 §4.6.4 looks at no more either
_MAX_REPORTS = 10  # foreign domains of one record that are asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What would be sent: mail of a domain, from one of our sources, under one policy of
    TLS; `holds` as in Observed."""

    state: DomainState
    source: Source
    operator: Operator
    tls: TlsPolicy
    holds: tuple[str, ...] = ()


async def observe(
    intended: Intended, resolver: Resolver, suffixes: Suffixes
) -> Observed:
    """Ask all that a preflight needs, anew. Never raises for what DNS can say."""
    return await _Observer(intended, Fresh(resolver), suffixes).observed()


class _Observer:
    """One look; each question is asked once."""

    def __init__(
        self, intended: Intended, resolver: Resolver, suffixes: Suffixes
    ) -> None:
        self._intended = intended
        self._state = intended.state
        self._source = intended.source
        self._operator = intended.operator
        self._resolver = resolver
        self._suffixes = suffixes

    async def observed(self) -> Observed:
        settings, source = self._state.settings, self._source
        departure = depart(self._state, source, self._operator)
        signatures = self._signatures(departure)
        reverse_domain = _reverse_domain(departure, settings.name)
        others = [s.domain for s in signatures]
        others += [reverse_domain] if reverse_domain else []
        async with asyncio.TaskGroup() as group:
            keys = [group.create_task(self._key(one)) for one in signatures]
            dmarc = group.create_task(self._dmarc(others))
            reverse = group.create_task(self._reverse())
            ehlo = group.create_task(self._addresses(source.ehlo_name))
            hosts = [
                group.create_task(self._mail_hosts(domain))
                for domain in dict.fromkeys(
                    (settings.name, *filter(None, [reverse_domain]))
                )
            ]
        return Observed(
            settings=settings,
            source=source,
            departure=departure,
            spf=await self._spf(reverse_domain) if reverse_domain else None,
            ehlo_spf=await self._spf(source.ehlo_name),
            keys=tuple(task.result() for task in keys),
            dmarc=dmarc.result(),
            mail_hosts=tuple(task.result() for task in hosts),
            reverse=reverse.result(),
            ehlo_addresses=ehlo.result(),
            root=await self._root(),
            tls=self._intended.tls,
            holds=self._intended.holds,
        )

    # ---- keys

    def _signatures(self, departure: Departure) -> tuple[SignaturePlan, ...]:
        """Those of the plan; where nothing departs, those that would be made."""
        if isinstance(departure, Plan):
            return departure.signatures
        settings = self._state.settings
        return tuple(
            SignaturePlan(settings.home, key.selector, key.key_id, key.algorithm)
            for key in settings.keys
            if key.state is KeyState.ACTIVE
        )

    async def _key(self, signature: SignaturePlan) -> KeySeen:
        key = self._public(signature)
        owner = f"{signature.selector}._domainkey.{signature.domain}"
        answer = await self._resolver.lookup(owner, RecordType.TXT)
        fault: str | None = None
        if not isinstance(answer, Unanswered):
            found = texts(answer)
            fault = key_fault(found, key) if found else "there is no TXT record"
        return KeySeen(
            signature=signature, bits=public_bits(key.p, key.algorithm), fault=fault
        )

    def _public(self, signature: SignaturePlan) -> PublicKey:
        keys = (*self._state.settings.keys, *self._operator.keys)
        return next(key for key in keys if key.key_id == signature.key_id)

    # ---- SPF

    async def _spf(self, domain: Domain) -> SpfSeen:
        results = await spf_results(domain, [self._source], self._resolver)
        tree = await spf_tree(domain, self._resolver, self._source.public_address)
        return SpfSeen(
            domain=domain,
            result=results.results[0][1],
            lookups=tree.lookups,
            voids=tree.total_voids,
        )

    async def _root(self) -> RootSeen:
        budget = await spf_budget(self._state.settings.name, self._resolver)
        return RootSeen(
            records=len(budget.v4.records),
            faults=budget.faults,
            remarks=budget.remarks,
            is_unanswered=budget.is_unanswered,
        )

    # ---- DMARC

    async def _dmarc(self, others: Iterable[Domain]) -> DmarcSeen | None:
        author, suffixes = self._state.settings.name, self._suffixes
        names = dict.fromkeys(
            name for domain in (author, *others) for name in names_to_ask(domain)
        )
        names |= dict.fromkeys(names_to_ask_by_suffix(author, suffixes))
        async with asyncio.TaskGroup() as group:
            asked = {
                name: group.create_task(self._resolver.lookup(name, RecordType.TXT))
                for name in names
            }
        answers = {name: task.result() for name, task in asked.items()}
        if any(isinstance(answer, Unanswered) for answer in answers.values()):
            return None
        found = {name: texts(answer) for name, answer in answers.items()}
        there = await self._resolver.lookup(author, RecordType.MX)
        exists = not isinstance(there, NoName) or bool(there.chain)
        walk = view_by_walk(author, others, found, exists=exists)
        return await self._found_policy(
            found, walk, view_by_suffix_list(author, others, found, suffixes)
        )

    async def _found_policy(
        self, found: Texts, walk: DmarcView, suffix_list: DmarcView
    ) -> DmarcSeen:
        author = self._state.settings.name
        owner = next((n for n in names_to_ask(author) if record_at(found[n])), None)
        text = record_texts(found[owner])[0] if owner else ""
        record = record_at([text])
        hosts = report_hosts(text)[:_MAX_REPORTS] if owner else ()
        own = DnsName(owner.removeprefix("_dmarc.")) if owner else author
        return DmarcSeen(
            walk=walk,
            suffix_list=suffix_list,
            records=record_texts(found[DnsName(f"_dmarc.{author}")]),
            found_at=owner or "",
            record=text,
            is_test=record is not None and record.is_test,
            reports=tuple(
                [
                    await self._report(own, host)
                    for host in hosts
                    if not self._is_at_home(host, own)
                ]
            ),
        )

    def _is_at_home(self, host: Domain, owner: DnsName) -> bool:
        """Whether reports stay in one organization: then nobody has to agree."""
        ours = self._suffixes.organizational_domain(Domain(owner))
        return self._suffixes.organizational_domain(host) == ours

    async def _report(self, owner: DnsName, host: Domain) -> ReportAddress:
        name = f"{owner}._report._dmarc.{host}"
        answer = await self._resolver.lookup(name, RecordType.TXT)
        agreed: bool | None = None
        if not isinstance(answer, Unanswered):
            agreed = bool(record_texts(texts(answer)))
        return ReportAddress(host=host, owner=name, is_authorised=agreed)

    # ---- hosts

    async def _mail_hosts(self, domain: Domain) -> MailHosts:
        answer = await self._resolver.lookup(domain, RecordType.MX)
        if isinstance(answer, Unanswered):
            return MailHosts(domain=domain, hosts=None)
        if isinstance(answer, Found):
            hosts = [r.host for r in answer.records if isinstance(r, MxRecord)]
            return MailHosts(domain=domain, hosts=tuple(hosts))
        addresses = await self._addresses(domain)
        if addresses is None:
            return MailHosts(domain=domain, hosts=None)
        return MailHosts(domain=domain, hosts=(), has_address=bool(addresses))

    async def _reverse(self) -> ReverseSeen:
        pointer = self._source.public_address.reverse_pointer
        answer = await self._resolver.lookup(pointer, RecordType.PTR)
        if isinstance(answer, Unanswered):
            return ReverseSeen(names=None)
        names = texts(answer)[:_MAX_NAMES]
        return ReverseSeen(
            names=tuple([(name, await self._addresses(name)) for name in names])
        )

    async def _addresses(self, name: str) -> tuple[IpAddress, ...] | None:
        """Both kinds; None where neither was found and one gave no answer."""
        found: list[IpAddress] = []
        is_silent = False
        for kind in (RecordType.A, RecordType.AAAA):
            answer = await self._resolver.lookup(name, kind)
            is_silent |= isinstance(answer, Unanswered)
            if isinstance(answer, Found):
                found += [
                    r for r in answer.records if not isinstance(r, str | MxRecord)
                ]
        return None if is_silent and not found else tuple(found)


def _reverse_domain(departure: Departure, author: Domain) -> Domain | None:
    """The domain whose SPF a receiver asks; None where nothing departs."""
    if not isinstance(departure, Plan):
        return None
    return departure.bounce_domain or author
