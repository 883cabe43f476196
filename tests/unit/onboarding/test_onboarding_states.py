"""How standings move: the table, its timers, and what is told, whatever DNS does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from soboo_mta.daemon.domains.keeping import KINDS
from soboo_mta.identity.standing import Capability, Condition, Standing, worst
from soboo_mta.identity.state import Fault, RecordStatus
from soboo_mta.onboarding.watch.states import (
    TABLE,
    Move,
    News,
    Reading,
    Timers,
    advance,
    begin,
    ends_at,
    step,
    wait,
)
from tests.examples import examples

ROOT = Path(__file__).parents[3]
GOOD, MISSING = RecordStatus.GOOD, RecordStatus.MISSING
WRONG, UNKNOWN = RecordStatus.WRONG, RecordStatus.UNKNOWN
HOUR = 3_600_000
TIMERS = Timers()
P, S, V = Standing.PENDING, Standing.STALLED, Standing.VERIFIED
R, B = Standing.AT_RISK, Standing.BROKEN


def reading(status: RecordStatus, *, is_required: bool = True) -> Reading:
    return Reading(
        subject=Capability.SIGN,
        status=status,
        is_required=is_required,
        cause="" if status is GOOD else f"it is {status}",
        fault=Fault.NONE if status is GOOD else Fault.SPLIT_SERVERS,
    )


def standing(now: Standing, **values: object) -> Condition:
    plain: dict[str, object] = {
        "subject": Capability.SIGN,
        "standing": now,
        "since": 0,
        "told": now,
        "is_required": True,
    }
    return Condition(**(plain | values))  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("before", "status", "hours", "after", "news"),
    [
        (P, GOOD, 1, V, News.VERIFIED),
        (P, MISSING, 71.9, P, None),
        (P, WRONG, 72, S, News.STALLED),
        (P, GOOD, 99, V, News.VERIFIED),
        (S, MISSING, 999, S, None),
        (S, GOOD, 999, V, News.VERIFIED),
        (V, GOOD, 999, V, None),
        (V, MISSING, 0, R, News.AT_RISK),
        (V, WRONG, 999, R, News.AT_RISK),
        (R, GOOD, 1, V, News.RECOVERED),
        (R, WRONG, 71.9, R, None),
        (R, MISSING, 72, B, News.BROKEN),
        (R, GOOD, 72, V, News.RECOVERED),
        (B, WRONG, 999, B, None),
        (B, GOOD, 999, V, News.RECOVERED),
        *((one, UNKNOWN, 999, one, None) for one in (P, S, V, R, B)),
    ],
)
def test_each_standing_moves_as_the_table_says(
    before: Standing,
    status: RecordStatus,
    hours: float,
    after: Standing,
    news: News | None,
) -> None:
    now = int(hours * HOUR)
    condition, move = step(standing(before), reading(status), TIMERS, now=now)
    assert condition.standing is after
    assert condition.since == (0 if after is before else now)
    assert (move.news if move else None) is news
    if move:
        assert (move.before, move.after) == (before, after)
        assert move.cause == condition.cause == reading(status).cause


def test_what_is_not_needed_stays_pending_and_nobody_is_told() -> None:
    optional = standing(P, is_required=False)
    late = reading(MISSING, is_required=False)
    assert step(optional, late, TIMERS, now=999 * HOUR) == (optional, None)
    assert ends_at(optional, TIMERS) is None


@pytest.mark.parametrize(
    ("now", "end"), [(P, 72), (R, 72), (V, None), (S, None), (B, None)]
)
def test_the_end_of_a_standing_is_foretold(now: Standing, end: int | None) -> None:
    assert ends_at(standing(now), TIMERS) == (None if end is None else end * HOUR)


def test_the_worst_of_what_is_needed_is_how_a_domain_stands() -> None:
    optional = standing(B, is_required=False)
    assert worst([standing(V), optional]) is V
    assert worst([standing(V), standing(P)]) is P
    assert worst([standing(R), standing(S), standing(P)]) is R
    assert worst([standing(R), standing(B)]) is B
    assert worst([]) is None


def test_what_an_earlier_release_saw_good_is_no_news() -> None:
    good, moves = advance(
        (),
        [reading(GOOD)],
        TIMERS,
        good_before={Capability.SIGN},
        renewed=(),
        now=5,
    )
    assert (good[0].standing, moves) == (V, ())
    _, moves = advance(
        (),
        [reading(MISSING)],
        TIMERS,
        good_before={Capability.SIGN},
        renewed=(),
        now=5,
    )
    assert [move.news for move in moves] == [News.AT_RISK]


def test_where_something_else_is_asked_for_the_wait_begins_anew() -> None:
    (after,), moves = advance(
        [standing(B)],
        [reading(MISSING)],
        TIMERS,
        good_before=(),
        renewed={Capability.SIGN},
        now=7,
    )
    assert (after.standing, after.since, moves) == (P, 7, ())


def test_what_is_no_longer_read_is_forgotten() -> None:
    assert advance([standing(B)], [], TIMERS, good_before=(), renewed=(), now=7) == (
        (),
        (),
    )


@pytest.mark.parametrize(
    ("now", "age", "seconds"),
    [
        (P, timedelta(0), 30),
        (P, timedelta(hours=1), 360),
        (P, timedelta(hours=60), 3_600),
        (S, timedelta(days=90), 6 * 3_600),
        (R, timedelta(hours=60), 30),
        (B, timedelta(minutes=1), 30),
        (B, timedelta(days=9), 3_600),
        (V, timedelta(days=9), 30),  # no answer lately
    ],
)
def test_what_was_good_lately_is_looked_at_often_and_what_never_was_ever_more_seldom(
    now: Standing, age: timedelta, seconds: int
) -> None:
    at = age // timedelta(milliseconds=1)
    for status in (MISSING, UNKNOWN):
        left = wait([standing(now)], [reading(status)], TIMERS, now=at)
        assert left == timedelta(seconds=seconds)
    assert wait([standing(now)], [reading(GOOD)], TIMERS, now=at) is None


# ---- flapping


@dataclass
class Watch:
    """One subject over time: every look's move, with when it was told."""

    condition: Condition
    timers: Timers = TIMERS

    def __post_init__(self) -> None:
        self.told: list[tuple[int, Move]] = []

    def look(self, status: RecordStatus, now: int) -> None:
        self.condition, move = step(
            self.condition, reading(status), self.timers, now=now
        )
        if move is not None:
            self.told.append((now, move))

    @property
    def news(self) -> list[News]:
        return [move.news for _, move in self.told]


