"""The questions one look at a domain asks, and which judgement each answer goes to.

Every answer is fresh and asked for once a look. Judging is `judge.py`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.identity.records import (
    include_name,
    key_text,
    name_server_names,
    required_records,
    selector_owner,
)
from soboo_mta.identity.state import (
    DomainSettings,
    KeyState,
    Operator,
    PublicKey,
    Purpose,
    RecordCheck,
    RecordStatus,
    RequiredRecord,
)
from soboo_mta.identity.web_hosts import web_host
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging import (
    judge,
    judge_host,
    judge_key,
    judge_policy,
    judge_spf,
)
from soboo_mta.onboarding.judging.judge import Finding, Text
from soboo_mta.onboarding.judging.judge_alias import Alias
from soboo_mta.onboarding.judging.targets import OurNames
from soboo_mta.onboarding.looking.around import Surroundings
from soboo_mta.onboarding.looking.astray import AstrayLook
from soboo_mta.onboarding.looking.dmarc import DmarcLook
from soboo_mta.onboarding.spf import spf_results
from soboo_mta.onboarding.spf.walk import spf_budget
from soboo_mta.ports import (
    Answer,
    Authority,
    Delegation,
    Found,
    NoData,
    NoName,
    RecordType,
    Resolver,
    Unanswered,
)


@dataclass(slots=True)
class Fresh:
    """A `Resolver` whose answers are new, and asked for once while it lives."""

    resolver: Resolver
    answers: dict[tuple[str, RecordType], Answer] = field(default_factory=dict)

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        if (name, kind) not in self.answers:
            answer = await self.resolver.lookup(name, kind, fresh=True)
            self.answers[(name, kind)] = answer
        return self.answers[(name, kind)]


class Look:
    """One look at one domain; made anew for each."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        settings: DomainSettings,
        operator: Operator,
        suffixes: Suffixes,
        authority: Authority | None = None,
        shared: Resolver | None = None,
        known: Mapping[DnsName, str] | None = None,
        dmarc_before: RecordCheck | None = None,
    ) -> None:
        """`known`: as in AstrayLook; `shared` and `dmarc_before`: as `shared` and
        `before` of DmarcLook."""
        self._authority = authority
        self._resolver = Fresh(resolver)
        self._settings = settings
        self._operator = operator
        self._surroundings = Surroundings(self._resolver, settings, suffixes)
        self._ours = our_names(settings, operator)
        self._astray = AstrayLook(self._surroundings, operator, known or {})
        self._dmarc = DmarcLook(
            resolver=self._resolver,
            shared=shared or self._resolver,
            settings=settings,
            operator=operator,
            suffixes=suffixes,
            surroundings=self._surroundings,
            before=dmarc_before,
        )

    async def finding(self, record: RequiredRecord) -> Finding:
        """Ask what this record needs and judge it. Never raises for what DNS says."""
        finding = await self._judged(record)
        answer = self.answered(record)
        return finding if answer is None else replace(finding, server=answer.server)

    async def reports(self) -> Finding | None:
        """As `DmarcLook.reports`."""
        return await self._dmarc.reports()

    def answered(self, record: RequiredRecord) -> Answer | None:
        """What was said when `record` was asked for; None where it was not yet."""
        return self._resolver.answers.get((record.owner, record.asked))

    async def _judged(self, record: RequiredRecord) -> Finding:
        match record.purpose:
            case Purpose.BOUNCE:
                return await self._bounce(record)
            case Purpose.AUTHOR_SELECTOR:
                # It leads into the zone, by no token: whose that is, its NS say.
                return replace(await self._selector(record), proves=False)
            case Purpose.SELECTOR if record.kind is RecordType.CNAME:
                return await self._selector(record)
            case Purpose.SELECTOR:
                return await self._pasted_key(record)
            case Purpose.OWNERSHIP if record.kind is RecordType.NS:
                return await self._delegation()
            case Purpose.OWNERSHIP:
                return await self._ownership(record)
            case Purpose.SPF:
                return await self._spf()
            case Purpose.LINK | Purpose.IMAGE:
                return await self._web_host(record)
            case Purpose.HELO:
                return await self._server_name(record)
            case Purpose.DMARC:
                return await self._dmarc.finding()

    # ---- CNAME mode

    async def _bounce(self, record: RequiredRecord) -> Finding:
        alias = self._alias(record)
        answer = await self._ask(record.owner, record.asked)
        if not alias.leads_to_us(answer):
            return await self._astray.finding(alias, record.asked, answer)
        finding = await returns_finding(
            self._settings.bounce_domain, self._operator, self._resolver
        )
        return judge_policy.proven(finding, alias.way(answer))

    async def _web_host(self, record: RequiredRecord) -> Finding:
        alias = self._alias(record)
        answer = await self._ask(record.owner, RecordType.A)
        if isinstance(answer, NoData):
            answer = await self._ask(record.owner, RecordType.AAAA)
        is_missing = isinstance(answer, NoName) and not answer.chain
        if isinstance(answer, Unanswered) or is_missing:
            return await self._astray.finding(alias, RecordType.A, answer)
        if alias.leads_to_us(answer):
            return judge_host.served_host(alias, answer)
        return judge_host.host_in_use(alias, answer)

    async def _server_name(self, record: RequiredRecord) -> Finding:
        answer = await self._ask(record.owner, record.kind)
        sources = [
            one for one in self._operator.sources if one.ehlo_name == record.owner
        ]
        if record.kind is not RecordType.TXT:
            addresses = [one.public_address for one in sources]
            return judge_host.server_name(record, answer, addresses)
        results = await spf_results(record.owner, sources, self._resolver)
        return judge_host.server_spf(record, answer, results)

    async def _selector(self, record: RequiredRecord) -> Finding:
        selector = record.selector or DnsName("")
        alias = self._alias(record)
        answer = await self._ask(record.owner, RecordType.TXT)
        if not alias.leads_to_us(answer):
            keys = self._keys_at(selector)
            return await self._astray.finding(alias, record.asked, answer, keys)
        return judge_key.served_key(alias, answer, self._keys_at(selector))

    # ---- by hand

    async def _pasted_key(self, record: RequiredRecord) -> Finding:
        answer = await self._ask(record.owner, RecordType.TXT)
        key = next(
            key
            for key in self._settings.keys
            if selector_owner(self._settings, key.selector) == record.owner
            and key_text(key) == record.value
        )
        others = [one for one in self._settings.keys if one != key]
        return await self._of_text(
            record,
            answer,
            lambda text: judge_key.pasted_key(text, answer, key, others),
        )

    async def _ownership(self, record: RequiredRecord) -> Finding:
        answer = await self._ask(record.owner, RecordType.TXT)
        return await self._of_text(
            record, answer, lambda text: judge.ownership(text, answer)
        )

    async def _of_text(
        self, record: RequiredRecord, answer: Answer, judged: Callable[[Text], Finding]
    ) -> Finding:
        """The finding for a TXT; where it is bad, with what is around its name."""
        text = Text(owner=record.owner, value=record.value)
        finding = judged(text)
        if finding.status is RecordStatus.GOOD or isinstance(answer, Unanswered):
            return finding
        around = await self._surroundings.of_text(record, answer)
        return judged(replace(text, around=around))

    async def _spf(self) -> Finding:
        name = self._settings.name
        answer = await self._ask(name, RecordType.TXT)
        if isinstance(answer, Unanswered):
            return judge.unknown(answer)
        results = await spf_results(name, self._operator.sources, self._resolver)
        # The whole tree is dear: it is walked where something is wrong alone.
        is_suspect = bool(results.others) or judge_spf.is_open(answer)
        budget = await spf_budget(name, self._resolver) if is_suspect else None
        wanted = judge_spf.Wanted(
            name=name, include=include_name(self._operator), budget=budget
        )
        return judge_spf.author_spf(wanted, answer, results)

    # ---- a zone delegated to us

    async def _delegation(self) -> Finding:
        answer = await self._delegated()
        wanted = name_server_names(self._settings, self._operator)
        nothing = not isinstance(answer, Found | Unanswered)
        finding = judge_policy.delegation(
            self._settings.home,
            answer,
            wanted,
            self._ours,
            await self._surroundings.unregistered() if nothing else None,
        )
        if not finding.proves:
            return finding
        served = await returns_finding(
            self._settings.bounce_domain, self._operator, self._resolver
        )
        live = [k for k in self._settings.keys if k.state is not KeyState.REVOKED]
        keys = {
            key: await self._ask(
                selector_owner(self._settings, key.selector), RecordType.TXT
            )
            for key in live
        }
        finding = judge_policy.zone_served(finding, served, keys)
        return replace(finding, web=await self._web_in_zone())

    async def _web_in_zone(self) -> tuple[Purpose, ...]:
        """The link and image hosts that have an address there."""
        found = []
        for purpose in sorted(self._operator.open_doors):
            name = web_host(self._settings, purpose)
            for kind in (RecordType.A, RecordType.AAAA):
                if isinstance(await self._ask(name, kind), Found):
                    found.append(purpose)
                    break
        return tuple(found)

    async def _delegated(self) -> Answer:
        """The NS of the zone: those of the zone above, which the customer has written,
        where it can be asked. The zone itself may not be served yet."""
        home = self._settings.home
        if self._authority is not None:
            answer = _as_answer(await self._authority.delegation(home))
            self._resolver.answers[(home, RecordType.NS)] = answer
            return answer
        return await self._ask(home, RecordType.NS)

    async def _ask(self, name: str, kind: RecordType) -> Answer:
        return await self._resolver.lookup(name, kind)

    def _alias(self, record: RequiredRecord) -> Alias:
        target = DnsName(record.value.removesuffix("."))
        return Alias(owner=record.owner, target=target, ours=self._ours)

    def _keys_at(self, selector: DnsName) -> tuple[PublicKey, ...]:
        return tuple(k for k in self._settings.keys if k.selector == selector)


def _as_answer(found: Delegation | Unanswered) -> Answer:
    if isinstance(found, Unanswered):
        return found
    if not found.servers:
        return NoData(chain=(), ttl=0, server=found.server)
    return Found(records=found.servers, chain=(), ttl=0, server=found.server)


def our_names(settings: DomainSettings, operator: Operator) -> OurNames:
    """The names that this domain's records lead to, to tell them from others'."""
    return OurNames(
        operator=operator.domain,
        token=settings.token,
        targets=tuple(
            (record.owner, DnsName(record.value.removesuffix(".")))
            for record in required_records(settings, operator)
            if record.kind is RecordType.CNAME
        ),
    )


async def returns_finding(
    domain: Domain, operator: Operator, resolver: Resolver
) -> Finding:
    """Whether returns to `domain` reach our hosts, and for which sources its SPF is pass."""
    answer = await resolver.lookup(domain, RecordType.MX, fresh=True)
    if isinstance(answer, Unanswered):
        return judge.unknown(answer)
    results = await spf_results(domain, operator.sources, resolver)
    return judge_policy.returns(domain, answer, results, operator.mx_hosts)
