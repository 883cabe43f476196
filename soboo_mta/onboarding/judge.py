"""What one answer of DNS says about one required record, in words a DNS admin can act on.

Pure: the look-ups are `check.py`'s. A finding that rests on no answer is UNKNOWN and
says nothing about what exists (RFC 2308 §7.1).
"""

from dataclasses import dataclass

from soboo_mta.formats.keys import txt_p
from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import (
    Algorithm,
    DmarcView,
    Fault,
    KeyState,
    PublicKey,
    RecordStatus,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
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


def served_key(alias: Alias, answer: Answer, keys: tuple[PublicKey, ...]) -> Finding:
    """The finding for a selector CNAME that leads to us; `keys` are those of its slot."""
    live = tuple(key for key in keys if key.state is not KeyState.REVOKED)
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if not live:
        return Finding(
            status=RecordStatus.GOOD,
            found=f"CNAME {alias.target}.",
            ttl=answer.ttl,
            proves=True,
        )
    usable = tuple(key.key_id for key in live if is_served(answer, key))
    if usable:
        return Finding(
            status=RecordStatus.GOOD,
            found=f"CNAME {alias.target}. with our key",
            ttl=answer.ttl,
            proves=True,
            usable=usable,
        )
    return Finding(
        status=RecordStatus.WRONG,
        found=f"CNAME {alias.target}. {shown(answer)}".rstrip(),
        cause="the CNAME is right; the operator's zone does not serve this key",
        mend=f"the operator publishes {alias.target} TXT {key_text(live[0])}",
        ttl=answer.ttl,
        proves=True,
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


def pasted_key(text: Text, answer: Answer, key: PublicKey) -> Finding:
    """The finding for a key record that the customer published by hand."""
    if not isinstance(answer, Found):
        return missing_text(text, answer)
    if key.state is KeyState.REVOKED:
        return _withdrawn(text, answer)
    if is_served(answer, key):
        return Finding(
            status=RecordStatus.GOOD,
            found=shown(answer),
            ttl=answer.ttl,
            proves=True,
            usable=(key.key_id,),
        )
    return Finding(
        status=RecordStatus.WRONG,
        found=shown(answer),
        cause=f"{text.owner}: {_why_not(texts(answer), key)}",
        mend=f"replace it: {text.mend}",
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


def is_served(answer: Answer, key: PublicKey) -> bool:
    """Whether a receiver that looks `key` up finds it and may use it."""
    if not isinstance(answer, Found):
        return False
    found = texts(answer)
    return len(found) == 1 and _fault(found[0], key) == ""


def _withdrawn(text: Text, answer: Found) -> Finding:
    if all(_is_revocation(found) for found in texts(answer)):
        return Finding(status=RecordStatus.GOOD, found=shown(answer), ttl=answer.ttl)
    return Finding(
        status=RecordStatus.WRONG,
        found=shown(answer),
        cause=f"{text.owner} still publishes a revoked key",
        mend=f"replace it: {text.mend}",
        ttl=answer.ttl,
    )


def _is_revocation(text: str) -> bool:
    try:
        return txt_p(text)[0] == ""
    except FormatError:
        return False


_KEY_TYPES = {Algorithm.RSA: "rsa", Algorithm.ED25519: "ed25519"}


def _why_not(found: tuple[str, ...], key: PublicKey) -> str:
    if len(found) > 1:
        return f"{len(found)} TXT records are there; a receiver may take any of them"
    return _fault(found[0], key)


def _fault(text: str, key: PublicKey) -> str:
    """What stops a receiver from using `key` as published in `text`; "" for nothing."""
    if '"' in text:
        return "quotation marks became part of the value"
    if "\\" in text:
        return "backslashes became part of the value: write ; instead of \\;"
    try:
        p, tags = txt_p(text)
    except FormatError as error:
        return str(error)
    return _wrong_p(p, key.p) if p != key.p else _wrong_tags(tags, key)


def _wrong_p(found: str, expected: str) -> str:
    if not found:
        return "its p= is empty, which revokes the key"
    if expected.startswith(found):
        return f"the key was cut after {len(found)} of {len(expected)} characters"
    if found.lower() == expected.lower():
        return "the key's capitals were changed; base64 must be kept as it is"
    return "its p= is another key"


def _wrong_tags(tags: dict[str, str], key: PublicKey) -> str:
    if tags.get("k", "rsa") != _KEY_TYPES[key.algorithm]:
        return f"k= must be {_KEY_TYPES[key.algorithm]}"
    if "sha256" not in tags.get("h", "sha256").split(":"):
        return "h= does not allow sha256"
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return "s= does not allow e-mail"
    if "y" in tags.get("t", "").split(":"):
        return "t=y makes receivers treat the mail as unsigned (RFC 6376 §3.6.1)"
    return ""


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
