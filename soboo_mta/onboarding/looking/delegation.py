"""Why a record is not as it should be where the fault is in the zone, not in the record.

Each server of the zone is asked by itself, and the zone above: servers that disagree, that
know nothing of the zone, a broken chain of trust. Asked where something is wrong alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from soboo_mta.identity.state import Fault, RecordStatus, RequiredRecord
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.judging.judge import Finding, shown
from soboo_mta.ports import (
    Answer,
    Authority,
    Delegation,
    Found,
    NoName,
    ServerAnswer,
    Unanswered,
)


@dataclass(frozen=True, slots=True)
class ZoneDoctor:
    """Looks behind findings that are not good."""

    authority: Authority

    async def explained(self, record: RequiredRecord, finding: Finding) -> Finding:
        """Return `finding` with the zone's own fault as its cause, where there is one."""
        if finding.status is RecordStatus.GOOD:
            return finding
        is_unknown = finding.status is RecordStatus.UNKNOWN
        if is_unknown and await self.authority.is_bogus(record.owner, record.kind):
            return await self._untrusted(record, finding)
        answers = await self.authority.each(record.owner, record.kind)
        if isinstance(answers, Unanswered):
            return finding
        said = _by_what_is_said(answers)
        if len(said) > 1:
            return _split(record, finding, said)
        if is_unknown and not said:
            return _lame(finding, answers)
        return finding

    async def _untrusted(self, record: RequiredRecord, finding: Finding) -> Finding:
        zone, delegation = await self._zone_of(record.owner)
        if delegation is not None and delegation.has_keys is False:
            return replace(
                finding,
                fault=Fault.ORPHAN_DS,
                cause=f"the zone above vouches for keys (DS) of {zone}, and {zone} is not"
                " signed: resolvers that validate refuse all of it",
                mend=f"remove the DS records of {zone} where it is registered, or sign it",
            )
        return replace(
            finding,
            fault=Fault.BOGUS,
            cause=f"DNSSEC of {zone} is broken: resolvers that validate refuse its answers",
            mend=f"have {zone} signed anew, and compare its DS records with its keys",
        )

    async def _zone_of(self, name: DnsName) -> tuple[DnsName, Delegation | None]:
        """The lowest zone that `name` is in, as the zones above say."""
        labels = name.labels
        for cut in range(len(labels) - 1):
            zone = DnsName(".".join(labels[cut:]))
            found = await self.authority.delegation(zone)
            if isinstance(found, Delegation) and found.servers:
                return zone, found
        return name, None


def _lame(finding: Finding, answers: Iterable[ServerAnswer]) -> Finding:
    servers = ", ".join(one.server for one in answers)
    return replace(
        finding,
        fault=Fault.LAME_SERVERS,
        cause=f"the name servers of the zone do not answer for it: {servers}",
        mend="where the domain is registered, name the servers that have the zone, and no"
        " others",
    )


def _by_what_is_said(answers: Iterable[ServerAnswer]) -> dict[str, list[DnsName]]:
    said: defaultdict[str, list[DnsName]] = defaultdict(list)
    for one in answers:
        if not isinstance(one.answer, Unanswered):
            said[_in_words(one.answer)].append(one.server)
    return dict(said)


def _in_words(answer: Answer) -> str:
    if isinstance(answer, Found):
        ordered = replace(answer, records=tuple(sorted(answer.records, key=str)))
        return shown(ordered)
    return "no such name" if isinstance(answer, NoName) else "nothing of this type"


def _split(
    record: RequiredRecord, finding: Finding, said: dict[str, list[DnsName]]
) -> Finding:
    voices = "; ".join(
        f"{', '.join(servers)} {'say' if len(servers) > 1 else 'says'} {what}"
        for what, servers in said.items()
    )
    return replace(
        finding,
        fault=Fault.SPLIT_SERVERS,
        cause=f"the zone's servers disagree about {record.owner} {record.kind}: {voices}",
        mend="have the zone transferred to all of its servers; if it was moved, name only"
        " the new ones where it is registered",
    )
