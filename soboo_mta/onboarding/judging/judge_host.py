"""What DNS says about hosts under the customer's name: links, images, our EHLO names. Pure,
as `judge.py`.

Nothing here is worth breaking what a customer has: a name that is in use stays as it is.
"""

from collections.abc import Iterable

from soboo_mta.identity.state import Fault, RecordStatus, RequiredRecord
from soboo_mta.onboarding.judging.judge import Finding, absent, shown, unknown
from soboo_mta.onboarding.judging.judge_alias import Alias
from soboo_mta.onboarding.spf.results import SpfResults
from soboo_mta.ports import (
    Answer,
    Found,
    IpAddress,
    NoData,
    NoName,
    RecordType,
    Unanswered,
)


def served_host(alias: Alias, answer: Found | NoData | NoName) -> Finding:
    """The finding for addresses asked for at a name that leads to our target."""
    found = alias.way(answer)
    if isinstance(answer, Found):
        return Finding(status=RecordStatus.GOOD, found=found, ttl=answer.ttl)
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.OPERATOR_HOST,
        found=found,
        cause=f"{alias.target} has no address",
        mend="the operator publishes what `soboo-mta domain records --operator` shows",
        ttl=answer.ttl,
    )


def host_in_use(alias: Alias, answer: Found | NoData | NoName) -> Finding:
    """The finding for a name that somebody else's records stand at."""
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.WRONG_TARGET if answer.chain else Fault.CONFLICT,
        found=f"CNAME {answer.chain[0]}." if answer.chain else shown(answer),
        cause=f"{alias.owner} is in use for something else",
        mend=f"leave it; where nobody needs it any more, {alias.mend}",
        ttl=answer.ttl,
    )


def server_name(
    record: RequiredRecord, answer: Answer, addresses: Iterable[IpAddress]
) -> Finding:
    """The finding for addresses of one family asked for at an EHLO name: `addresses` are
    those of the sources that say it."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    family = 4 if record.kind is RecordType.A else 6
    wanted = {one for one in addresses if one.version == family}
    if isinstance(answer, Found) and wanted <= set(answer.records):
        return _good(answer)
    return _not_good(record, answer)


def server_spf(record: RequiredRecord, answer: Answer, results: SpfResults) -> Finding:
    """The finding for SPF of an EHLO name, which a null reverse-path is checked against
    (RFC 7208 §2.4)."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if results.unknown:
        return unknown(Unanswered(cause=f"SPF of {record.owner}: {results.others}"))
    if isinstance(answer, Found) and not results.others:
        return _good(answer)
    return _not_good(record, answer)


def _good(answer: Found) -> Finding:
    return Finding(status=RecordStatus.GOOD, found=shown(answer), ttl=answer.ttl)


def _not_good(record: RequiredRecord, answer: Found | NoData | NoName) -> Finding:
    is_there = isinstance(answer, Found)
    return Finding(
        status=RecordStatus.WRONG if is_there else RecordStatus.MISSING,
        fault=Fault.WRONG_VALUE if is_there else absent(answer),
        found=shown(answer),
        cause=f"{record.owner} does not say {record.value}"
        if is_there
        else f"{record.owner} has no {record.kind}",
        mend=f"publish {record.owner} {record.kind} {record.value}",
        ttl=answer.ttl,
    )
