"""What one look shows of each record, and of each capability that rests on several.

Pure. A capability is UNKNOWN where what it rests on gave no answer, though the last known
good still carries departures; it is never good by what was seen earlier.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from soboo_mta.identity.plan import signing_key
from soboo_mta.identity.standing import PROOFS, Capability, RecordName, Subject
from soboo_mta.identity.state import (
    Algorithm,
    DomainSettings,
    Facts,
    Fault,
    KeyState,
    Mode,
    Purpose,
    RecordCheck,
    RecordStatus,
)
from soboo_mta.mail.ids import KeyId
from soboo_mta.onboarding.judging.judge import Finding
from soboo_mta.onboarding.watch.states import Reading
from soboo_mta.ports import RecordType

_SIGNING = (KeyState.ACTIVE, KeyState.NEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a domain. `owned`: it saw a proof; `is_owner`: and the name is this
    tenant's by it, no other tenant's proof stands. `reports` as in CheckResult."""

    settings: DomainSettings
    checks: tuple[RecordCheck, ...]
    facts: Facts
    owned: bool
    is_owner: bool
    reports: Finding | None = None


def readings(seen: Seen) -> tuple[Reading, ...]:
    """Return the capabilities of the domain's mode, then its records."""
    return (*_capabilities(seen), *map(_record, seen.checks))


def good_subjects(seen: Seen) -> frozenset[Subject]:
    """Return what a look showed as it should be."""
    return frozenset(one.subject for one in readings(seen) if one.is_good)


def renewed(
    before: Iterable[RecordCheck], now: Iterable[RecordCheck]
) -> frozenset[Subject]:
    """Return the records of which another value is asked for now than before."""
    wanted = {_name(check): check.record.value for check in before}
    return frozenset(
        name
        for name, value in ((_name(check), check.record.value) for check in now)
        if wanted.get(name, value) != value
    )


def _name(check: RecordCheck) -> RecordName:
    return RecordName(check.record.owner, check.record.kind)


def _record(check: RecordCheck) -> Reading:
    return Reading(
        subject=_name(check),
        status=check.status,
        is_required=check.record.is_required,
        cause=check.cause,
        fault=check.fault,
    )


def _capabilities(seen: Seen) -> Iterator[Reading]:
    settings = seen.settings
    yield _ownership(seen)
    if keys := _of(seen, Purpose.SELECTOR, with_zone=True):
        yield _signing(Capability.SIGN, seen, keys, seen.facts.usable)
    if author := _of(seen, Purpose.AUTHOR_SELECTOR):
        yield _signing(
            Capability.SIGN_AS_AUTHOR, seen, author, seen.facts.usable_author
        )
    if settings.mode in (Mode.CNAME, Mode.ZONE):
        yield _bounce(_of(seen, Purpose.BOUNCE, with_zone=True), seen.facts)
    for capability, purpose in (
        (Capability.SPF, Purpose.SPF),
        (Capability.DMARC, Purpose.DMARC),
        (Capability.LINK, Purpose.LINK),
        (Capability.IMAGE, Purpose.IMAGE),
    ):
        for check in _of(seen, purpose):
            yield replace(_record(check), subject=capability)
    if seen.reports is not None:
        yield _reporting(seen.reports)
    if names := _of(seen, Purpose.HELO):
        yield _server_names(names)


def _of(
    seen: Seen, purpose: Purpose, *, with_zone: bool = False
) -> tuple[RecordCheck, ...]:
    """The checks that tell of `purpose`; in a zone delegated to us its NS tell of all."""
    return tuple(
        check
        for check in seen.checks
        if check.record.purpose is purpose
        or (with_zone and check.record.kind is RecordType.NS)
    )


def _ownership(seen: Seen) -> Reading:
    if seen.is_owner:
        return _good(Capability.OWNERSHIP)
    if seen.owned:
        return Reading(
            subject=Capability.OWNERSHIP,
            status=RecordStatus.WRONG,
            is_required=True,
            cause="the name is another tenant's, whose proof still stands",
        )
    proofs = [check for check in seen.checks if check.record.purpose in PROOFS]
    return _not_good(Capability.OWNERSHIP, proofs, "no proof of ownership was found")


def _signing(
    capability: Capability,
    seen: Seen,
    checks: tuple[RecordCheck, ...],
    usable: Collection[KeyId],
) -> Reading:
    keys = seen.settings.keys
    good = [check.record for check in checks if check.status is RecordStatus.GOOD]
    is_delegated = any(record.kind is RecordType.NS for record in good)
    selectors = {record.selector for record in good}
    shown = tuple(
        key.key_id
        for key in keys
        if key.key_id in usable and (is_delegated or key.selector in selectors)
    )
    needed = any(check.record.is_required for check in checks)
    if signing_key(keys, Algorithm.RSA, shown) is not None:
        return _good(capability, is_required=needed)
    signing = {key.selector for key in keys if key.state in _SIGNING}
    theirs = [check for check in checks if check.record.selector in signing]
    cause = "no key that may sign is found by receivers"
    return _not_good(capability, theirs or checks, cause, is_required=needed)


def _bounce(checks: tuple[RecordCheck, ...], facts: Facts) -> Reading:
    is_known = all(check.status is not RecordStatus.UNKNOWN for check in checks)
    if is_known and facts.bounce_ready:
        return _good(Capability.BOUNCE)
    cause = "the bounce host does not lead to us"
    return _not_good(Capability.BOUNCE, checks, cause)


def _server_names(checks: tuple[RecordCheck, ...]) -> Reading:
    if all(check.status is RecordStatus.GOOD for check in checks):
        return _good(Capability.HELO, is_required=False)
    return _not_good(Capability.HELO, checks, "", is_required=False)


def _reporting(found: Finding) -> Reading:
    return Reading(
        subject=Capability.REPORT,
        status=found.status,
        is_required=False,
        cause=found.cause,
        fault=found.fault,
    )


def _good(capability: Capability, *, is_required: bool = True) -> Reading:
    return Reading(
        subject=capability, status=RecordStatus.GOOD, is_required=is_required
    )


def _not_good(
    capability: Capability,
    checks: Iterable[RecordCheck],
    otherwise: str,
    *,
    is_required: bool = True,
) -> Reading:
    """Not good, for the reason of the first record that is not; no answer comes first,
    for what was not heard may be good."""
    bad = [check for check in checks if check.status is not RecordStatus.GOOD]
    bad.sort(key=lambda check: check.status is not RecordStatus.UNKNOWN)
    return Reading(
        subject=capability,
        status=bad[0].status if bad else RecordStatus.MISSING,
        is_required=is_required,
        cause=bad[0].cause if bad else otherwise,
        fault=bad[0].fault if bad else Fault.NONE,
    )
