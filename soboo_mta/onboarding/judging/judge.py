"""What one answer of DNS says about one required record, in words a DNS admin can act on.

Pure: the look-ups are `look.py`'s; aliases are judged in `judge_alias.py`, keys in
`judge_key.py`, policies in `judge_policy.py` and `judge_spf.py`. A finding that rests on no answer is UNKNOWN and
says nothing about what exists (RFC 2308 §7.1).
"""

from dataclasses import dataclass, replace

from soboo_mta.identity.state import DmarcView, Fault, Purpose, RecordStatus
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import KeyId
from soboo_mta.ports import Answer, Found, MxRecord, NoData, NoName, Unanswered

MAX_SHOWN = 300  # of a foreign record: it is stored and shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One record's finding. `proves`: it binds the domain to this tenant. `usable`: keys
    that a receiver finds; `unanswered`: those nothing was heard of, None where the status
    says it for all; `server` as in RecordCheck. `bounce`, `spf` (names of sources) and the DMARC views None: no
    answer; `spf_unknown`: the sources without one; a view without `organizational`: it is
    known how to align, and not with whom."""

    status: RecordStatus
    fault: Fault = Fault.NONE
    found: str = ""
    cause: str = ""
    mend: str = ""
    ttl: int = 0
    server: str = ""
    proves: bool = False
    usable: tuple[KeyId, ...] = ()
    unanswered: tuple[KeyId, ...] | None = None
    bounce: bool | None = None
    spf: tuple[str, ...] | None = None
    spf_unknown: tuple[str, ...] = ()
    web: tuple[Purpose, ...] = ()  # a zone's: LINK, IMAGE that have an address there
    walk: DmarcView | None = None
    suffix_list: DmarcView | None = None


def unknown(answer: Unanswered) -> Finding:
    """No answer: what was known before stays for a while."""
    return Finding(
        status=RecordStatus.UNKNOWN,
        fault=Fault.NO_ANSWER,
        cause=f"DNS gave no answer: {answer.cause[:MAX_SHOWN]}",
        mend="nothing yet: we ask again; if it lasts, look at the zone's name servers"
        " and at ours ([dns] resolvers)",
    )


# ---- around a name


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What further questions showed around a name where its record was not; each is asked
    only where it can tell something. `elsewhere` is a name that was meant to be this one,
    and how it was missed; `others` are records of other types at the name; `unregistered`
    the domain that the zone above does not know."""

    unregistered: DnsName | None = None
    elsewhere: tuple[Fault, DnsName] | None = None
    others: tuple[str, ...] = ()
    is_wildcard: bool = False


NOTHING_AROUND = Around()


def misplaced(
    around: Around, owner: DnsName, mend: str, answer: Found | NoData | NoName
) -> Finding | None:
    """The finding where the name itself tells why its record is not there."""
    if around.unregistered is not None:
        return Finding(
            status=RecordStatus.MISSING,
            fault=Fault.NOT_REGISTERED,
            cause=f"{around.unregistered} does not exist: the zone above knows nothing"
            " of it (never registered, expired, or withdrawn)",
            mend=f"have {around.unregistered} registered or renewed, then {mend}",
            ttl=answer.ttl,
        )
    if around.elsewhere is None:
        return None
    fault, name = around.elsewhere
    cause, advice = {
        Fault.DOUBLED_ZONE: (
            f"the zone's name was appended twice: {name} exists",
            "shorten the name, or end it in a dot",
        ),
        Fault.MISSING_LABEL: (
            f"the record is at {name}: a part of {owner} is missing",
            "give it the whole name",
        ),
        Fault.MISSING_UNDERSCORE: (
            f"the record is at {name}: an underscore of {owner} is missing",
            "write the name with its underscores",
        ),
    }[fault]
    return Finding(
        status=RecordStatus.MISSING,
        fault=fault,
        found=f"a record at {name}",
        cause=cause,
        mend=f"{advice}: {mend}",
        ttl=answer.ttl,
    )


def absent(answer: Answer) -> Fault:
    return Fault.NO_NAME if isinstance(answer, NoName) else Fault.NO_TYPE


# ---- TXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A TXT we ask for, and what is around it."""

    owner: DnsName
    value: str
    around: Around = NOTHING_AROUND

    @property
    def mend(self) -> str:
        return f'publish {self.owner} TXT "{self.value}"'


def missing_text(text: Text, answer: Answer) -> Finding:
    """The finding where nothing of the kind is at the name."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if answer.chain:
        return another_type(text, answer)
    found = misplaced(text.around, text.owner, text.mend, answer)
    if found is not None:
        return found
    return Finding(
        status=RecordStatus.MISSING,
        fault=absent(answer),
        cause=f"{text.owner} has no such TXT record",
        mend=text.mend,
        ttl=answer.ttl,
    )


def another_type(text: Text, answer: Found | NoData | NoName) -> Finding:
    """The finding for a CNAME at the name, which leads to nothing that would do."""
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.WRONG_TYPE,
        found=f"CNAME {answer.chain[0]}.",
        cause=f"{text.owner} is a CNAME, to {answer.chain[0]}; a TXT record is wanted",
        mend=f"delete the CNAME, then {text.mend}",
        ttl=answer.ttl,
    )


def wrong_text(text: Text, answer: Found, finding: Finding) -> Finding:
    """`finding` of a TXT that is not ours, or what brought the TXT there."""
    if answer.chain:
        return another_type(text, answer)
    if text.around.is_wildcard:
        return by_wildcard(finding, text.owner, text.mend)
    return finding


def by_wildcard(finding: Finding, owner: DnsName, mend: str) -> Finding:
    """`finding` where a wildcard answers instead of a record (RFC 4592 §2.2)."""
    return replace(
        finding,
        fault=Fault.WILDCARD,
        cause=f"{owner} has no record of its own: a wildcard above it answers",
        mend=f"{mend}; the wildcard may stay, a record of its own comes before it",
    )


def ownership(text: Text, answer: Answer) -> Finding:
    """The finding for the record that proves ownership; others may stand beside it."""
    if not isinstance(answer, Found):
        return missing_text(text, answer)
    if text.value in (" ".join(found.split()) for found in texts(answer)):
        return Finding(
            status=RecordStatus.GOOD, found=text.value, ttl=answer.ttl, proves=True
        )
    other = Finding(
        status=RecordStatus.WRONG,
        fault=Fault.WRONG_VALUE,
        found=shown(answer),
        cause=f"{text.owner} holds another value",
        mend=text.mend,
        ttl=answer.ttl,
    )
    return wrong_text(text, answer, other)


# ---- shown


def texts(answer: Answer) -> tuple[str, ...]:
    """The records of an answer that are text or names; none where nothing was found."""
    if not isinstance(answer, Found):
        return ()
    return tuple(record for record in answer.records if isinstance(record, str))


def shown(answer: Answer) -> str:
    """The records of an answer on one line, bounded and printable."""
    if not isinstance(answer, Found):
        return ""
    line = ", ".join(
        f"{record.preference} {record.host}"
        if isinstance(record, MxRecord)
        else str(record)
        for record in answer.records
    )
    return printable(line)


def printable(text: str) -> str:
    """`text` bounded, and without what a terminal or PostgreSQL (NUL) does not take."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    if len(plain) <= MAX_SHOWN:
        return plain
    return f"{plain[: MAX_SHOWN - 24]}… ({len(plain)} characters)"
