"""What one answer of DNS says about one required record, in words a DNS admin can act on.

Pure: the look-ups are `check.py`'s; keys are judged in `judge_key.py`, policies in
`judge_policy.py` and `judge_spf.py`. A finding that rests on no answer is UNKNOWN and
says nothing about what exists (RFC 2308 §7.1).
"""

from dataclasses import dataclass

from soboo_mta.identity.state import DmarcView, Fault, RecordStatus
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import KeyId
from soboo_mta.ports import Answer, Found, MxRecord, NoName, Unanswered

MAX_SHOWN = 300  # of a foreign record: it is stored and shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One record's finding. `proves`: it binds the domain to this tenant. `usable`: keys
    that a receiver finds; `unanswered`: those nothing was heard of, None where the status
    says it for all. `bounce`, `spf` (names of sources) and the DMARC views None: no
    answer; `spf_unknown`: the sources without one; a view without `organizational`: it is
    known how to align, and not with whom."""

    status: RecordStatus
    fault: Fault = Fault.NONE
    found: str = ""
    cause: str = ""
    mend: str = ""
    ttl: int = 0
    proves: bool = False
    usable: tuple[KeyId, ...] = ()
    unanswered: tuple[KeyId, ...] | None = None
    bounce: bool | None = None
    spf: tuple[str, ...] | None = None
    spf_unknown: tuple[str, ...] = ()
    walk: DmarcView | None = None
    suffix_list: DmarcView | None = None


def unknown(answer: Unanswered) -> Finding:
    """No answer: what was known before stays for a while."""
    return Finding(
        status=RecordStatus.UNKNOWN,
        cause=f"DNS gave no answer: {answer.cause[:MAX_SHOWN]}",
        mend="nothing yet: we ask again; if it lasts, look at the zone's name servers"
        " and at ours ([dns] resolvers)",
    )


# ---- CNAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A CNAME we ask for: `owner` to `target`; `doubled` the name at which it was found
    with the zone's name appended twice, if so."""

    owner: DnsName
    target: DnsName
    doubled: DnsName | None = None

    def leads_to_us(self, answer: Answer) -> bool:
        return not isinstance(answer, Unanswered) and self.target in answer.chain

    @property
    def mend(self) -> str:
        return f"publish {self.owner} CNAME {self.target}."


def wrong_alias(alias: Alias, answer: Answer) -> Finding:
    """The finding for an answer that did not pass through our name."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if answer.chain:
        return Finding(
            status=RecordStatus.WRONG,
            found=f"CNAME {answer.chain[0]}.",
            cause=f"{alias.owner} leads to {answer.chain[0]}, not to {alias.target}",
            mend=f"replace it: {alias.mend}",
            ttl=answer.ttl,
        )
    if isinstance(answer, Found):
        return Finding(
            status=RecordStatus.WRONG,
            found=shown(answer),
            cause=(
                f"{alias.owner} has records of its own instead of a CNAME (or the DNS "
                "host flattens or proxies it), so it would not follow a key rotation"
            ),
            mend=f"remove what is there, switch off flattening and proxying, {alias.mend}",
            ttl=answer.ttl,
        )
    return _missing(alias, answer.ttl, isinstance(answer, NoName))


def _missing(alias: Alias, ttl: int, is_no_name: bool) -> Finding:
    if alias.doubled:
        return Finding(
            status=RecordStatus.MISSING,
            found=f"a record at {alias.doubled}",
            cause=f"the zone's name was appended twice: {alias.doubled} exists",
            mend=f"shorten the name, or end it in a dot: {alias.mend}",
            ttl=ttl,
        )
    what = "does not exist" if is_no_name else "has no CNAME (another type is there)"
    return Finding(
        status=RecordStatus.MISSING,
        cause=f"{alias.owner} {what}",
        mend=alias.mend,
        ttl=ttl,
    )


# ---- TXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A TXT we ask for; `doubled` as in Alias."""

    owner: DnsName
    value: str
    doubled: DnsName | None = None

    @property
    def mend(self) -> str:
        return f'publish {self.owner} TXT "{self.value}"'


def missing_text(text: Text, answer: Answer) -> Finding:
    """The finding where nothing of the kind is at the name."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if text.doubled:
        return Finding(
            status=RecordStatus.MISSING,
            found=f"a record at {text.doubled}",
            cause=f"the zone's name was appended twice: {text.doubled} exists",
            mend=f"shorten the name, or end it in a dot: {text.mend}",
            ttl=answer.ttl,
        )
    return Finding(
        status=RecordStatus.MISSING,
        cause=f"{text.owner} has no such TXT record",
        mend=text.mend,
        ttl=answer.ttl,
    )


def ownership(text: Text, answer: Answer) -> Finding:
    """The finding for the record that proves ownership; others may stand beside it."""
    if not isinstance(answer, Found):
        return missing_text(text, answer)
    if text.value in (" ".join(found.split()) for found in texts(answer)):
        return Finding(
            status=RecordStatus.GOOD, found=text.value, ttl=answer.ttl, proves=True
        )
    return Finding(
        status=RecordStatus.WRONG,
        found=shown(answer),
        cause=f"{text.owner} holds another value",
        mend=text.mend,
        ttl=answer.ttl,
    )


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
