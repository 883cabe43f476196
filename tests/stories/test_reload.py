"""SIGHUP: new settings without a refused client or a lost message, bad ones not at all."""

import asyncio
import json
import os
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest
import trustme
from sqlalchemy import text

from soboo_mta.cli.trial.world import World, free_ports
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import write_now
from tests.chaos.campaign import Campaign
from tests.chaos.ready_world import ready_world, store_url
from tests.chaos.sender import Client, Farewell
from tests.stories.service_manager import ServiceManager

_SESSIONS = 6


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[ServiceManager]:
    made = ServiceManager(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("workers", [0, 3])
async def test_case_134_a_rolling_restart_under_load_refuses_nobody_and_loses_nothing(
    tmp_path: Path, manager: ServiceManager, workers: int
) -> None:
    async with ready_world(
        tmp_path / "world", workers=workers, environment=manager.environment
    ) as place:
        campaign = Campaign(place, Random(134), store_url(place))
        campaign.begin_life()
        await place.start_relay()
        await manager.hears(place, "READY")
        before = _children(place)
        ends: Counter[str] = Counter()
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(_SESSIONS):
                group.create_task(_submit_on(campaign, is_over, ends))
            await _more_arrives(place)
            _reload(place)
            await manager.hears(place, "READY", "RELOADING", "READY")
            await _more_arrives(place)
            is_over.set()
        assert not before & _children(place)
        assert set(ends) == {"421"}, ends
        found = await campaign.settle()
        assert not found.wrong, found.wrong
        assert not campaign.damaged
        assert found.duplicates == 0
        assert all(mail.is_acknowledged for mail in campaign.post.sent)


async def test_a_reload_takes_new_settings_sockets_and_numbers_of_workers(
    tmp_path: Path, manager: ServiceManager
) -> None:
    async with ready_world(
        tmp_path / "world", workers=3, environment=manager.environment
    ) as place:
        await place.start_relay()
        await manager.hears(place, "READY")
        assert len(_children(place)) == 4
        old, (place.port,) = place.port, free_ports(1)
        _change(place, "workers = 3", 'workers = 1\nhost_name = "new.esp.example"')
        _change(place, f"port = {old}", f"port = {place.port}")
        _reload(place)
        await manager.hears(place, "READY", "RELOADING", "READY")
        assert len(_children(place)) == 2
        assert await _greeting(place.port) == b"220 new.esp.example ESMTP\r\n"
        with pytest.raises(ConnectionRefusedError):
            await _greeting(old)
        assert await place.stop_relay() == 0
        assert manager.heard[-1] == "STOPPING"
        lines = [json.loads(line) for line in place.relay_log().splitlines()]
        events = Counter(line["event"] for line in lines)
        assert events["ready"] == 2  # the start's, the reload's
        assert events["settings_warning"] >= 2
        (trial,) = [line["said"] for line in lines if line["event"] == "reload"]
        assert all(one.startswith("warning: [") for one in trial.splitlines()), trial
        assert trial


def _unknown_key(place: World) -> str:
    _change(place, "stop_within", "stop_withn")
    return "did you mean 'stop_within'?"


def _taken_port(place: World) -> str:
    _change(place, f"port = {place.port}", f"port = {place.lab.sink_port}")
    _change(place, 'address = "127.0.0.1"', 'address = "127.0.0.2"')
    return "Address already in use"


def _bad_certificate(place: World) -> str:
    (place.directory / "server.pem").write_text("nothing like one")
    return "server.pem"


def _no_master_key(place: World) -> str:
    (place.directory / "data" / "master.key").rename(place.directory / "gone")
    return "master.key"


def _older_schema(place: World) -> str:
    """Last: nothing puts it back."""
    engine = open_engine(store_url(place))
    write_now(
        engine,
        lambda at: at.execute(text("UPDATE alembic_version SET version_num = '0001'")),
    )
    engine.dispose()
    return "runs on this store: stop it first"


_SPOILED = (
    _unknown_key,
    _taken_port,
    _bad_certificate,
    _no_master_key,
    _older_schema,
)


@pytest.mark.parametrize("workers", [0, 1])
async def test_case_135_a_bad_file_keeps_the_old_settings_and_the_log_says_why(
    tmp_path: Path, manager: ServiceManager, workers: int
) -> None:
    directory = tmp_path / "world"
    authority = trustme.CA()
    extra = f"""
[tls]
certificate_file = "{directory}/server.pem"
private_key_file = "{directory}/server.key"
"""
    async with ready_world(
        directory, workers=workers, extra=extra, environment=manager.environment
    ) as place:
        _change(place, "[server]", '[server]\nstop_within = "9s"')
        _issue(authority, directory)
        await place.start_relay()
        await manager.hears(place, "READY")
        before, told = _children(place), ["READY"]
        for spoil in _SPOILED:
            with _unchanged(directory):
                why = spoil(place)
                logged = len(place.relay_log())
                _reload(place)
                told += ["RELOADING", "READY"]
                await manager.hears(place, *told)
            lines = place.relay_log()[logged:].splitlines()
            (line,) = [one for one in lines if "reload_refused" in one]
            assert "reload_refused" in line
            assert why in line
            assert not [one for one in lines if '"ready"' in one]
            assert _children(place) == before
            assert (await _greeting(place.port)).startswith(b"220 mta1.esp.example")
        assert await place.stop_relay() == 0


async def test_a_renewed_certificate_is_shown_after_a_reload(
    tmp_path: Path, manager: ServiceManager
) -> None:
    directory = tmp_path / "world"
    (implicit,) = free_ports(1)
    extra = f"""
[[listeners]]
address = "127.0.0.1"
port = {implicit}
tls = "implicit"

[tls]
certificate_file = "{directory}/server.pem"
private_key_file = "{directory}/server.key"
"""
    async with ready_world(
        directory, workers=2, extra=extra, environment=manager.environment
    ) as place:
        _issue(trustme.CA(), directory)
        await place.start_relay()
        await manager.hears(place, "READY")
        renewed = trustme.CA()
        _issue(renewed, directory)
        _reload(place)
        await manager.hears(place, "READY", "RELOADING", "READY")
        trusting = ssl.create_default_context()
        renewed.configure_trust(trusting)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", implicit, ssl=trusting
        )
        assert (await reader.readline()).startswith(b"220")
        writer.close()
        await writer.wait_closed()


