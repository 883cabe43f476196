"""What DNS answers say about bounce hosts and delegations of a domain.

Pure, as `judge.py`, which judges names.
"""

from collections.abc import Mapping
from dataclasses import replace

from soboo_mta.identity.state import Fault, PublicKey, RecordStatus
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging.judge import (
    Around,
    Finding,
    misplaced,
    shown,
    texts,
    unknown,
)
from soboo_mta.onboarding.judging.judge_key import is_served
from soboo_mta.onboarding.judging.targets import OurNames, stray
from soboo_mta.onboarding.spf import SpfResults
from soboo_mta.ports import Answer, Found, MxRecord, Unanswered


def returns(
    domain: Domain, answer: Answer, spf: SpfResults, hosts: tuple[Domain, ...]
) -> Finding:
    """The finding for a bounce domain: MX are ours alone, SPF names our sources."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    found = _mx_hosts(answer)
    if not found or not found <= set(hosts):
        wanted = ", ".join(f"{host}." for host in hosts)
        fault, cause = _wrong_mx(domain, found, set(hosts))
        return Finding(
            status=RecordStatus.WRONG,
            fault=fault,
            found=f"MX {shown(answer)}" if found else "",
            cause=cause,
            mend=f"the operator publishes MX {wanted} where {domain} leads",
            ttl=answer.ttl,
            bounce=False,
            spf=spf.passing,
        )
    if spf.unknown:
        return Finding(
            status=RecordStatus.UNKNOWN,
            fault=Fault.NO_ANSWER,
            cause=f"SPF of {domain} got no answer: {spf.others}",
            mend="nothing yet: we ask again",
            ttl=answer.ttl,
            bounce=True,
            spf=spf.passing,
            spf_unknown=spf.unknown,
        )
    if not spf.passing:
        return Finding(
            status=RecordStatus.WRONG,
            fault=Fault.OPERATOR_SPF,
            found=f"MX {shown(answer)}",
            cause=f"SPF of {domain} names no source of ours: {spf.others}",
            mend=f"the operator publishes SPF for its sources where {domain} leads",
            ttl=answer.ttl,
            bounce=True,
            spf=(),
        )
    return Finding(
        status=RecordStatus.GOOD,
        found=f"MX {shown(answer)}",
        ttl=answer.ttl,
        bounce=True,
        spf=spf.passing,
    )


def _wrong_mx(domain: Domain, found: set[str], ours: set[Domain]) -> tuple[Fault, str]:
    if not found:
        return Fault.NO_MX, f"{domain} has no MX, so bounces have nowhere to go"
    if found == {""}:
        return (
            Fault.NULL_MX,
            f"the MX of {domain} is the null MX, which refuses all mail (RFC 7505 §3)",
        )
    foreign = ", ".join(sorted(host or "." for host in found - ours))
    return (
        Fault.FOREIGN_MX,
        f"the MX of {domain} are not the operator's alone: bounces would go to {foreign}",
    )


def proven(finding: Finding, found: str) -> Finding:
    """`finding` of a name that leads to us by `found`: this shows whose it is."""
    return replace(finding, proves=True, found=f"{found} {finding.found}".rstrip())


def _mx_hosts(answer: Answer) -> set[str]:
    if not isinstance(answer, Found):
        return set()
    return {r.host for r in answer.records if isinstance(r, MxRecord)}


# ---- a delegated zone


def delegation(
    name: Domain,
    answer: Answer,
    wanted: tuple[DnsName, ...],
    ours: OurNames,
    unregistered: DnsName | None = None,
) -> Finding:
    """The finding for the NS records that delegate the zone to us; `unregistered` as in
    Around."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    found = set(texts(answer))
    hosts = ", ".join(f"{host}." for host in wanted)
    if found == set(wanted):
        return Finding(
            status=RecordStatus.GOOD, found=f"NS {hosts}", ttl=answer.ttl, proves=True
        )
    mend = f"in the parent zone, delegate {name} to NS {hosts} and to no other"
    if not found:
        around = Around(unregistered=unregistered)
        return misplaced(around, name, mend, answer) or Finding(
            status=RecordStatus.MISSING,
            fault=Fault.NOT_DELEGATED,
            cause=f"{name} is not delegated",
            mend=mend,
            ttl=answer.ttl,
        )
    fault, cause = _wrong_servers(found, wanted, ours)
    return Finding(
        status=RecordStatus.WRONG,
        fault=fault,
        found=f"NS {shown(answer)}",
        cause=f"{name} is not delegated to us alone: {cause}",
        mend=mend,
        ttl=answer.ttl,
    )


def _wrong_servers(
    found: set[str], wanted: tuple[DnsName, ...], ours: OurNames
) -> tuple[Fault, str]:
    foreign = sorted(found - set(wanted))
    if not foreign:
        return (
            Fault.OTHER_SERVERS,
            f"{', '.join(sorted(set(wanted) - found))} is missing",
        )
    whose = stray(DnsName(foreign[0]), wanted[0], ours)
    fault = Fault.OTHER_SERVERS if whose.fault is Fault.WRONG_TARGET else whose.fault
    return fault, f"it names {foreign[0]}, {whose.words}"


def zone_served(
    finding: Finding, served: Finding, keys: Mapping[PublicKey, Answer]
) -> Finding:
    """The delegation's finding with what the zone behind it serves."""
    usable = tuple(k.key_id for k, answer in keys.items() if is_served(answer, k))
    unanswered = tuple(
        k.key_id for k, answer in keys.items() if isinstance(answer, Unanswered)
    )
    silent = served.status is RecordStatus.UNKNOWN or bool(unanswered)
    # The customer's part is done where the zone lacks something: that is the operator's.
    return replace(
        finding,
        status=RecordStatus.UNKNOWN if silent else finding.status,
        fault=Fault.NO_ANSWER if silent else served.fault,
        cause="the zone's servers gave no answer" if silent else served.cause,
        mend="nothing yet: we ask again" if silent else served.mend,
        usable=usable,
        unanswered=unanswered,
        bounce=served.bounce,
        spf=served.spf,
        spf_unknown=served.spf_unknown,
    )
