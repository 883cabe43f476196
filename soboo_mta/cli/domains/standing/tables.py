"""How a domain stands as a table and as JSON, in the same words everywhere."""

from collections.abc import Iterable, Iterator, Mapping

from rich.table import Table

from soboo_mta.cli.queue.words import moment, span
from soboo_mta.identity.standing import (
    Capability,
    Condition,
    RecordName,
    Standing,
    Subject,
)
from soboo_mta.identity.state import RecordCheck, RecordStatus
from soboo_mta.onboarding.watch.states import TABLE, Timers, ends_at
from soboo_mta.tenancy.domains import DomainView


def state_word(view: DomainView) -> str:
    """Return how a domain stands as a whole."""
    if view.settings.assume_verified:
        return "assumed"
    if view.standing is None and view.verified_at is not None:
        return "not looked at yet"  # by this release
    return view.standing or Standing.PENDING


def standing_table(
    conditions: Iterable[Condition], checks: Iterable[RecordCheck], timers: Timers
) -> Table:
    """Return the capabilities of a domain, and those of its records that are not good or
    gave no answer: since when they stand so, and what is next."""
    silent = _silent_since(checks)
    table = Table("what", "state", "since", "next")
    for one in conditions:
        is_record = isinstance(one.subject, RecordName)
        is_calm = one.standing is Standing.VERIFIED and one.subject not in silent
        if is_record and is_calm and not one.is_flapping:
            continue
        wish = "" if one.is_required else " (recommended)"
        table.add_row(
            f"{one.subject}{wish}",
            f"{one.standing}, flapping" if one.is_flapping else one.standing,
            moment(one.since),
            "\n".join(_next(one, silent, timers)),
        )
    return table


def condition_values(condition: Condition, timers: Timers) -> dict[str, object]:
    """Return how one subject stands as JSON shows it; times are unix ms."""
    subject = condition.subject
    what = "capability" if isinstance(subject, Capability) else "record"
    return {
        what: str(subject),
        "state": condition.standing,
        "since": condition.since,
        "ends_at": ends_at(condition, timers),
        "flapping": condition.is_flapping,
        "required": condition.is_required,
        "why": condition.cause,
        "fault": condition.fault,
    }


def _next(
    condition: Condition, silent: Mapping[Subject, int], timers: Timers
) -> Iterator[str]:
    if condition.subject in silent:
        since = moment(silent[condition.subject])
        yield f"no answer since {since}: nothing moves until there is one"
    end = ends_at(condition, timers)
    if end is not None:
        yield f"{TABLE[condition.standing].bad} after {moment(end)}"
    if condition.is_flapping:
        yield f"told again once it holds for {span(timers.window)}"


def _silent_since(checks: Iterable[RecordCheck]) -> dict[Subject, int]:
    return {
        RecordName(check.record.owner, check.record.kind): (
            check.checked_at if check.since is None else check.since
        )
        for check in checks
        if check.status is RecordStatus.UNKNOWN
    }
