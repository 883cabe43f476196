"""Receivers report on what was sent: the share that passes, a stranger, mail of ours that
fails, and a replay, which is told by our own count of what was delivered."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from soboo_mta.cli.trial.world import World, free_ports
from soboo_mta.events.reports.dmarc import DAY_MS
from soboo_mta.events.tally.view import sent_from
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.returned import DmarcReport, DmarcRow
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import read_now, write_now
from tests.chaos.ready_world import DOMAIN, SINKS, USER, ready_world, store_url
from tests.fakes.dmarc_reports import (
    FAILS,
    FORWARDER,
    STRANGE,
    STRANGER,
    a_report,
    row,
    signed,
    tallied_since,
    xml,
    zipped,
)
from tests.stories.test_a_bounce_comes_home import all_read, bring
from tests.unit.formats.returned_examples import attached

MAILBOX = "dmarc@esp.example"
Pack = Callable[[bytes], bytes]


def today() -> int:
    return (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


@asynccontextmanager
async def reported_world(directory: Path) -> AsyncIterator[World]:
    """Returns are listened for, reports have a mailbox, and two receivers have SPF and
    DMARC records by which mail from here is theirs. Deliveries are counted since before."""
    (port,) = free_ports(1)
    extra = f"""
[[return_listeners]]
address = "127.0.0.1"
port = {port}
tls = "none"
"""
    mailbox = {"SOBOO_OPERATOR__DMARC_REPORTS": MAILBOX}
    async with ready_world(directory, extra=extra, environment=mailbox) as place:
        place.environment |= {"RETURN_PORT": str(port)}  # type: ignore[operator]
        for reporter in ("alpha.test", "beta.test"):
            lines = [f"@ MX 10 mx.{reporter}.", f"mx A {SINKS[reporter]}"]
            spf = '@ TXT "v=spf1 ip4:127.0.0.1 -all"'
            dmarc = '_dmarc TXT "v=DMARC1; p=reject"'
            place.zones.write(reporter, [*lines, spf, dmarc])
        engine = open_engine(store_url(place))
        write_now(engine, _since_yesterday)
        engine.dispose()
        await place.start_relay()
        yield place


def _since_yesterday(at: Connection) -> None:
    """The domain is here, and deliveries are counted, since before today."""
    tallied_since(at, today() - 1)
    began = (today() - 1) * DAY_MS
    at.execute(update(sending_domain).values(created_at=began))


async def sent(place: World, number: int) -> DmarcRow:
    """Deliver so many messages, and wait until they are counted; return the row of a
    report that counts them."""
    for one in range(number):
        message = EmailMessage()
        message["From"], message["Subject"] = f"news@{DOMAIN}", f"Number {one}"
        message.set_content("Hello there")
        await place.submit(USER, message, ["ann@alpha.test"])
    record, *_ = await place.lab.wait_for(number, 60)
    assert record.verdict.dmarc == "pass"
    engine = open_engine(store_url(place))

    async def are_counted() -> bool:
        return read_now(engine, lambda at: _is_counted(at, number))

    await place.until("all deliveries are counted", are_counted)
    engine.dispose()
    found = record.verdict.dkim[0]
    return row(
        "127.0.0.1",
        number,
        header_from=DOMAIN,
        dkim_results=(signed(found.d, found.s),),
        spf_domain=f"bounce.{DOMAIN}",
    )


def _is_counted(at: Connection, number: int) -> bool:
    this = {"domain": Domain(DOMAIN), "first_day": today(), "last_day": today()}
    return sent_from(at, **this) == number


def of(reporter: str, *rows: DmarcRow, **changed: Any) -> DmarcReport:
    return a_report(today(), *rows, domain=DOMAIN, reporter=reporter, **changed)


async def reported(
    place: World, report: DmarcReport, number: int, pack: Pack, *, is_old: bool
) -> None:
    """Bring a report as its reporter does; wait until that many returns are read."""
    media = "application/zip" if pack is zipped else "application/gzip"
    mail = attached(pack(xml(report, is_old=is_old)), media=media, name="report")
    author = f"From: reports@{report.reporter}".encode()
    mail = mail.replace(b"From: reports@mail.example", author)
    returns = [(MAILBOX, mail)]
    sender = f"reports@{report.reporter}"
    assert await asyncio.to_thread(bring, place, returns, sender) == 1
    found = await all_read(place, number)
    assert {one["kind"] for one in found} == {"dmarc-report"}


async def shown(place: World) -> dict[str, Any]:
    found = await place.command("reports", "dmarc", DOMAIN, "--json")
    return dict(json.loads(found))


def alarms(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["detail"] for one in found["alarms"] if one["kind"] == kind]


async def test_reports_show_the_share_the_stranger_and_what_of_ours_fails(
    tmp_path: Path,
) -> None:
    async with reported_world(tmp_path / "world") as place:
        good = await sent(place, 3)
        bad = row("127.0.0.1", 1, **{**FAILS, "header_from": DOMAIN})
        stranger = row(STRANGER, 4, **{**STRANGE, "header_from": DOMAIN})
        await reported(
            place, of("alpha.test", good, stranger), 1, gzip.compress, is_old=True
        )
        await reported(place, of("beta.test", bad), 2, zipped, is_old=False)
        forged = of("gamma.test", row(STRANGER, 900, header_from=DOMAIN))
        await reported(place, forged, 3, gzip.compress, is_old=False)

        found = await shown(place)
        assert found["reports"]["reporters"] == ["alpha.test", "beta.test"]
        assert found["reports"]["unproved"] == 1
        assert found["delivered"] == 3
        shares = found["shares"]
        assert (shares["messages"], shares["passed"], shares["ours"]) == (8, 3, 4)
        sources = {one["source"]: one for one in found["sources"]}
        assert sources[STRANGER]["whose"] == "other"
        assert sources[STRANGER]["failed"] == 4
        (incident,) = alarms(found, "dmarc-failed")
        assert (incident["reporter"], incident["source"]) == ("beta.test", "127.0.0.1")
        assert alarms(found, "replay-suspected") == []
        assert found["advice"]["raise_to"] is None

        text = await place.command("reports", "dmarc", DOMAIN)
        assert "messages: 8, 37.5 % pass" in text
        assert "of ours: 4, 75.0 % pass (3 were delivered)" in text
        assert "not counted: 1 that nobody is proved to have sent" in text
        assert DOMAIN in await place.command("reports", "dmarc")
        assert '"domain_alarm"' in place.relay_log()


async def test_case_075_a_replay_is_more_than_was_delivered(tmp_path: Path) -> None:
    async with reported_world(tmp_path / "world") as place:
        good = await sent(place, 3)
        # Ten are tolerated: with the three that were sent, 13 are no alarm, and 14 are.
        elsewhere = row(
            FORWARDER, 10, header_from=DOMAIN, dkim_results=good.dkim_results
        )
        report = of("alpha.test", good, elsewhere)
        await reported(place, report, 1, gzip.compress, is_old=False)
        assert alarms(await shown(place), "replay-suspected") == []

        one = row(FORWARDER, 1, header_from=DOMAIN, dkim_results=good.dkim_results)
        await reported(place, of("beta.test", one), 2, zipped, is_old=True)
        (replay,) = alarms(await shown(place), "replay-suspected")
        assert (replay["reported"], replay["delivered"]) == (14, 3)
        assert (replay["elsewhere"], replay["reports"]) == (11, 2)
        text = await place.command("reports", "dmarc", DOMAIN)
        assert "replay-suspected" in text
