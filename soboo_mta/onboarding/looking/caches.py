"""Whether resolvers still serve what was before a record became good, and until when.

Receivers ask resolvers like ours; what they remember ends by itself. So a record stays
good, and departures rest on its own servers' answers alone.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from soboo_mta.identity.state import Fault, Purpose, RequiredRecord
from soboo_mta.onboarding.judging.judge import Finding, shown, texts
from soboo_mta.ports import (
    Answer,
    Clock,
    Found,
    NamedResolver,
    NoData,
    NoName,
    RecordType,
    Unanswered,
)


@dataclass(frozen=True, slots=True)
class _Lag:
    """A resolver, and what it still says."""

    resolver: str
    answer: Found | NoData | NoName


@dataclass(frozen=True, slots=True)
class Caches:
    """Asks every recursive resolver by itself."""

    resolvers: Sequence[NamedResolver]
    clock: Clock

    async def remarked(
        self, record: RequiredRecord, finding: Finding, answer: Answer
    ) -> Finding:
        """Return `finding` of a good record, `answer` being its own servers'; or with
        the resolvers that say something else, which is for them to forget (RFC 2308 §5
        for what is not there). One that is silent tells nothing."""
        said = await asyncio.gather(
            *(
                one.resolver.lookup(record.owner, record.asked, fresh=True)
                for one in self.resolvers
            )
        )
        wanted = _what_counts(record, answer)
        lags = [
            _Lag(one.name, other)
            for one, other in zip(self.resolvers, said, strict=True)
            if not isinstance(other, Unanswered)
            and _what_counts(record, other) != wanted
        ]
        return self._remark(record, finding, lags) if lags else finding

    def _remark(
        self, record: RequiredRecord, finding: Finding, lags: list[_Lag]
    ) -> Finding:
        remembered = [said for lag in lags if (said := _said(record, lag.answer))]
        what = remembered[0] if remembered else "that it does not exist"
        longest = timedelta(seconds=max(lag.answer.ttl for lag in lags))
        end = self.clock.now() + longest
        until = f"{end:%H:%M} UTC"
        if longest >= timedelta(days=1):
            until = f"{end:%Y-%m-%d} {until}"
        names = ", ".join(lag.resolver for lag in lags)
        return replace(
            finding,
            fault=Fault.STALE_CACHE if remembered else Fault.NEGATIVE_CACHE,
            cause=f"{record.owner} is right at its own servers; resolvers remember"
            f" {what} until about {until}: {names}",
            mend=f"nothing: wait until {until}; receivers may see the same till then",
        )


def _what_counts(record: RequiredRecord, answer: Answer) -> object:
    """What of an answer makes the record what it is: others' TXT may stand beside it."""
    if isinstance(answer, Unanswered):
        return None
    if record.kind is RecordType.CNAME:
        leads = record.value.removesuffix(".") in answer.chain
        return leads, _records(answer)
    match record.purpose:
        case Purpose.SPF:
            return frozenset(
                text for text in texts(answer) if text.lower().startswith("v=spf1")
            )
        case Purpose.OWNERSHIP if record.kind is RecordType.TXT:
            return record.value in (" ".join(t.split()) for t in texts(answer))
    return _records(answer)


def _records(answer: Answer) -> frozenset[object]:
    return frozenset(answer.records) if isinstance(answer, Found) else frozenset()


def _said(record: RequiredRecord, answer: Found | NoData | NoName) -> str:
    """What was there before, in words; "" for nothing."""
    if answer.chain and record.value.removesuffix(".") not in answer.chain:
        return f"CNAME {answer.chain[0]}."
    return shown(answer)
