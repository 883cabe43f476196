"""What DNS answers say about bounce hosts, delegations and DMARC of a domain.

Pure, as `judge.py`, which judges names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from soboo_mta.identity.dmarc import Texts, names_to_ask, record_at, record_texts
from soboo_mta.identity.state import DmarcView, PublicKey, RecordStatus
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging.judge import Finding, printable, shown, texts, unknown
from soboo_mta.onboarding.judging.judge_key import is_served
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
        return Finding(
            status=RecordStatus.WRONG,
            found=f"MX {shown(answer)}" if found else "",
            cause=f"the MX of {domain} are not the operator's",
            mend=f"the operator publishes MX {wanted} where {domain} leads",
            ttl=answer.ttl,
            bounce=False,
            spf=spf.passing,
        )
    if spf.unknown:
        return Finding(
            status=RecordStatus.UNKNOWN,
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


def proven(finding: Finding, found: str) -> Finding:
    """`finding` of a name that leads to us by `found`: this shows whose it is."""
    return replace(finding, proves=True, found=f"{found} {finding.found}".rstrip())


def _mx_hosts(answer: Answer) -> set[str]:
    if not isinstance(answer, Found):
        return set()
    return {r.host for r in answer.records if isinstance(r, MxRecord)}


# ---- a delegated zone


def delegation(name: Domain, answer: Answer, wanted: tuple[DnsName, ...]) -> Finding:
    """The finding for the NS records that delegate the zone to us."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    found = set(texts(answer))
    hosts = ", ".join(f"{host}." for host in wanted)
    if found == set(wanted):
        return Finding(
            status=RecordStatus.GOOD, found=f"NS {hosts}", ttl=answer.ttl, proves=True
        )
    return Finding(
        status=RecordStatus.WRONG if found else RecordStatus.MISSING,
        found=f"NS {shown(answer)}" if found else "",
        cause=f"{name} is not delegated to us alone",
        mend=f"in the parent zone, delegate {name} to NS {hosts} and to no other",
        ttl=answer.ttl,
    )


def zone_served(
    finding: Finding, served: Finding, keys: Mapping[PublicKey, Answer]
) -> Finding:
    """The delegation's finding with what the zone behind it serves."""
    usable = tuple(k.key_id for k, answer in keys.items() if is_served(answer, k))
    unanswered = tuple(
        k.key_id for k, answer in keys.items() if isinstance(answer, Unanswered)
    )
    silent = served.status is RecordStatus.UNKNOWN or bool(unanswered)
    return replace(
        finding,
        status=RecordStatus.UNKNOWN if silent else finding.status,
        cause="the zone's servers gave no answer" if silent else finding.cause,
        usable=usable,
        unanswered=unanswered,
        bounce=served.bounce,
        spf=served.spf,
        spf_unknown=served.spf_unknown,
    )


# ---- DMARC


def dmarc(
    author: Domain,
    found: Texts,
    *,
    walk: DmarcView,
    suffix_list: DmarcView,
    ttl: int,
) -> Finding:
    """The finding for DMARC; `found` holds the TXT of every name of both walks."""
    own = record_texts(found.get(DnsName(f"_dmarc.{author}"), ()))
    applied = next(
        (
            f"{name} {text}"
            for name in names_to_ask(author)
            for text in record_texts(found.get(name, ()))
            if record_at(found[name])
        ),
        "",
    )
    if own and record_at(own) is None:
        several = len(own) > 1
        return Finding(
            status=RecordStatus.WRONG,
            found=printable(", ".join(own)),
            cause=(
                f"{len(own)} DMARC records are there, which counts as none"
                if several
                else "the DMARC record has no valid p= (RFC 9989 §4.7)"
            ),
            mend="keep one" if several else "write p=none, p=quarantine or p=reject",
            walk=walk,
            suffix_list=suffix_list,
            ttl=ttl,
        )
    if walk.has_record:
        return Finding(
            status=RecordStatus.GOOD,
            found=printable(applied),
            walk=walk,
            suffix_list=suffix_list,
            ttl=ttl,
        )
    return Finding(
        status=RecordStatus.MISSING,
        cause=f"no DMARC record applies to {author}: large receivers ask for one",
        mend=f'publish _dmarc.{author} TXT "v=DMARC1; p=none"',
        walk=walk,
        suffix_list=suffix_list,
        ttl=ttl,
    )


def half_known(
    finding: Finding, found: Texts, author: Domain, silent: Sequence[Unanswered]
) -> Finding:
    """`finding` where some names of the walks gave no answer.

    The record of the author's own domain decides how to align, whatever is silent; with
    whom is known by all names alone. Without that record nothing is.
    """
    if not silent:
        return finding
    if record_at(found.get(DnsName(f"_dmarc.{author}"), ())) is None:
        return unknown(silent[0])
    assert finding.walk is not None
    silence = unknown(silent[0])
    return replace(
        silence,
        found=finding.found,
        cause=f"the record is there; names above it were silent: {silence.cause}",
        walk=replace(finding.walk, organizational=()),
        suffix_list=finding.suffix_list,
    )
