"""The monitor: stores looks, says what changed, opens the gates of mended domains."""

import asyncio
from dataclasses import replace

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import DomainState
from soboo_mta.mail.ids import DomainId, KeyId
from soboo_mta.onboarding.check import CheckOptions, DomainCheck
from soboo_mta.onboarding.watch.monitor import (
    Monitor,
    MonitorOptions,
    Observation,
    Watched,
    changes,
)
from tests.fakes.clock import FakeClock
from tests.fakes.domains import FACTS, NOTHING, OPERATOR, SETTINGS, VIEW, published


class Book:
    """A `DomainBook` in memory: one domain, and what was told about it."""

    def __init__(self, state: DomainState) -> None:
        self.state = state
        self.is_due = True
        self.is_gated = True
        self.told: list[Observation] = []
        self.looked = asyncio.Event()

    async def due(self, *, now: int, limit: int) -> tuple[Watched, ...]:
        return (Watched(state=self.state, checks=()),) if self.is_due else ()

    async def record(self, observation: Observation) -> None:
        self.told.append(observation)
        self.state = replace(self.state, facts=observation.result.facts)
        self.is_due = False
        self.looked.set()

    async def postpone(self, domain_id: DomainId, *, until: int) -> None:
        raise AssertionError("no look breaks here")

    async def gated(self) -> tuple[DomainState, ...]:
        return (self.state,) if self.is_gated else ()

    async def open_gate(self, domain_id: DomainId) -> None:
        assert domain_id == self.state.settings.domain_id
        self.is_gated = False


def _monitor(book: Book, *, is_published: bool) -> Monitor:
    dns = published(SETTINGS)
    if is_published:
        dns.add("bounce.customer.com", "CNAME", "tok7.b.esp.example.")
        dns.add("sb1._domainkey.customer.com", "CNAME", "sb1.tok7.k.esp.example.")
        dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")
    check = DomainCheck(
        resolver=dns,
        operator=OPERATOR,
        suffixes=SuffixList(),
        clock=FakeClock(),
        options=CheckOptions(),
    )
    return Monitor(
        check=check,
        book=book,
        operator=OPERATOR,
        clock=FakeClock(),
        options=MonitorOptions(),
        operator_facts=lambda: None,
    )


def _broken() -> DomainState:
    return DomainState(settings=SETTINGS, was_verified=True, facts=NOTHING)


async def test_a_mended_domain_is_stored_and_its_gate_opened() -> None:
    book = Book(_broken())

    assert await _monitor(book, is_published=True).round() == 1

    assert "key 1 is usable" in book.told[0].changes
    assert book.told[0].result.owned
    assert not book.is_gated


async def test_a_domain_still_broken_stays_behind_its_gate() -> None:
    book = Book(_broken())

    await _monitor(book, is_published=False).round()

    assert book.told
    assert book.is_gated


async def test_a_gate_closed_on_old_facts_opens_without_a_look() -> None:
    book = Book(replace(_broken(), facts=FACTS))
    book.is_due = False

    assert await _monitor(book, is_published=True).round() == 0

    assert not book.told
    assert not book.is_gated


async def test_a_gate_stays_while_what_was_seen_is_over_72_hours_old() -> None:
    old = FACTS.observed_at - 72 * 3_600_000 - 1
    book = Book(replace(_broken(), facts=replace(FACTS, observed_at=old)))
    book.is_due = False

    await _monitor(book, is_published=True).round()

    assert book.is_gated  # the next departure would close it again


async def test_a_gate_stays_while_one_source_has_no_way_out() -> None:
    alone = replace(NOTHING, spf_author=("out-1",))
    book = Book(replace(_broken(), facts=alone))
    book.is_due = False

    await _monitor(book, is_published=False).round()

    assert book.is_gated


async def test_a_failing_store_does_not_end_the_watch() -> None:
    class Failing(Book):
        failures = 2

        async def due(self, *, now: int, limit: int) -> tuple[Watched, ...]:
            if self.failures:
                self.failures -= 1
                raise RuntimeError("the store is away")
            return await super().due(now=now, limit=limit)

    book = Failing(_broken())
    monitor = _monitor(book, is_published=True)
    running = asyncio.ensure_future(monitor.run())
    async with asyncio.timeout(10):
        while not book.looked.is_set():
            monitor.wake()
            await asyncio.sleep(0)
    running.cancel()

    assert len(book.told) == 1


def test_equal_facts_are_no_change_whenever_they_were_seen() -> None:
    assert changes(FACTS, replace(FACTS, observed_at=99_999)) == ()


def test_each_fact_that_decides_a_departure_is_a_change() -> None:
    strict = replace(VIEW, policy="none")
    differing = (
        replace(FACTS, usable=(KeyId(1),)),
        replace(FACTS, usable=(KeyId(1), KeyId(2), KeyId(3))),
        replace(FACTS, bounce_ready=False),
        replace(FACTS, spf_bounce=("out-1",)),
        replace(FACTS, spf_author=("out-1",)),
        replace(FACTS, walk=strict),
        replace(FACTS, suffix_list=strict),
    )
    for facts in differing:
        assert len(changes(FACTS, facts)) == 1
    assert changes(None, FACTS) == ("first look",)
