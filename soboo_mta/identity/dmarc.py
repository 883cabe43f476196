"""DMARC records and what two generations of receivers read out of them.

RFC 9989 §4.10 finds policy and Organizational Domain by a walk up the DNS tree; the
receivers of its predecessor (RFC 7489 §3.2) by the public suffix list. Both views are
pure functions over a mapping from name to the TXT values found there; the look-ups are
the caller's.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from publicsuffixlist import PublicSuffixList

from soboo_mta.identity.state import Alignment, DmarcView
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError

MAX_WALK = 8  # look-ups of one walk, RFC 9989 §4.10: it can't be driven for ever
Texts = Mapping[DnsName, tuple[str, ...]]
"""`_dmarc.` name → its TXT values; a name that is missing has none."""

_POLICIES = ("none", "quarantine", "reject")
_LOWER = {"reject": "quarantine", "quarantine": "none", "none": "none"}
_VERSION = re.compile(r"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcRecord:
    """One DMARC policy record (RFC 9989 §4.7); unknown and withdrawn tags are dropped.

    `policy` is "none" also where it was absent or no policy and a rua made up for it.
    """

    policy: str
    subdomain_policy: str
    nonexistent_policy: str
    dkim: Alignment
    spf: Alignment
    psd: str  # y | n | u
    is_test: bool
    is_applied: bool = True  # False: no policy and no rua, so DMARC is not applied

    def policy_for(self, *, is_own: bool, exists: bool = True) -> str:
        """Return the policy for an Author Domain: the record's own, a subdomain that
        exists, or one that does not; t=y lowers it by one (RFC 9989 §4.7, §4.10.1)."""
        policy = self.policy
        if not is_own:
            policy = self.subdomain_policy if exists else self.nonexistent_policy
        return _LOWER[policy] if self.is_test else policy


def parse_record(text: str) -> DmarcRecord | None:
    """Return the record in one TXT value, or None where DMARC does not apply to it."""
    record = _declared(text)
    return record if record is not None and record.is_applied else None


def _declared(text: str) -> DmarcRecord | None:
    """Return what one TXT value says, applied or not; None where it is no DMARC record."""
    if not _VERSION.match(text):
        return None
    tags = _tags(text)
    policy = tags.get("p", "").lower()
    is_applied = True
    broken = policy not in _POLICIES or any(
        tags[tag].lower() not in _POLICIES for tag in ("sp", "np") if tag in tags
    )
    if broken:
        is_applied = _has_report_address(tags.get("rua", ""))
        policy = "none"
        tags = {**tags, "sp": "none", "np": "none"}
    subdomain = tags.get("sp", policy).lower()
    return DmarcRecord(
        policy=policy,
        subdomain_policy=subdomain,
        nonexistent_policy=tags.get("np", subdomain).lower(),
        dkim=_alignment(tags.get("adkim", "r")),
        spf=_alignment(tags.get("aspf", "r")),
        psd=_psd(tags.get("psd", "u")),
        is_test=tags.get("t", "n").lower() == "y",
        is_applied=is_applied,
    )


def record_at(texts: Iterable[str]) -> DmarcRecord | None:
    """Return the record of one name; several records there count as none."""
    candidates = record_texts(texts)
    return parse_record(candidates[0]) if len(candidates) == 1 else None


def record_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return those of a name's TXT values that begin as a DMARC record does."""
    return tuple(text for text in texts if _VERSION.match(text))


def report_hosts(text: str) -> tuple[Domain, ...]:
    """Return the domains that the rua= of a record sends reports to (RFC 9990 §4), each
    once; what is no mailto: address is left out, as receivers leave it."""
    found = []
    for uri in _tags(text).get("rua", "").split(","):
        scheme, _, address = uri.strip().partition(":")
        host = address.partition("!")[0].partition("?")[0].rpartition("@")[2]
        if scheme.lower() == "mailto" and _is_domain(host):
            found.append(Domain.parse(host))
    return tuple(dict.fromkeys(found))


# ---- the tree walk


def names_to_ask(name: DnsName) -> tuple[DnsName, ...]:
    """Return every `_dmarc.` name that a walk from `name` can ask, at most eight."""
    return tuple(DnsName(f"_dmarc.{step}") for step in _steps(name))


def organizational_domain(name: Domain, texts: Texts) -> Domain:
    """Return the Organizational Domain of `name` by the tree walk (RFC 9989 §4.10.2)."""
    return _organizational(name, _walk(name, texts))


def _organizational(name: Domain, found: list[tuple[str, DmarcRecord]]) -> Domain:
    for step, record in found:
        if record.psd == "n":
            return Domain(step)
        if record.psd == "y" and step != name:
            return _one_below(name, step)
    return Domain(found[-1][0]) if found else name


