"""From the findings of one look to the facts that departures rest on.

Pure. A finding without an answer keeps what the last look knew, for a bounded time; every
other finding counts as it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from soboo_mta.identity.dmarc import unknown_view
from soboo_mta.identity.state import (
    DmarcView,
    DomainSettings,
    Facts,
    KeyState,
    Purpose,
    RecordCheck,
    RecordStatus,
)
from soboo_mta.identity.web_hosts import WEB_PURPOSES
from soboo_mta.mail.ids import KeyId
from soboo_mta.onboarding.judging.judge import Finding
from soboo_mta.ports import RecordType

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Memory:
    """What the last look knew, for what this one got no answer to."""

    previous: Facts | None
    now: int  # unix ms
    keep: timedelta

    def for_record(self, check: RecordCheck) -> Facts | None:
        """The previous facts, where `check` got no answer and was good lately."""
        if check.status is not RecordStatus.UNKNOWN or check.good_at is None:
            return None
        if self.now - check.good_at > self.keep / timedelta(milliseconds=1):
            return None
        return self.previous


def facts_of(
    settings: DomainSettings,
    seen: Iterable[tuple[RecordCheck, Finding]],
    memory: Memory,
) -> Facts:
    """Return the facts that follow from one look at every required record."""
    usable: set[KeyId] = set()
    author: set[KeyId] = set()  # under the From domain, where the keys stand elsewhere
    bounce_ready = False
    spf_bounce: tuple[str, ...] = ()
    spf_author: tuple[str, ...] = ()
    web = dict.fromkeys(WEB_PURPOSES, False)
    walk = suffix_list = unknown_view()
    observed_at = memory.now
    for check, finding in seen:
        kept = memory.for_record(check)
        is_author = check.record.purpose is Purpose.AUTHOR_SELECTOR
        found = author if is_author else usable
        found.update(finding.usable)
        if kept:
            was = kept.usable_author if is_author else kept.usable
            found.update(_kept_keys(settings, check, finding, was))
            observed_at = min(observed_at, check.good_at or observed_at)
        web |= dict.fromkeys(finding.web, True)
        if _tells_of_bounces(check):
            bounce_ready = _or_kept(
                finding.bounce, kept.bounce_ready if kept else None, bounce_ready
            )
            spf_bounce = _sources(
                finding, kept.spf_bounce if kept else None, spf_bounce
            )
        elif check.record.purpose in web:
            web[check.record.purpose] = _web_ready(check, kept)
        elif check.record.purpose is Purpose.SPF:
            spf_author = _sources(
                finding, kept.spf_author if kept else None, spf_author
            )
        elif check.record.purpose is Purpose.DMARC:
            seen_walk = _completed(finding.walk, kept)
            walk = _or_kept(seen_walk, kept.walk if kept else None, walk)
            suffix_list = _or_kept(
                finding.suffix_list, kept.suffix_list if kept else None, suffix_list
            )
    now = Facts(
        usable=tuple(key.key_id for key in settings.keys if key.key_id in usable),
        usable_author=tuple(
            key.key_id for key in settings.keys if key.key_id in author
        ),
        bounce_ready=bounce_ready,
        spf_bounce=spf_bounce,
        spf_author=spf_author,
        walk=walk,
        suffix_list=suffix_list,
        observed_at=observed_at,  # a watch that stops now adds no further 72 hours
        stable_since=memory.now,
        link_ready=web[Purpose.LINK],
        image_ready=web[Purpose.IMAGE],
    )
    return _stable(memory.previous, now)


def _stable(previous: Facts | None, now: Facts) -> Facts:
    """`now`, since when it was so where nothing differs."""
    if previous is None:
        return now
    as_before = replace(now, stable_since=previous.stable_since)
    is_same = replace(as_before, observed_at=previous.observed_at) == previous
    return as_before if is_same else now


def _web_ready(check: RecordCheck, kept: Facts | None) -> bool:
    if kept is None:
        return check.status is RecordStatus.GOOD
    is_link = check.record.purpose is Purpose.LINK
    return kept.link_ready if is_link else kept.image_ready


def _tells_of_bounces(check: RecordCheck) -> bool:
    return check.record.purpose is Purpose.BOUNCE or check.record.kind is RecordType.NS


def _or_kept(seen: _Value | None, kept: _Value | None, otherwise: _Value) -> _Value:
    if seen is not None:
        return seen
    return otherwise if kept is None else kept


def _sources(
    finding: Finding, kept: tuple[str, ...] | None, otherwise: tuple[str, ...]
) -> tuple[str, ...]:
    """The sources that SPF passes for; only those without an answer as they were."""
    if finding.spf is None:
        return otherwise if kept is None else kept
    return (
        *finding.spf,
        *(name for name in finding.spf_unknown if kept and name in kept),
    )


def _completed(view: DmarcView | None, kept: Facts | None) -> DmarcView | None:
    """`view` with whom to align as it was, where only how was answered."""
    if view is None or kept is None or view.organizational:
        return view
    return replace(view, organizational=kept.walk.organizational)


def _kept_keys(
    settings: DomainSettings,
    check: RecordCheck,
    finding: Finding,
    were: tuple[KeyId, ...],
) -> Iterable[KeyId]:
    """The keys that `check` tells of and that were usable; a delegation tells of all."""
    return (
        key.key_id
        for key in settings.keys
        if (key.selector == check.record.selector or check.record.kind is RecordType.NS)
        and key.state is not KeyState.REVOKED
        and key.key_id in were
        and (finding.unanswered is None or key.key_id in finding.unanswered)
    )
