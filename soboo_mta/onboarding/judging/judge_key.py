"""What DNS says about DKIM keys: served by us, or pasted by the customer, and how wrongly.

Pure, as `judge.py`. What receivers accept is never called wrong: white space in p= is
allowed (RFC 6376 §3.2), so it is remarked upon and the key stays in use.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

from soboo_mta.formats.keys import txt_p
from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import (
    Algorithm,
    Fault,
    KeyState,
    PublicKey,
    RecordStatus,
)
from soboo_mta.identity.zones.zone_text import pieces
from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.judging.judge import (
    Finding,
    Text,
    missing_text,
    shown,
    texts,
    unknown,
    wrong_text,
)
from soboo_mta.onboarding.judging.judge_alias import Alias
from soboo_mta.ports import Answer, Found, Unanswered

_MAX_PIECES = 4  # whose orders are tried: 4,096 bits are three
_CURLY = ("â\x80\x9c", "â\x80\x9d", "â\x80\x9e")  # UTF-8 quotes as our doors read them
_KEY_TYPES = {Algorithm.RSA: "rsa", Algorithm.ED25519: "ed25519"}


def served_key(alias: Alias, answer: Answer, keys: tuple[PublicKey, ...]) -> Finding:
    """The finding for a selector CNAME that leads to us; `keys` are those of its slot."""
    live = tuple(key for key in keys if key.state is not KeyState.REVOKED)
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if not live:
        return Finding(
            status=RecordStatus.GOOD,
            found=alias.way(answer),
            ttl=answer.ttl,
            proves=True,
        )
    usable = tuple(key.key_id for key in live if is_served(answer, key))
    if usable:
        return Finding(
            status=RecordStatus.GOOD,
            found=f"{alias.way(answer)} with our key",
            ttl=answer.ttl,
            proves=True,
            usable=usable,
        )
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.OPERATOR_KEY,
        found=f"{alias.way(answer)} {shown(answer)}".rstrip(),
        cause="the CNAME is right; the operator's zone does not serve this key",
        mend=f"the operator publishes {alias.target} TXT {key_text(live[0])}",
        ttl=answer.ttl,
        proves=True,
    )


def pasted_key(
    text: Text, answer: Answer, key: PublicKey, others: Iterable[PublicKey] = ()
) -> Finding:
    """The finding for a key record that the customer published by hand; `others` are the
    domain's other keys, which may have been taken for this one."""
    if not isinstance(answer, Found):
        return missing_text(text, answer)
    if key.state is KeyState.REVOKED:
        return _withdrawn(text, answer)
    found = texts(answer)
    if is_served(answer, key):
        remark = _remark(found[0])
        return Finding(
            status=RecordStatus.GOOD,
            fault=remark.fault if remark else Fault.NONE,
            found=shown(answer),
            cause=f"{text.owner}: {remark.cause}" if remark else "",
            mend=remark.mend if remark else "",
            ttl=answer.ttl,
            proves=True,
            usable=(key.key_id,),
        )
    wrong = _wrong(found, key, tuple(others))
    slip = Finding(
        status=RecordStatus.WRONG,
        fault=wrong.fault,
        found=shown(answer),
        cause=f"{text.owner}: {wrong.cause}",
        mend=f"{wrong.mend}: {text.mend}",
        ttl=answer.ttl,
    )
    return wrong_text(text, answer, slip)


def is_served(answer: Answer, key: PublicKey) -> bool:
    """Whether a receiver that looks `key` up finds it and may use it."""
    return isinstance(answer, Found) and key_fault(texts(answer), key) == ""


def key_fault(found: tuple[str, ...], key: PublicKey) -> str:
    """What stops receivers from using `key` as published in `found`, all the TXT records
    of its name; "" for nothing."""
    if len(found) == 1 and _is_usable(found[0], key):
        return ""
    return _wrong(found, key, ()).cause


def _is_usable(text: str, key: PublicKey) -> bool:
    if '"' in text or "\\" in text:
        return False
    try:
        p, tags = txt_p(text)
    except FormatError:
        return False
    return p == key.p and not _wrong_tags(tags, key)


def _withdrawn(text: Text, answer: Found) -> Finding:
    if all(_is_revocation(found) for found in texts(answer)):
        return Finding(status=RecordStatus.GOOD, found=shown(answer), ttl=answer.ttl)
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.KEY_NOT_REVOKED,
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


# ---- what was pasted wrongly


@dataclass(frozen=True, slots=True)
class _Slip:
    """What happened on the way into DNS, and what to do otherwise."""

    fault: Fault
    cause: str
    mend: str = "replace it"


