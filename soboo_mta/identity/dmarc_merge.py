"""The DMARC record to advise, made from what the customer has: kept, merged or first.

Pure. A record that is there stays octet for octet but for a report address of ours, and
that only where it is wanted; nothing is weakened, and psd= is never written, for it would
move the Organizational Domain (RFC 9989 §4.10.2).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from soboo_mta.identity.dmarc import (
    DmarcRecord,
    Texts,
    parse_record,
    policy_by_walk,
    record_texts,
)
from soboo_mta.identity.state import Purpose, RequiredRecord
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import RecordType

FIRST_POLICY = "none"  # a first record watches; the customer raises it
_STRENGTH = ("none", "quarantine", "reject")
_SURE_ADDRESSES = 2  # a receiver need not report to more


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcAdvice:
    """What to have at `record.owner`. `current` is what is there now, "" for nothing;
    `remove` are further DMARC records of that name, all to be taken away."""

    record: RequiredRecord
    current: str = ""
    remove: tuple[str, ...] = ()

    @property
    def is_change(self) -> bool:
        """Whether the customer is to publish or remove something."""
        return bool(self.remove) or self.record.value != self.current


def stricter_policy(policy: str) -> str | None:
    """Return the policy that is one step above; None above reject, or for no policy."""
    if policy not in _STRENGTH[:-1]:
        return None
    return _STRENGTH[_STRENGTH.index(policy) + 1]


def report_uri(address: Mailbox) -> str:
    """Return the address as rua= takes it: what a list or a size limit is made of is
    written in per cent (RFC 9989 §4.7)."""
    text = str(address)
    for sign in "%!,;":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return f"mailto:{text}"


def first_record(reports: Mailbox | None = None) -> str:
    """Return the record for a domain that has none."""
    rua = f"; rua={report_uri(reports)}" if reports else ""
    return f"v=DMARC1; p={FIRST_POLICY}{rua}"


def merged_dmarc(existing: str, reports: Mailbox | None) -> str:
    """Return `existing` with `reports` at the end of its rua= list; as it is where that
    address is there already, or None is wanted.

    Tags, their order, case and spacing stay, unknown and withdrawn ones too. Raises
    FormatError for a record that receivers do not apply: it is to be mended first.
    """
    if _plain(existing) != existing:
        raise FormatError(
            "the DMARC record holds what is no printable ASCII (shown as ?): write it anew"
        )
    record = parse_record(existing)
    if record is None:
        raise FormatError(
            "receivers do not apply the DMARC record, for a policy in it (p=, sp= or np=)"
            " is missing or not valid: write none, quarantine or reject there first"
        )
    if reports is None:
        return existing
    merged = _with_report(existing, report_uri(reports))
    if parse_record(merged) != record:  # never a record that means something else
        raise FormatError("the DMARC record can't be added to: add the address by hand")
    return merged


def reports_to(text: str, address: Mailbox) -> bool:
    """Whether the rua= of a record has reports sent to the address."""
    return _is_listed(report_uri(address), _addresses(text))


def dmarc_advice(
    author: Domain, texts: Texts, reports: Mailbox | None = None, *, merge: bool = False
) -> DmarcAdvice:
    """Return what to have for the From domain `author`.

    `texts` holds the TXT of each of `names_to_ask(author)`. `reports` is our address for
    aggregate reports: a first record names it, one that is there where `merge` says that
    the customer wants it.
    """
    added = reports if merge else None
    own = DnsName(f"_dmarc.{author}")
    found = record_texts(texts.get(own, ()))
    if len(found) > 1:
        return _several(own, found, added)
    if found:
        return _kept(own, found[0], added, is_own=True)
    above = policy_by_walk(author, texts)
    if above is not None:
        name = DnsName(f"_dmarc.{above[0]}")
        is_suffix = above[1].psd == "y"  # a registry's: no customer changes it
        text = record_texts(texts[name])[0]
        return _kept(name, text, None if is_suffix else added, is_own=False)
    note = "there is no DMARC record yet: this one changes nobody's mail"
    if reports:
        note += f", and sends reports to {reports}"
    return DmarcAdvice(record=_record(own, first_record(reports), note))


def plain_advice(author: Domain, cause: str) -> RequiredRecord:
    """Return the recommendation where DNS gave no answer, so that nothing is known."""
    return _record(
        DnsName(f"_dmarc.{author}"),
        first_record(),
        f"DNS could not be read ({cause}): keep a DMARC record that is there, this is"
        " for a domain that has none",
    )


# ---- what is there


def _kept(
    name: DnsName, text: str, reports: Mailbox | None, *, is_own: bool
) -> DmarcAdvice:
    try:
        value = merged_dmarc(text, reports)
    except FormatError as error:
        return DmarcAdvice(record=_record(name, _plain(text), str(error)), current=text)
    return DmarcAdvice(
        record=_record(name, value, _kept_note(text, value, is_own=is_own)),
        current=text,
    )


def _kept_note(text: str, value: str, *, is_own: bool) -> str:
    if value == text:
        return "it is there: keep it" if is_own else "it applies from there: keep it"
    note = "replace the record by this: our address is added to rua=, all else stays"
    if len(_addresses(value)) > _SURE_ADDRESSES:
        note += "; some receivers report to the first two addresses alone"
    if not is_own:
        note += "; reports tell of all mail under that name"
    return note


def _several(
    name: DnsName, found: tuple[str, ...], reports: Mailbox | None
) -> DmarcAdvice:
    """The strictest one stays; receivers count several as none (RFC 9989 §4.10)."""
    keep = max(found, key=_strength)  # the first among equals
    left = list(found)
    left.remove(keep)
    advice = _kept(name, keep, reports, is_own=True)
    remove = ", ".join(f'"{text}"' for text in left)
    note = (
        f"{len(found)} DMARC records are there, which counts as none: remove {remove}"
    )
    record = replace(advice.record, note=f"{note}; then: {advice.record.note}")
    return replace(advice, record=record, remove=tuple(left))


def _strength(text: str) -> tuple[int, ...]:
    record: DmarcRecord | None = parse_record(text)
    if record is None:
        return (-1,)
    return tuple(
        _STRENGTH.index(policy)
        for policy in (
            record.policy_for(is_own=True),
            record.policy_for(is_own=False),
            record.policy_for(is_own=False, exists=False),
        )
    )


def _record(owner: DnsName, value: str, note: str) -> RequiredRecord:
    return RequiredRecord(
        owner=owner,
        kind=RecordType.TXT,
        value=value,
        purpose=Purpose.DMARC,
        is_required=False,
        note=note,
    )


# ---- tags, as they are written


def _plain(text: str) -> str:
    """`text` as a terminal, a message and a form take it."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def _with_report(text: str, uri: str) -> str:
    parts = text.split(";")
    for place, part in enumerate(parts):
        if place and part.partition("=")[0].strip().lower() == "rua" and "=" in part:
            if _is_listed(uri, _uris(part)):
                return text
            parts[place] = _appended(part, uri)
            return ";".join(parts)
    return f"{text.rstrip().removesuffix(';').rstrip()}; rua={uri}"


def _appended(part: str, uri: str) -> str:
    """The rua= tag with one more address, before the blanks at its end."""
    bare = part.rstrip()
    comma = "" if not _uris(part) or bare.endswith(",") else ","
    return f"{bare}{comma}{uri}{part[len(bare) :]}"


def _addresses(text: str) -> tuple[str, ...]:
    for part in text.split(";")[1:]:
        if part.partition("=")[0].strip().lower() == "rua":
            return _uris(part)
    return ()


def _uris(part: str) -> tuple[str, ...]:
    listed = part.partition("=")[2].split(",")
    return tuple(one.strip() for one in listed if one.strip())


def _is_listed(uri: str, others: Iterable[str]) -> bool:
    """Whether the address is there, with a size limit of old or without; any sign of it
    may be written in per cent (RFC 9989 §4.7)."""
    plain = (unquote(one.partition("!")[0]).lower() for one in others)
    return unquote(uri).lower() in plain
