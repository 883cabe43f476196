"""The questions one look at a domain asks about DMARC: the names of both walks, and where
strict alignment or a report address raises them, the next ones.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from soboo_mta.identity.dmarc import (
    Suffixes,
    names_to_ask,
    names_to_ask_by_suffix,
    record_texts,
    report_hosts,
    view_by_suffix_list,
    view_by_walk,
)
from soboo_mta.identity.dmarc_merge import reports_to
from soboo_mta.identity.state import (
    Alignment,
    DomainSettings,
    Fault,
    KeyState,
    Mode,
    Operator,
    RecordCheck,
    RecordStatus,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging import judge, judge_dmarc
from soboo_mta.onboarding.judging.judge import Finding
from soboo_mta.onboarding.judging.judge_dmarc import Authenticated, Seen
from soboo_mta.onboarding.judging.judge_key import is_served
from soboo_mta.onboarding.looking.around import Sought, Surroundings
from soboo_mta.ports import Answer, NoName, RecordType, Resolver, Unanswered

_MAX_HOSTS = 4  # of a rua=, that are asked whether they agree


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcLook:
    """Asks about DMARC of one domain. `before`: what the last look said; None: new, or
    a person asks, so that whoever is to take reports is asked too. `shared` is asked
    about names above the organization, through its cache: all domains ask for them."""

    resolver: Resolver
    shared: Resolver
    settings: DomainSettings
    operator: Operator
    suffixes: Suffixes
    surroundings: Surroundings
    before: RecordCheck | None

    async def finding(self) -> Finding:
        """Ask and judge. Never raises for what DNS says."""
        author, others = self.settings.name, self._others()
        texts, silent = await self._texts((author, *others))
        own = await self._ask(DnsName(f"_dmarc.{author}"))
        seen = Seen(
            author=author,
            texts=texts,
            walk=view_by_walk(author, others, texts),
            suffix_list=view_by_suffix_list(author, others, texts, self.suffixes),
            ttl=0 if isinstance(own, Unanswered) else own.ttl,
        )
        finding = judge_dmarc.dmarc(seen)
        if silent:
            return judge_dmarc.half_known(finding, texts, author, silent)
        if finding.fault is Fault.DMARC_MISSING:
            return judge_dmarc.dmarc(seen, await self._around(isinstance(own, NoName)))
        if finding.status is not RecordStatus.GOOD:
            return finding
        finding = judge_dmarc.strict(seen, finding, await self._authenticated(seen))
        return await self._with_reports(seen, finding)

    async def reports(self) -> Finding | None:
        """Whether aggregate reports on the domain come to us; None where we take none.

        Asks what `finding` has asked, and our own zone. Never raises for what DNS says.
        """
        ours, author = self.operator.dmarc_reports, self.settings.name
        if ours is None:
            return None
        texts, silent = await self._texts((author,))
        applied = judge_dmarc.applied_record(author, texts)
        is_certain = applied is not None and applied[0] == f"_dmarc.{author}"
        if (
            silent and not is_certain
        ):  # the one that applies may be where nobody answers
            return judge.unknown(silent[0])
        if applied is None:
            return judge_dmarc.without_reports(author)
        name, text = applied
        if not reports_to(text, ours):
            return judge_dmarc.reports_elsewhere(author, name, ours)
        owner = DnsName(name.removeprefix("_dmarc."))
        answer = None
        if not self._is_one_organization(owner, ours.domain):
            answer = await self._ask(judge_dmarc.report_name(owner, ours.domain))
        return judge_dmarc.reports_taken(owner, ours.domain, answer)

    async def _texts(
        self, domains: Iterable[Domain]
    ) -> tuple[dict[DnsName, tuple[str, ...]], list[Unanswered]]:
        names = dict.fromkeys(name for one in domains for name in names_to_ask(one))
        names |= dict.fromkeys(
            names_to_ask_by_suffix(self.settings.name, self.suffixes)
        )
        top = self.suffixes.organizational_domain(self.settings.name)

        async def asked(name: DnsName) -> Answer:
            is_above = top.is_below(name.removeprefix("_dmarc."))
            resolver = self.shared if is_above else self.resolver
            return await resolver.lookup(name, RecordType.TXT)

        answers = zip(names, await asyncio.gather(*map(asked, names)), strict=True)
        texts: dict[DnsName, tuple[str, ...]] = {}
        silent: list[Unanswered] = []
        for name, answer in answers:
            if isinstance(answer, Unanswered):
                silent.append(answer)
            else:
                texts[name] = judge.texts(answer)
        return texts, silent

    def _others(self) -> tuple[Domain, ...]:
        """The names that may authenticate; the operator's where they could align."""
        author, operator = self.settings.name, self.operator
        others = [self.settings.home, self.settings.bounce_domain]
        if operator.domain.labels[-2:] == author.labels[-2:]:
            others += [operator.domain, operator.bounce_domain]
        return tuple(others)

    async def _around(self, is_no_name: bool) -> judge.Around:
        sought = Sought(
            owner=DnsName(f"_dmarc.{self.settings.name}"),
            kind=RecordType.TXT,
            is_it=lambda text: bool(record_texts([text])),
        )
        return await self.surroundings.of_missing(sought, is_no_name=is_no_name)

    # ---- what a good record asks of us

    async def _authenticated(self, seen: Seen) -> Authenticated:
        """The names of ours that a strict record is held against."""
        settings = self.settings
        match settings.mode:
            case Mode.MANUAL if not settings.keys:
                return Authenticated(dkim=(), spf=settings.name)
            case Mode.CNAME | Mode.ZONE:
                return Authenticated(
                    dkim=await self._signed_as(seen), spf=settings.bounce_domain
                )
            case Mode.MANUAL | Mode.RELAY | Mode.MAILBOX:
                return Authenticated(dkim=(settings.name,), spf=None)

    async def _signed_as(self, seen: Seen) -> tuple[Domain, ...]:
        """The d= of signatures; that of the From domain where a delegated zone lies below
        it and receivers find a key under it all the same."""
        name, home = self.settings.name, self.settings.home
        is_strict = Alignment.STRICT in (seen.walk.dkim, seen.suffix_list.dkim)
        if home == name or not is_strict:
            return (home,)
        for key in self.settings.keys:
            if key.state is KeyState.REVOKED:
                continue
            answer = await self._ask(DnsName(f"{key.selector}._domainkey.{name}"))
            if isinstance(answer, Unanswered) or is_served(answer, key):
                return (home, name)
        return (home,)

    async def _with_reports(self, seen: Seen, finding: Finding) -> Finding:
        """`finding`, or who refuses reports. A record that was looked into stays so while
        it is the same: others' zones are not asked at each look."""
        if seen.applied is None or finding.fault is not Fault.NONE:
            return finding
        if self._is_known(finding):
            return finding
        name, text = seen.applied
        owner = DnsName(name.removeprefix("_dmarc."))
        refusing = [
            host
            for host in report_hosts(text)[:_MAX_HOSTS]
            if await self._refuses(owner, host)
        ]
        return judge_dmarc.refused_reports(finding, owner, refusing)

    def _is_known(self, finding: Finding) -> bool:
        before = self.before
        if before is None:
            return False
        return before.found == finding.found and before.fault is Fault.NONE

    async def _refuses(self, owner: DnsName, host: Domain) -> bool:
        if self._is_one_organization(owner, host):
            return False
        answer = await self._ask(judge_dmarc.report_name(owner, host))
        if isinstance(answer, Unanswered):
            return False
        return not record_texts(judge.texts(answer))

    def _is_one_organization(self, owner: DnsName, host: Domain) -> bool:
        """Within one nobody has to agree to reports."""
        ours = self.suffixes.organizational_domain(Domain(owner))
        return self.suffixes.organizational_domain(host) == ours

    async def _ask(self, name: DnsName) -> Answer:
        return await self.resolver.lookup(name, RecordType.TXT)