def _remark(text: str) -> _Slip | None:
    """What receivers accept and a careful owner mends."""
    value = text.partition("p=")[2].partition(";")[0].strip()
    if "\n" in value or "\r" in value:
        return _Slip(
            Fault.WRAPPED_KEY,
            "line breaks are inside p=, which some receivers do not take",
            "paste the value as one line",
        )
    if any(c.isspace() for c in value):
        return _Slip(
            Fault.WRAPPED_KEY,
            "blanks are inside p=: its pieces were joined with a blank, or it was wrapped;"
            " receivers leave them out (RFC 6376 §3.2)",
            "join the pieces without a blank when you next touch it",
        )
    return None


def _wrong(
    found: tuple[str, ...], key: PublicKey, others: tuple[PublicKey, ...]
) -> _Slip:
    if len(found) > 1:
        return _several(found, key)
    text = found[0]
    return (
        _marks(text)
        or _disorder(text, key)
        or _bare(text, key)
        or _tag_fault(text, key, others)
    )


def _several(found: tuple[str, ...], key: PublicKey) -> _Slip:
    if sorted(map(_packed, found)) == sorted(map(_packed, pieces(key_text(key)))):
        return _Slip(
            Fault.SPLIT_KEY,
            f"the pieces of the key are {len(found)} TXT records of their own",
            "make them one record, of that many quoted pieces",
        )
    if any(_is_usable(text, key) for text in found):
        return _Slip(
            Fault.SEVERAL_KEYS,
            f"{len(found)} TXT records are there; a receiver may take any of them",
            "ours is among them: delete the others, so that one is left",
        )
    return _Slip(
        Fault.SEVERAL_KEYS,
        f"{len(found)} TXT records are there; a receiver may take any of them",
        "delete them all and publish one",
    )


def _marks(text: str) -> _Slip | None:
    if '"' in text:
        return _Slip(
            Fault.QUOTED,
            "quotation marks became part of the value",
            "your DNS host adds them itself, so leave them out",
        )
    if any(mark in text for mark in _CURLY):
        return _Slip(
            Fault.QUOTED,
            "typographic quotation marks became part of the value",
            "copy it from plain text, not from a word processor",
        )
    if "\\" in text:
        return _Slip(
            Fault.ESCAPED,
            "backslashes became part of the value: write ; instead of \\;",
            "leave the backslashes out",
        )
    if "_domainkey" in text:
        return _Slip(
            Fault.NAME_IN_VALUE,
            "the name of the record was pasted into its value",
            "name and value go into fields of their own",
        )
    return None


def _disorder(text: str, key: PublicKey) -> _Slip | None:
    whole = [_packed(piece) for piece in pieces(key_text(key))]
    if not 1 < len(whole) <= _MAX_PIECES:
        return None
    packed = _packed(text)
    if any(packed == "".join(order) for order in list(permutations(whole))[1:]):
        return _Slip(
            Fault.DISORDERED_KEY,
            "its pieces are in the wrong order",
            "the piece with v=DKIM1 comes first, the others as shown",
        )
    return None


def _bare(text: str, key: PublicKey) -> _Slip | None:
    if _packed(text) == key.p:
        return _Slip(
            Fault.BARE_KEY,
            "the key alone was pasted, without the tags before it",
            "the value begins with v=DKIM1",
        )
    return None


def _tag_fault(text: str, key: PublicKey, others: tuple[PublicKey, ...]) -> _Slip:
    try:
        p, tags = txt_p(text)
    except FormatError as error:
        return _Slip(Fault.KEY_TAGS, str(error))
    if p != key.p:
        return _wrong_p(p, key, others)
    return _Slip(
        Fault.KEY_TAGS, _wrong_tags(tags, key) or "it is not the value that was shown"
    )


def _wrong_p(p: str, key: PublicKey, others: tuple[PublicKey, ...]) -> _Slip:
    if not p:
        return _Slip(Fault.EMPTY_KEY, "its p= is empty, which revokes the key")
    mixed = next((one for one in others if one.p == p), None)
    if mixed is not None:
        return _Slip(
            Fault.SWAPPED,
            f"its p= is the key of selector {mixed.selector}",
            "give each selector its own key",
        )
    if key.p.startswith(p):
        return _Slip(
            Fault.TRUNCATED_KEY,
            f"the key was cut after {len(p)} of {len(key.p)} characters",
            "where a field takes no more than 255 characters, enter the quoted pieces",
        )
    if key.p.endswith(p):
        return _Slip(
            Fault.TRUNCATED_KEY,
            f"the first {len(key.p) - len(p)} characters of the key are missing",
            "copy the whole value",
        )
    if p.lower() == key.p.lower():
        return _Slip(
            Fault.CASE_FOLDED_KEY,
            "the key's capitals were changed; base64 must be kept as it is",
            "find what changes capitals on the way (a form, a spreadsheet), then replace it",
        )
    return _Slip(Fault.OTHER_KEY, "its p= is another key")


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


def _packed(text: str) -> str:
    """Without white space: pieces are joined with and without it."""
    return "".join(text.split())
