"""The strength and the state of DKIM keys: what an operator should mend, key by key.

Pure: keys with their dates, and what DNS said of each, become findings. RFC 8301 for
sizes; the ages are those of M3AAWG's advice on key rotation. An answer that DNS did not
give is no finding.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from soboo_mta.formats.keys import (
    MIN_EXPONENT,
    MIN_RSA_BITS,
    WEAK_RSA_BITS,
    public_bits,
    public_exponent,
    txt_p,
)
from soboo_mta.identity.state import Algorithm, KeyState, Mode
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import KeyId
from soboo_mta.onboarding.judging.judge import texts
from soboo_mta.onboarding.judging.judge_key import key_fault
from soboo_mta.ports import Answer, Found, Unanswered
from soboo_mta.tenancy.signing.key_history import KeyHistory

_DAY_MS = 24 * 3600 * 1000
_LATE_MS = _DAY_MS  # a retired key may wait for the relay's next looks
_UNREADY = (Mode.MANUAL, Mode.MAILBOX)  # there a next key waits for the customer


class Weakness(StrEnum):
    """What is wrong with a key, for programs; people read the sentence."""

    REFUSED = "refused"  # too small: verifiers refuse it
    WEAK = "weak"
    EXPONENT = "exponent"
    OLD = "old"
    REUSED = "reused"
    UNPUBLISHED = "unpublished"  # or published so that receivers do not use it
    STILL_PUBLISHED = "still-published"  # though it was revoked
    NOT_REVOKED = "not-revoked"  # though nothing needs it
    NO_NEXT = "no-next"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """`oldest`: how long a key may sign. `drain`: ms, as `tenancy.slots.drain_ms`."""

    oldest: timedelta = timedelta(days=180)
    drain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFinding:
    """One thing to mend: `sentence` says what is wrong, `mend` what to do."""

    weakness: Weakness
    sentence: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedKey:
    """`bits` 0: not readable. `published` None: DNS was not asked, or gave no answer."""

    history: KeyHistory
    bits: int
    published: bool | None
    findings: tuple[KeyFinding, ...]


def audit(
    histories: Sequence[KeyHistory],
    answers: Mapping[KeyId, Answer],
    *,
    now: int,
    options: AuditOptions,
) -> tuple[AuditedKey, ...]:
    """Judge the current keys among `histories`; those before them tell of reuse.

    `answers` are the TXT records at the names of keys, of as many as were asked for.
    """
    users: defaultdict[str, list[KeyHistory]] = defaultdict(list)
    for one in histories:
        users[one.key.p].append(one)
    ready = {
        (_owner(one), one.key.algorithm)
        for one in histories
        if one.key.state is KeyState.NEXT
    }
    return tuple(
        AuditedKey(
            history=one,
            bits=_bits(one),
            published=_published(one, answers.get(one.key.key_id)),
            findings=(
                *_strength(one),
                *_age(one, now, options),
                *_reuse(one, users[one.key.p]),
                *_in_dns(one, answers.get(one.key.key_id)),
                *_succession(one, ready),
            ),
        )
        for one in histories
        if one.is_current
    )


# ---- the key itself


def _strength(one: KeyHistory) -> Iterator[KeyFinding]:
    if one.key.algorithm is not Algorithm.RSA or _is_over(one):
        return
    bits = _bits(one)
    if bits < MIN_RSA_BITS:
        yield KeyFinding(
            weakness=Weakness.REFUSED,
            sentence=f"{bits} bits: receivers refuse fewer than {MIN_RSA_BITS}",
            mend=_replace(one),
        )
    elif bits < WEAK_RSA_BITS:
        yield KeyFinding(
            weakness=Weakness.WEAK,
            sentence=f"{bits} bits: signers should use {WEAK_RSA_BITS}",
            mend=_replace(one),
        )
    exponent = public_exponent(one.key.p) if bits else MIN_EXPONENT
    if exponent < MIN_EXPONENT:
        yield KeyFinding(
            weakness=Weakness.EXPONENT,
            sentence=f"the public exponent is {exponent}: some verifiers refuse it",
            mend=_replace(one),
        )


def _age(one: KeyHistory, now: int, options: AuditOptions) -> Iterator[KeyFinding]:
    if one.key.state is KeyState.ACTIVE and one.activated_at is not None:
        days = (now - one.activated_at) // _DAY_MS
        if days > options.oldest.days:
            yield KeyFinding(
                weakness=Weakness.OLD,
                sentence=f"it has signed for {days} days: {options.oldest.days} at most",
                mend=_replace(one),
            )
    if one.key.state is not KeyState.RETIRING:
        return
    revoke = f"soboo-mta key revoke {one.key.key_id}"
    if one.retired_at is None:
        yield KeyFinding(
            weakness=Weakness.NOT_REVOKED,
            sentence="it was taken out of use, and no other key took its place",
            mend=f"once no worker uses it: {revoke}",
        )
    elif now - one.retired_at > options.drain + _LATE_MS:
        days = (now - one.retired_at) // _DAY_MS
        yield KeyFinding(
            weakness=Weakness.NOT_REVOKED,
            sentence=f"it retired {days} days ago; no mail under way needs it",
            mend=f"see that the relay runs, or: {revoke}",
        )


def _reuse(one: KeyHistory, users: Sequence[KeyHistory]) -> Iterator[KeyFinding]:
    others = [other for other in users if other is not one]
    if not others or _is_over(one):
        return
    whose = ", ".join(
        f"key {other.key.key_id} of {title(other)}" for other in others[:3]
    )
    yield KeyFinding(
        weakness=Weakness.REUSED,
        sentence=f"the same key is {whose}: who has one has all",
        mend=_replace(one),
    )


# ---- what is published


def _in_dns(one: KeyHistory, answer: Answer | None) -> Iterator[KeyFinding]:
    if answer is None or isinstance(answer, Unanswered):
        return
    found = texts(answer)
    if _is_over(one):
        if one.key.p in map(_p_of, found):
            yield KeyFinding(
                weakness=Weakness.STILL_PUBLISHED,
                sentence="it was revoked, and DNS still has it: its signatures pass",
                mend=_publish(one),
            )
        return
    fault = key_fault(found, one.key) if found else "DNS has no such record"
    if fault:
        yield KeyFinding(
            weakness=Weakness.UNPUBLISHED,
            sentence=f"receivers do not use it: {fault}",
            mend=_publish(one),
        )


def _published(one: KeyHistory, answer: Answer | None) -> bool | None:
    if answer is None or isinstance(answer, Unanswered):
        return None
    if _is_over(one):
        return one.key.p in map(_p_of, texts(answer))
    return isinstance(answer, Found) and not key_fault(texts(answer), one.key)


def _succession(
    one: KeyHistory, ready: set[tuple[int | None, Algorithm]]
) -> Iterator[KeyFinding]:
    mode = None if one.settings is None else one.settings.mode
    if (
        one.key.state is KeyState.ACTIVE
        and one.key.algorithm is Algorithm.RSA
        and mode not in _UNREADY
        and (_owner(one), one.key.algorithm) not in ready
    ):
        yield KeyFinding(
            weakness=Weakness.NO_NEXT,
            sentence="there is no next key: an emergency would leave mail unsigned",
            mend="revoke a retired key that nothing needs; a next one takes its selector",
        )


# ---- words and values


def title(one: KeyHistory) -> str:
    """Whose key it is, as lists show it."""
    if one.settings is None:
        return "(operator)"
    return f"{one.settings.name} ({one.settings.tenant})"


def _replace(one: KeyHistory) -> str:
    whose = "--operator" if one.settings is None else str(one.settings.name)
    if one.key.state is KeyState.RETIRING:
        return "it signs no more: it goes by itself"
    if one.key.state is KeyState.NEXT:
        return f"let a fresh one be next: soboo-mta key revoke {one.key.key_id}"
    if one.key.algorithm is Algorithm.ED25519:  # one selector: no next one beside it
        return f"soboo-mta key rotate {whose} --emergency makes a new one"
    return f"let the next key take its place: soboo-mta key rotate {whose}"


def _publish(one: KeyHistory) -> str:
    by_hand = one.settings is not None and one.settings.mode is Mode.MANUAL
    whose = one.settings.name if one.settings and by_hand else "--operator"
    return f"publish what soboo-mta domain records {whose} shows"


def _owner(one: KeyHistory) -> int | None:
    return None if one.settings is None else int(one.settings.domain_id)


def _is_over(one: KeyHistory) -> bool:
    return one.key.state in (KeyState.REVOKED, KeyState.WITHDRAWN)


def _bits(one: KeyHistory) -> int:
    try:
        return public_bits(one.key.p, one.key.algorithm)
    except FormatError:
        return 0


def _p_of(text: str) -> str:
    try:
        return txt_p(text)[0]
    except FormatError:
        return ""
