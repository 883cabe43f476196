"""One tenant's hundred thousand messages, and another's ten to the same site."""

import asyncio
from email.message import EmailMessage
from pathlib import Path

from soboo_mta.cli.trial.world import free_ports, world
from tests.stories.backlog import PacedHost, put_backlog

_TENANTS = """\
[[tenant]]
id = "big"
domain = [{ name = "big.example", assume_verified = true }]

[[tenant]]
id = "small"
credential = [{ user_name = "small-app" }]
domain = [{ name = "small.example", assume_verified = true }]
"""
_EXTRA = """
[store]
url = "{url}"

[[routes]]
domain = "*"
next_hop = "127.0.0.1:{host}"
"""
_BACKLOG = 100_000
_CONNECTIONS = 20  # to one site, the default
_SECONDS = 0.05  # a message: the site takes 400 in a second
_TEN = 10


async def test_case_060_a_backlog_of_one_tenant_does_not_delay_anothers_ten(
    tmp_path: Path, store_url: str
) -> None:
    """Counted, not timed: between the first of the ten accepted and the last of them
    taken, the site takes less of the backlog than it could in a second."""
    host = PacedHost(_SECONDS)
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    extra = _EXTRA.format(url=store_url, host=server.sockets[0].getsockname()[1])
    (port,) = free_ports(1)
    async with (
        world(tmp_path / "world", port=port, extra=extra, workers=2) as place,
        server,
    ):
        await place.command("secret", "generate")
        await place.apply(_TENANTS)
        backlog = {"domain": "big.example", "recipient": "bob@there.test"}
        await asyncio.to_thread(put_backlog, store_url, **backlog, messages=_BACKLOG)
        await place.start_relay()
        await host.until(lambda: len(host.authors) > 200)
        before = len(host.authors)
        await asyncio.gather(
            *(
                place.submit("small-app", _message(number), ["ann@there.test"])
                for number in range(_TEN)
            )
        )
        await host.until(lambda: host.authors.count("small.example") == _TEN)
        last = len(host.authors) - host.authors[::-1].index("small.example")
        overtaken = host.authors[before:last].count("big.example")
        assert overtaken < _CONNECTIONS / _SECONDS
        assert host.most_connections == _CONNECTIONS
        assert await place.stop_relay() == 0


def _message(number: int) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "a@small.example", "ann@there.test"
    message["Subject"] = f"one of ten: {number}"
    message.set_content("Hello.\n")
    return message