def test_what_comes_and_goes_is_told_once_and_again_when_it_holds() -> None:
    watch = Watch(standing(V))
    for minute in range(40):
        watch.look((MISSING, GOOD)[minute % 2], minute * 60_000)
    assert watch.news == [
        News.AT_RISK,
        News.RECOVERED,
        News.AT_RISK,
        News.RECOVERED,
        News.FLAPPING,
    ]
    assert watch.condition.is_flapping
    last = 39 * 60_000
    watch.look(GOOD, last + 6 * HOUR - 1)
    assert len(watch.told) == 5
    watch.look(GOOD, last + 6 * HOUR)
    assert watch.news[5:] == [News.RECOVERED]
    assert not watch.condition.is_flapping
    watch.look(MISSING, last + 7 * HOUR)
    assert watch.news[6:] == [News.AT_RISK]  # as ever


def test_slow_changes_do_not_flap() -> None:
    watch = Watch(standing(V))
    for day in range(20):
        watch.look((MISSING, GOOD)[day % 2], day * 24 * HOUR)
    assert watch.news == [News.AT_RISK, News.RECOVERED] * 10


STATUSES = some.sampled_from([GOOD, MISSING, WRONG, UNKNOWN])
LOOKS = some.lists(some.tuples(STATUSES, some.integers(1, 8 * HOUR)), max_size=120)
SHORT = Timers(
    pending=timedelta(hours=10),
    grace=timedelta(hours=4),
    turns=3,
    window=timedelta(hours=6),
)  # a grace within the window: what breaks while it flaps
_FLAPS = some.sampled_from([TIMERS, SHORT, replace(TIMERS, turns=2)])


def _watched(looks: Sequence[tuple[RecordStatus, int]], timers: Timers) -> Watch:
    watch = Watch(begin(reading(MISSING), was_good=False, now=0), timers)
    now, bad_since = 0, None
    for status, pause in looks:
        now += pause
        before = watch.condition
        count = len(watch.told)
        watch.look(status, now)
        if status is UNKNOWN:
            assert watch.condition == before
            assert len(watch.told) == count
            continue
        bad_since = None if status is GOOD else (bad_since or now)
        if status is GOOD:
            assert watch.condition.standing is V
        if watch.condition.standing is B and before.standing is not B:
            assert bad_since is not None
            assert now - bad_since >= timers.grace / timedelta(milliseconds=1)
    watch.look(GOOD, now + 1)
    watch.look(GOOD, now + 1 + timers.window // timedelta(milliseconds=1))
    return watch


@examples(300)
@given(LOOKS, _FLAPS)
def test_no_answer_moves_nothing_and_nothing_is_broken_before_the_grace(
    looks: list[tuple[RecordStatus, int]], timers: Timers
) -> None:
    _watched(looks, timers)


@examples(300)
@given(LOOKS, _FLAPS)
def test_each_told_trouble_is_told_to_be_over(
    looks: list[tuple[RecordStatus, int]], timers: Timers
) -> None:
    watch = _watched(looks, timers)
    assert watch.news[-1] in (News.VERIFIED, News.RECOVERED)
    is_trouble = False
    for news in watch.news:
        if news in (News.RECOVERED, News.VERIFIED):
            assert is_trouble or news is News.VERIFIED
            is_trouble = False
        else:
            is_trouble = True
    assert not is_trouble
    assert watch.condition.told is watch.condition.standing is V


@examples(300)
@given(
    some.lists(
        some.tuples(STATUSES, some.integers(1, 20 * 60_000)), min_size=30, max_size=300
    ),
    _FLAPS,
)
def test_what_is_told_within_a_window_is_bounded(
    looks: list[tuple[RecordStatus, int]], timers: Timers
) -> None:
    watch = _watched(looks, timers)
    window = timers.window // timedelta(milliseconds=1)
    times = [at for at, _ in watch.told]
    for start in times:
        within = [at for at in times if start <= at < start + window]
        # The turns that are told, that it flaps, the first proof and one that broke.
        assert len(within) <= timers.turns + 2


def test_docs_have_the_table_and_every_capability() -> None:
    text = (ROOT / "docs" / "domain-states.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    told = {row[0].strip("`"): row[1:] for row in rows}
    for now, ways in TABLE.items():
        _, good, bad = told[now]
        assert good == ("" if ways.good is now else f"`{ways.good}`")
        assert bad.partition(",")[0] == ("" if ways.bad is now else f"`{ways.bad}`")
    assert set(Capability) <= set(told)
    assert {kind.value for kind in KINDS.values()} <= set(told)
