"""A store that can't be written: clients are told to try again, nothing is lost, and the
relay goes on by itself once it can (RFC 5321 §4.2.5: 452)."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from soboo_mta.cli.trial.world import World
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import worker
from soboo_mta.store.writer import read_now
from tests.chaos.campaign import Campaign
from tests.chaos.ready_world import DOMAIN, ready_world, store_url
from tests.chaos.sender import Client, TryLater
from tests.chaos.small_disk import fill, small_disk
from tests.interop.syncs import traced

_KEPT_FREE = 8 * 1_048_576  # octets
_FULL = "452 4.3.1"
_INTERNAL = "451 4.3.0"
_TRIES = 200  # a log file that has grown may still have room for some messages


@pytest.fixture
async def campaign(tmp_path: Path) -> AsyncIterator[Campaign]:
    async with ready_world(tmp_path) as place:
        made = Campaign(place, Random(1), store_url(place))
        await _live(made)
        yield made


async def test_case_126_127_131_177_calls_that_fail_are_answered_and_survived(
    campaign: Campaign, capsys: pytest.CaptureFixture[str]
) -> None:
    await _submit(campaign, 5)
    answers = {
        "pwrite64:error=ENOSPC": _FULL,
        "fdatasync:error=ENOSPC": _INTERNAL,
        "fdatasync:error=EIO": _INTERNAL,
        "pwrite64:error=EIO": _INTERNAL,
    }
    for fault, expected in answers.items():
        life = _life(campaign)
        # A claim in doubt ends the lease.
        async with campaign.disturbed(fault), _failing(campaign.place, fault):
            assert expected in (await _submit(campaign, 1, life))[0], fault
        replies = await _submit(campaign, 5)
        assert all(reply.startswith("250") for reply in replies), (fault, replies)
    await _nothing_lost(campaign, capsys)


async def test_case_126_a_disk_that_is_full_for_longer_than_a_lease(
    tight: Campaign, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tight.place
    assert all(r.startswith("250") for r in await _submit(tight, 5))
    ballast = place.directory / "data" / "ballast"
    replies, life = list[str](), _life(tight)

    async def has_lost_its_lease() -> bool:
        replies.extend(await _submit(tight, 1, life))
        return _lease_is_over(place)

    # What it delivers meanwhile and can't note comes due again.
    async with tight.disturbed("disk full"):
        fill(ballast)
        while not replies or replies[-1].startswith("250"):
            assert len(replies) < _TRIES
            replies += await _submit(tight, 1, life)
            fill(ballast)
        assert replies[-1].startswith(_FULL), replies[-1]
        await place.until("the lease is over", has_lost_its_lease)
        assert not [r for r in replies if not r.startswith(("250", _FULL))]
        ballast.unlink()

    async def takes_mail() -> bool:
        return (await _submit(tight, 1))[0].startswith("250")

    await place.until("it takes mail again", takes_mail)
    await _nothing_lost(tight, capsys)


async def test_case_126_mail_is_refused_before_the_disk_is_full(tmp_path: Path) -> None:
    async with _on_a_small_disk(tmp_path, min_free=_KEPT_FREE) as campaign:
        place = campaign.place
        assert all(r.startswith("250") for r in await _submit(campaign, 5))
        ballast = place.directory / "data" / "ballast"
        space = os.statvfs(ballast.parent)
        ballast.write_bytes(bytes(space.f_bavail * space.f_frsize - _KEPT_FREE // 2))
        client = await Client.connect(place)

        async def is_refused() -> bool:
            try:
                await client.say(f"MAIL FROM:<hello@{DOMAIN}>", _FULL)
            except AssertionError:  # it looks four times a second
                await client.say("RSET", "250")
                return False
            return True

        await place.until("MAIL is refused", is_refused)

        async def has_left() -> bool:  # deliveries can still be noted
            return "nothing waits" in await place.command("queue", "list")

        await place.until("what was accepted is delivered", has_left)
        ballast.unlink()

        async def is_taken() -> bool:
            try:
                await client.say(f"MAIL FROM:<hello@{DOMAIN}>", "250")
            except TryLater:
                return False
            return True

        await place.until("it takes mail again", is_taken)
        client.close()


@pytest.fixture
async def tight(tmp_path: Path) -> AsyncIterator[Campaign]:
    """A relay that does not look how much is free, until nothing is."""
    async with _on_a_small_disk(tmp_path, min_free=0) as campaign:
        yield campaign


@asynccontextmanager
async def _on_a_small_disk(tmp_path: Path, *, min_free: int) -> AsyncIterator[Campaign]:
    """A relay whose data directory is a disk of its own."""
    data = tmp_path / "world" / "data"
    environment = {"SOBOO_STORE__MIN_FREE": str(min_free)}
    with small_disk(data) as mount:
        async with ready_world(
            tmp_path / "world", before=mount, environment=environment
        ) as place:
            made = Campaign(place, Random(2), store_url(place))
            await _live(made)
            yield made


async def _live(campaign: Campaign) -> None:
    campaign.begin_life()
    await campaign.place.start_relay()


def _failing(place: World, fault: str) -> AbstractAsyncContextManager[None]:
    """The calls of the running relay on its write-ahead log fail while inside."""
    assert place.relay is not None
    log = place.directory / "data" / "soboo.db-wal"
    name = fault.partition(":")[0]
    options = ("-P", str(log), "-e", f"trace={name}", "-e", f"inject={fault}")
    return traced(place.relay.pid, place.directory / "strace.out", *options)


def _life(campaign: Campaign) -> int:
    """The life that is now: of what is submitted before a disturbance and during it."""
    return len(campaign.lives) - 1


async def _submit(
    campaign: Campaign, messages: int, life: int | None = None
) -> list[str]:
    """Submit; return the replies to the final dots."""
    life = _life(campaign) if life is None else life
    client = await Client.connect(campaign.place)
    replies = []
    for _ in range(messages):
        mail = campaign.post.mail(life)
        await client.submit(mail)
        replies.append(mail.reply)
    client.close()
    return replies


def _lease_is_over(place: World) -> bool:
    """By the store's clock, which is this host's."""
    engine = open_engine(store_url(place))
    try:
        until = read_now(engine, lambda at: at.scalar(select(worker.c.lease_until)))
    finally:
        engine.dispose()
    return until < time.time() * 1_000


async def _nothing_lost(campaign: Campaign, capsys: pytest.CaptureFixture[str]) -> None:
    """The relay that had the trouble, not started anew, delivers all that got 250."""
    found = await campaign.settle()
    refused = [mail for mail in campaign.post.sent if not mail.is_acknowledged]
    with capsys.disabled():
        print(
            f"\nfull disk: {found.acknowledged} recipients acknowledged, {len(refused)}"
            f" messages refused, {found.unanswered} recipients of those served anyway,"
            f" {found.duplicates} duplicates, {len(found.lost)} lost"
        )
    assert refused
    assert not found.wrong, found.wrong
    assert not campaign.damaged