def view_by_walk(
    author: Domain, others: Iterable[Domain], texts: Texts, *, exists: bool = True
) -> DmarcView:
    """Return what a receiver of RFC 9989 finds for the From domain `author`.

    `others` are the names that may authenticate; `texts` must hold `names_to_ask` of
    each of them and of `author`; `exists`: DNS knows the name of `author`. A name whose
    Organizational Domain rests on whether a record without a valid policy counts has
    none here: receivers read RFC 9989 §4.10.1 both ways.
    """
    names = tuple(dict.fromkeys((author, *others)))
    organizational = tuple(
        (name, organizational_domain(name, texts))
        for name in names
        if organizational_domain(name, texts)
        == _organizational(name, _walk(name, texts, _declared_at))
    )
    found = policy_by_walk(author, texts)
    view = _view(author, found, organizational)
    if found is None:
        return view
    name, record = found
    policy = record.policy_for(is_own=name == author, exists=exists)
    return replace(view, policy=policy)


def _steps(name: DnsName) -> tuple[str, ...]:
    labels = name.labels
    steps = [name]
    rest = labels[1:] if len(labels) < MAX_WALK else labels[-(MAX_WALK - 1) :]
    while rest:
        steps.append(DnsName(".".join(rest)))
        rest = rest[1:]
    return tuple(steps)


def _declared_at(texts: Iterable[str]) -> DmarcRecord | None:
    """As `record_at`, with records that are not applied."""
    candidates = record_texts(texts)
    return _declared(candidates[0]) if len(candidates) == 1 else None


def _walk(
    name: DnsName,
    texts: Texts,
    read: Callable[[Iterable[str]], DmarcRecord | None] = record_at,
) -> list[tuple[str, DmarcRecord]]:
    """The names with a record, longest first, up to the one that says psd=n or psd=y."""
    found: list[tuple[str, DmarcRecord]] = []
    for step in _steps(name):
        record = read(texts.get(DnsName(f"_dmarc.{step}"), ()))
        if record is None:
            continue
        found.append((step, record))
        if record.psd in ("y", "n"):
            break
    return found


def policy_by_walk(author: Domain, texts: Texts) -> tuple[str, DmarcRecord] | None:
    """Return the name whose record is in force for `author`, and it: the Author Domain,
    else its Organizational Domain, else the public suffix above it."""
    found = dict(_walk(author, texts))
    organizational = organizational_domain(author, texts)
    for name in (author, organizational):
        if name in found:
            return name, found[name]
    suffix = [(name, record) for name, record in found.items() if record.psd == "y"]
    return suffix[0] if suffix else None


def _one_below(name: Domain, suffix: str) -> Domain:
    labels = name.labels
    return Domain(".".join(labels[-(suffix.count(".") + 2) :]))


# ---- the public suffix list


class Suffixes(Protocol):
    """Knows Organizational Domains without DNS."""

    def organizational_domain(self, name: Domain) -> Domain: ...


class SuffixList:
    """The public suffix list that the package carries; read when constructed."""

    def __init__(self) -> None:
        self._list = PublicSuffixList()

    def organizational_domain(self, name: Domain) -> Domain:
        """Return the name one label below the public suffix; a suffix is its own."""
        found = self._list.privatesuffix(str(name))
        return Domain(found) if found else name


def names_to_ask_by_suffix(author: Domain, suffixes: Suffixes) -> tuple[DnsName, ...]:
    names = dict.fromkeys((author, suffixes.organizational_domain(author)))
    return tuple(DnsName(f"_dmarc.{name}") for name in names)


def view_by_suffix_list(
    author: Domain, others: Iterable[Domain], texts: Texts, suffixes: Suffixes
) -> DmarcView:
    """Return what a receiver of RFC 7489 finds for the From domain `author`."""
    names = tuple(dict.fromkeys((author, *others)))
    organizational = tuple((n, suffixes.organizational_domain(n)) for n in names)
    for name in (author, suffixes.organizational_domain(author)):
        record = record_at(texts.get(DnsName(f"_dmarc.{name}"), ()))
        if record is not None:
            return _view(author, (name, record), organizational)
    return _view(author, None, organizational)


def unknown_view() -> DmarcView:
    """The view where DNS gave no answer: nothing aligns but an identical name."""
    return DmarcView(
        has_record=False,
        policy="none",
        dkim=Alignment.STRICT,
        spf=Alignment.STRICT,
        organizational=(),
    )


def _view(
    author: Domain,
    found: tuple[str, DmarcRecord] | None,
    organizational: tuple[tuple[Domain, Domain], ...],
) -> DmarcView:
    if found is None:
        return DmarcView(
            has_record=False,
            policy="none",
            dkim=Alignment.RELAXED,
            spf=Alignment.RELAXED,
            organizational=organizational,
        )
    name, record = found
    return DmarcView(
        has_record=True,
        policy=record.policy if name == author else record.subdomain_policy,
        dkim=record.dkim,
        spf=record.spf,
        organizational=organizational,
    )


# ---- tags


def _tags(text: str) -> dict[str, str]:
    """Tag list of RFC 9989 §4.7: any order, white space free, the first of a name wins."""
    tags: dict[str, str] = {}
    for part in text.split(";")[1:]:
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags


def _is_domain(text: str) -> bool:
    try:
        Domain.parse(text)
    except FormatError:
        return False
    return True


def _alignment(value: str) -> Alignment:
    return Alignment.STRICT if value.lower() == "s" else Alignment.RELAXED


def _psd(value: str) -> str:
    return value.lower() if value.lower() in ("y", "n") else "u"


def _has_report_address(value: str) -> bool:
    return any(uri.strip().lower().startswith("mailto:") for uri in value.split(","))
