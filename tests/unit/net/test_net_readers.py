"""Readers of returns are processes: they may die, and whoever asked goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import (
    DmarcReport,
    DmarcRow,
    Dsn,
    HumanReply,
    Unrecognised,
)
from soboo_mta.net.readers import Ended, Readers
from soboo_mta.returns.options import ReaderLimits
from soboo_mta.returns.reader.frames import ANSWER, answer, as_json, from_json, said
from tests.unit.formats.returned_examples import dsn, mail

FAILED = dsn(
    "Reporting-MTA: dns; mx.there.example\n\n"
    "Final-Recipient: rfc822; bob@there.example\nAction: failed\nStatus: 5.1.1\n"
)
NULL, FROM = Arrival(is_from_null=True), Arrival(is_from_null=False)
_BAD = """\
import os, sys, tempfile, time
import soboo_mta.returns.reader.__main__ as reader
def bad(content, arrival, good=reader.recognised):
    if b"burn" in content:
        while True: pass
    if b"sleep" in content: time.sleep(60)
    if b"fill" in content: bytearray(4 << 30)
    if b"raise" in content: raise RuntimeError("a bug")
    if b"babble" in content: os.write(1, b"\\0\\0\\0\\5hello")
    if b"flood" in content: os.write(1, b"\\xff" * 8)
    if b"write" in content: tempfile.TemporaryFile(buffering=0).write(b"x")
    return good(content, arrival)
reader.recognised = bad
sys.exit(reader.main(sys.argv[1:]))
"""


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    made = Readers(number=1, limits=ReaderLimits())
    yield made
    await made.close()


@pytest.fixture
async def bad_ones() -> AsyncIterator[Readers]:
    limits = ReaderLimits(seconds=timedelta(seconds=4), cpu_seconds=1)
    made = Readers(number=1, limits=limits, program=(sys.executable, "-c", _BAD))
    yield made
    await made.close()


async def test_a_reader_says_what_a_return_is(readers: Readers) -> None:
    assert await readers.read(FAILED, NULL) == recognised(FAILED, NULL)
    answered = mail("Thanks", Subject="Re: Hello")
    assert isinstance(await readers.read(answered, FROM), HumanReply)
    large = b"x" * 3_000_000
    assert isinstance(await readers.read(large, NULL), Unrecognised)


@pytest.mark.parametrize(
    ("does", "cause"),
    [
        ("burn", "it took over 1 seconds of processor"),
        ("sleep", "it was not read within 4 seconds"),
        ("fill", "octets of memory"),
        ("raise", "its reader failed: RuntimeError: a bug"),
        ("babble", "the reader's answer is of no known kind"),
        ("flood", "its reader"),
        ("write", "its reader failed: FileNotFoundError"),
    ],
)
async def test_a_reader_that_goes_wrong_is_ended_and_the_next_return_is_read(
    bad_ones: Readers, does: str, cause: str
) -> None:
    found = await bad_ones.read(does.encode(), NULL)
    assert isinstance(found, Ended)
    assert cause in found.why
    assert isinstance(await bad_ones.read(FAILED, NULL), Dsn)


async def test_a_reader_that_is_killed_takes_one_return_with_it(
    bad_ones: Readers,
) -> None:
    await bad_ones.read(FAILED, NULL)
    reading = asyncio.create_task(bad_ones.read(b"sleep", NULL))
    await asyncio.sleep(0)
    (reader,) = children()
    os.kill(reader, signal.SIGKILL)
    assert await reading == Ended("its reader was ended by SIGKILL")
    assert isinstance(await bad_ones.read(FAILED, NULL), Dsn)


async def test_a_reading_that_is_broken_off_leaves_no_answer_behind(
    bad_ones: Readers,
) -> None:
    reading = asyncio.create_task(bad_ones.read(b"sleep", NULL))
    while not children():
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert isinstance(await bad_ones.read(FAILED, NULL), Dsn)


async def test_no_reader_outlives_its_owner(bad_ones: Readers) -> None:
    await bad_ones.read(FAILED, NULL)
    assert len(children()) == 1
    await bad_ones.close()
    assert children() == []


def children() -> list[int]:
    """Readers of this process that live; a store's server may be its child as well."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(child) for child in found.split() if _is_reader(child)]


def _is_reader(process: str) -> bool:
    return b"returns.reader" in Path(f"/proc/{process}/cmdline").read_bytes()


# ---- what goes between them


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400))
def test_an_answer_is_a_value_or_refused(octets: bytes) -> None:
    try:
        found = said(octets)
    except FormatError:
        return
    assert from_json(found.kind.value, as_json(found)) == found


@given(st.binary(max_size=2_000), st.booleans())
def test_whatever_a_return_is_goes_over_and_comes_back(
    octets: bytes, is_from_null: bool
) -> None:
    found = recognised(octets, Arrival(is_from_null=is_from_null))
    assert said(answer(found, limit=1 << 20)[ANSWER.size :]) == found


def test_of_a_report_that_is_too_long_rows_are_left_out_and_counted() -> None:
    row = DmarcRow(
        source_ip="192.0.2.1",
        count=1,
        disposition="none",
        dkim="pass",
        spf="pass",
        header_from="customer.com",
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    report = DmarcReport(
        reporter="there.example",
        report_id="1",
        domain="customer.com",
        begin=at,
        end=at,
        rows=tuple(replace(row, count=n) for n in range(5_000)),
        left_out=3,
    )
    written = answer(report, limit=100_000)
    assert len(written) <= 100_000 + ANSWER.size
    found = said(written[ANSWER.size :])
    assert isinstance(found, DmarcReport)
    assert len(found.rows) + found.left_out == 5_003
    assert len(found.rows) > 100
    assert min(row.count for row in found.rows) == 5_000 - len(found.rows)
    assert said(answer(report, limit=100)[ANSWER.size :]) == Unrecognised(
        why="a dmarc-report that says too much"
    )
