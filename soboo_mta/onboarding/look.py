"""The questions one look at a domain asks, and which judgement each answer goes to.

Every answer is fresh and asked for once a look. Judging is `judge.py`'s.
"""

from dataclasses import dataclass, field

from soboo_mta.identity.dmarc import (
    Suffixes,
    names_to_ask,
    names_to_ask_by_suffix,
    view_by_suffix_list,
    view_by_walk,
)
from soboo_mta.identity.records import (
    include_name,
    key_text,
    name_server_names,
    selector_owner,
)
from soboo_mta.identity.state import (
    DomainSettings,
    KeyState,
    Operator,
    PublicKey,
    Purpose,
    RequiredRecord,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging import judge, judge_key, judge_policy, judge_spf
from soboo_mta.onboarding.judging.judge import Alias, Finding, Text
from soboo_mta.onboarding.spf import spf_results
from soboo_mta.onboarding.spf.walk import spf_budget
from soboo_mta.ports import (
    Answer,
    Authority,
    Found,
    NoData,
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
    ) -> None:
        self._authority = authority
        self._resolver = Fresh(resolver)
        self._settings = settings
        self._operator = operator
        self._suffixes = suffixes

    async def finding(self, record: RequiredRecord) -> Finding:
        """Ask what this record needs and judge it. Never raises for what DNS says."""
        match record.purpose:
            case Purpose.BOUNCE:
                return await self._bounce(record)
            case Purpose.AUTHOR_SELECTOR:
                return await self._selector(record)
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
            case Purpose.DMARC:
                return await self._dmarc()

    # ---- CNAME mode

    async def _bounce(self, record: RequiredRecord) -> Finding:
        alias = _alias(record)
        answer = await self._ask(record.owner, RecordType.MX)
        if not alias.leads_to_us(answer):
            return await self._astray(alias, answer)
        finding = await returns_finding(
            self._settings.bounce_domain, self._operator, self._resolver
        )
        return judge_policy.proven(finding, f"CNAME {alias.target}.")

    async def _selector(self, record: RequiredRecord) -> Finding:
        selector = record.selector or DnsName("")
        alias = _alias(record)
        answer = await self._ask(record.owner, RecordType.TXT)
        if not alias.leads_to_us(answer):
            return await self._astray(alias, answer)
        return judge_key.served_key(alias, answer, self._keys_at(selector))

    async def _astray(self, alias: Alias, answer: Answer) -> Finding:
        """The finding for a name that did not lead through our target."""
        if isinstance(answer, Unanswered):
            # What is behind the CNAME is silent; the CNAME itself may still be known.
            answer = await self._alias_alone(alias)
        if isinstance(answer, Unanswered):
            return judge.unknown(answer)
        if not isinstance(answer, Found) and not answer.chain:
            alias = Alias(
                owner=alias.owner,
                target=alias.target,
                doubled=await self._doubled(alias.owner, RecordType.CNAME),
            )
        return judge.wrong_alias(alias, answer)

    async def _alias_alone(self, alias: Alias) -> Answer:
        answer = await self._ask(alias.owner, RecordType.CNAME)
        if not isinstance(answer, Found):
            return answer
        target = DnsName(str(answer.records[0]))
        if target == alias.target:
            return Unanswered(cause=f"{alias.target} gives no answer")
        return NoData(chain=(target,), ttl=answer.ttl)

    async def _doubled(self, owner: DnsName, kind: RecordType) -> DnsName | None:
        """The owner with the zone's name appended twice, where it exists: many DNS
        hosts append the zone's name to what is typed."""
        zone = self._suffixes.organizational_domain(self._settings.name)
        for name in dict.fromkeys((self._settings.name, zone)):
            doubled = DnsName(f"{owner}.{name}")
            if isinstance(await self._ask(doubled, kind), Found):
                return doubled
        return None

    # ---- by hand

    async def _pasted_key(self, record: RequiredRecord) -> Finding:
        answer = await self._ask(record.owner, RecordType.TXT)
        text = await self._text(record, answer)
        key = next(
            key
            for key in self._settings.keys
            if selector_owner(self._settings, key.selector) == record.owner
            and key_text(key) == record.value
        )
        others = [one for one in self._settings.keys if one != key]
        return judge_key.pasted_key(text, answer, key, others)

    async def _ownership(self, record: RequiredRecord) -> Finding:
        answer = await self._ask(record.owner, RecordType.TXT)
        return judge.ownership(await self._text(record, answer), answer)

    async def _text(self, record: RequiredRecord, answer: Answer) -> Text:
        doubled = None
        if not isinstance(answer, Found | Unanswered):
            doubled = await self._doubled(record.owner, RecordType.TXT)
        return Text(owner=record.owner, value=record.value, doubled=doubled)

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
        finding = judge_policy.delegation(self._settings.home, answer, wanted)
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
        return judge_policy.zone_served(finding, served, keys)

    async def _delegated(self) -> Answer:
        """The NS of the zone: those of the zone above, which the customer has written,
        where it can be asked. The zone itself may not be served yet."""
        home = self._settings.home
        if self._authority is not None:
            found = await self._authority.delegation(home)
            if isinstance(found, Unanswered):
                return found
            if found.servers:
                return Found(records=found.servers, chain=(), ttl=0)
            return NoData(chain=(), ttl=0)
        return await self._ask(home, RecordType.NS)

    # ---- DMARC

    async def _dmarc(self) -> Finding:
        author = self._settings.name
        others = self._others()
        names = dict.fromkeys(
            name for domain in (author, *others) for name in names_to_ask(domain)
        )
        names |= dict.fromkeys(names_to_ask_by_suffix(author, self._suffixes))
        texts: dict[DnsName, tuple[str, ...]] = {}
        silent: list[Unanswered] = []
        for name in names:
            answer = await self._ask(name, RecordType.TXT)
            if isinstance(answer, Unanswered):
                silent.append(answer)
            else:
                texts[name] = judge.texts(answer)
        own = await self._ask(DnsName(f"_dmarc.{author}"), RecordType.TXT)
        finding = judge_policy.dmarc(
            author,
            texts,
            walk=view_by_walk(author, others, texts),
            suffix_list=view_by_suffix_list(author, others, texts, self._suffixes),
            ttl=0 if isinstance(own, Unanswered) else own.ttl,
        )
        return judge_policy.half_known(finding, texts, author, silent)

    def _others(self) -> tuple[Domain, ...]:
        """The names that may authenticate; the operator's where they could align."""
        author, operator = self._settings.name, self._operator
        others = [self._settings.home, self._settings.bounce_domain]
        if operator.domain.labels[-2:] == author.labels[-2:]:
            others += [operator.domain, operator.bounce_domain]
        return tuple(others)

    async def _ask(self, name: str, kind: RecordType) -> Answer:
        return await self._resolver.lookup(name, kind)

    def _keys_at(self, selector: DnsName) -> tuple[PublicKey, ...]:
        return tuple(k for k in self._settings.keys if k.selector == selector)


def _alias(record: RequiredRecord) -> Alias:
    return Alias(owner=record.owner, target=DnsName(record.value.removesuffix(".")))


async def returns_finding(
    domain: Domain, operator: Operator, resolver: Resolver
) -> Finding:
    """Whether returns to `domain` reach our hosts, and for which sources its SPF is pass."""
    answer = await resolver.lookup(domain, RecordType.MX, fresh=True)
    if isinstance(answer, Unanswered):
        return judge.unknown(answer)
    results = await spf_results(domain, operator.sources, resolver)
    return judge_policy.returns(domain, answer, results, operator.mx_hosts)