# ---- the relay's processes and files


def _reload(place: World) -> None:
    assert place.relay is not None
    os.kill(place.relay.pid, signal.SIGHUP)


def _children(place: World) -> set[str]:
    """The processes below the supervisor; where there is none, the time when the one
    that does everything was last run anew can't be seen from outside: nothing."""
    assert place.relay is not None
    process = place.relay.pid
    return set(Path(f"/proc/{process}/task/{process}/children").read_text().split())


def _change(place: World, old: str, new: str) -> None:
    text = place.config.read_text()
    assert old in text
    place.config.write_text(text.replace(old, new, 1))


@contextmanager
def _unchanged(directory: Path) -> Iterator[None]:
    """Put back what the block changes of the settings and the files they name."""
    names = ("soboo.toml", "server.pem", "data/master.key")
    kept = {name: (directory / name).read_bytes() for name in names}
    try:
        yield
    finally:
        for name, octets in kept.items():
            (directory / name).write_bytes(octets)
            (directory / name).chmod(0o600)


def _issue(authority: trustme.CA, directory: Path) -> None:
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(directory / "server.key")
    made.cert_chain_pems[0].write_to_path(directory / "server.pem")


# ---- clients


async def _submit_on(
    campaign: Campaign, until: asyncio.Event, ends: Counter[str]
) -> None:
    """Submit as a client does that comes again, with the same message, after 421."""
    mail = campaign.post.mail(0)
    while not until.is_set() or not mail.is_acknowledged:
        try:
            client = await Client.connect(campaign.place)
            with closing(client):
                while not until.is_set() or not mail.is_acknowledged:
                    if mail.is_acknowledged:
                        mail = campaign.post.mail(0)
                    await client.submit(mail)
                    if mail.reply.startswith("421"):
                        raise Farewell(mail.reply)
                    assert mail.is_acknowledged, mail.reply
        except Farewell:
            ends["421"] += 1
        except ConnectionError as error:
            ends[type(error).__name__] += 1


async def _more_arrives(place: World) -> None:
    await place.lab.wait_for(place.lab.received + 30, 60)


async def _greeting(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line
