"""DMARC of a message that came in, by RFC 9989 and beside it by the public suffix list of
RFC 7489. Pure: the records are looked up by the caller.
"""

from collections.abc import Iterable, Mapping, Sequence

from soboo_mta.formats.authentication import (
    DmarcVerdict,
    Result,
    Rule,
    SignatureVerdict,
    SpfVerdict,
)
from soboo_mta.identity.alignment import aligned_by
from soboo_mta.identity.dmarc import (
    Suffixes,
    names_to_ask,
    names_to_ask_by_suffix,
    policy_by_walk,
    view_by_suffix_list,
    view_by_walk,
)
from soboo_mta.mail.domain import DnsName, Domain

Verdict = SpfVerdict | SignatureVerdict
Texts = tuple[str, ...] | None
"""The TXT records of one name; None where DNS gave no answer."""


def names_of_author(author: Domain, suffixes: Suffixes) -> tuple[DnsName, ...]:
    """Where the record may be that is in force for `author`, under either rule."""
    by_suffix = names_to_ask_by_suffix(author, suffixes)
    return tuple(dict.fromkeys((*names_to_ask(author), *by_suffix)))


def names_of_proven(author: Domain, verdicts: Iterable[Verdict]) -> tuple[DnsName, ...]:
    """Where the records may be that lead from what passed to its organization; a domain
    under another top-level domain is of another one."""
    names = (
        name
        for domain in _proven(verdicts)
        if domain != author and domain.labels[-1] == author.labels[-1]
        for name in names_to_ask(domain)
    )
    return tuple(dict.fromkeys(names))


def dmarc_verdict(
    author: Domain,
    spf: SpfVerdict,
    dkim: Sequence[SignatureVerdict],
    records: Mapping[DnsName, Texts],
    suffixes: Suffixes,
) -> DmarcVerdict:
    """Return the verdict; `records` are of the names that the other two functions give.

    Where a look-up had no answer, only a pass that does not rest on it is one.
    """
    texts = {name: found for name, found in records.items() if found is not None}
    for name in names_of_author(author, suffixes):
        if name not in texts:
            return DmarcVerdict(
                result=Result.TEMPERROR, author=author, cause=f"no answer for {name}"
            )
    published = policy_by_walk(author, texts)
    if published is None:
        return DmarcVerdict(result=Result.NONE, author=author, cause="no record")
    found_at, record = published
    verdicts: list[Verdict] = [spf, *dkim]
    silent = records.keys() - texts.keys()
    certain = [
        one
        for one in verdicts
        if one.domain and silent.isdisjoint(names_to_ask(one.domain))
    ]
    rules = _aligned_by(author, certain, texts, suffixes)
    result, cause = Result.PASS, ""
    if Rule.WALK not in rules:
        is_certain = not silent and all(
            one.result is not Result.TEMPERROR for one in verdicts
        )
        result = Result.FAIL if is_certain else Result.TEMPERROR
        cause = "nothing that passes aligns"
    return DmarcVerdict(
        result=result,
        author=author,
        policy=record.policy,
        found_at=DnsName(found_at),
        aligned_by=rules,
        cause=cause,
    )


def _aligned_by(
    author: Domain,
    verdicts: Sequence[Verdict],
    texts: Mapping[DnsName, tuple[str, ...]],
    suffixes: Suffixes,
) -> tuple[Rule, ...]:
    by_spf = _proven(one for one in verdicts if isinstance(one, SpfVerdict))
    by_dkim = _proven(one for one in verdicts if isinstance(one, SignatureVerdict))
    proven = (*by_spf, *by_dkim)
    views = {
        Rule.WALK: view_by_walk(author, proven, texts),
        Rule.SUFFIX_LIST: view_by_suffix_list(author, proven, texts, suffixes),
    }
    return tuple(
        rule
        for rule, view in views.items()
        if aligned_by(
            author,
            view,
            spf_domain=by_spf[0] if by_spf else None,
            dkim_domains=by_dkim,
        )
    )


def _proven(
    verdicts: Iterable[Verdict],
) -> tuple[Domain, ...]:
    return tuple(
        one.domain
        for one in verdicts
        if one.result is Result.PASS and one.domain is not None
    )
