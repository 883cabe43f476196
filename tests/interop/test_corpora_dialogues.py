"""Another project's SMTP dialogues at our submission listener (case 176).

It receives mail for its own users, we take submissions: where a reply is of another kind
by design, the reason stands here. Its codes and words are its own; ours are in
`submission/replies.py`.
"""

import base64
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from soboo_mta.cli.trial.world import World, free_ports, world
from tests.interop.house import ACME, SINK, certificates, settle_in
from tests.interop.transcript import Play

pytestmark = pytest.mark.asyncio(loop_scope="module")
_SETTINGS = """
[submission]
trusted_networks = ["127.0.0.0/8"]
max_message_size = "1MiB"
clear_login_on_loopback = false
failed_login_delay = "0s"

[[listeners]]
address = "127.0.0.1"
port = {port}
tls = "implicit"

[tls]
certificate_file = "{chain}"
private_key_file = "{key}"
"""
_LOGIN = "user@testserver\0user@testserver\0"
_DIALOGUES = (
    "t-05-null_address/sendmail.cmy",
    *(
        f"t-12-minor_dialogs/{name}.cmy"
        for name in (
            "auth_multi_dialog",
            "auth_not_tls",
            "auth_too_many_failures",
            "bad_data",
            "bad_data_dot",
            "bad_data_dot_2",
            "bad_data_dot_on_message_too_big",
            "bad_mail_from",
            "bad_rcpt_to",
            "data_dot_stuffing",
            "empty_helo",
            "helo",
            "line_too_long",
            "message_too_big",
            "sendmail",
            "unknown_command",
            "wrong_proto",
        )
    ),
)
_NO_SMTP = {"t-04-aliases/test_chasquid_util.cmy"}  # a command line of its own


class ByDesign(NamedTuple):
    """The one reply of another kind: (theirs, ours), and why."""

    replies: tuple[str, str]
    why: str


_BY_DESIGN = {
    "t-05-null_address/sendmail.cmy": ByDesign(
        ("250", "550 5.6.0"),
        "its From has raw octets over 127 without SMTPUTF8, which receivers read apart",
    ),
    "t-12-minor_dialogs/auth_too_many_failures.cmy": ByDesign(
        ("421", "501 5.5.2"),
        "what is malformed is an error, and ten end a session; three wrong secrets do",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    world: World
    play: Play


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    directory = tmp_path_factory.mktemp("dialogues")
    clear, implicit = free_ports(2)
    authority, chain, key = certificates(directory)
    extra = _SETTINGS.format(port=implicit, chain=chain, key=key)
    async with world(directory / "world", port=clear, extra=extra) as inside:
        await settle_in(inside)
        inside.zones.write_destination(SINK, "127.0.0.2")
        await inside.start_relay()
        login = f"\0acme-app\0{inside.secrets['acme-app']}"
        play = Play(
            ports={"tcp_connect": clear, "tls_connect": implicit},
            tls=ssl.create_default_context(cafile=str(authority)),
            instead={
                # Without brackets a path is refused here, as a domain of one label
                # is; the dialogues are about what comes after them.
                "RCPT TO: user@testserver": f"RCPT TO:<user@{SINK}>",
                "MAIL FROM:<a@b>": "MAIL FROM:<a@b.example>",
                "testserver": SINK,
                "horns.com": ACME,
                _encoded(_LOGIN + "secretpassword"): _encoded(login),
            },
        )
        yield Place(world=inside, play=play)
        assert await inside.stop_relay() == 0, inside.relay_log()[-3000:]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _folder(corpora: Path) -> Path:
    return corpora / "smtp-dialogs" / "chasquid"


@pytest.mark.parametrize("name", _DIALOGUES)
async def test_case_176_a_dialogue_differs_by_design_alone(
    place: Place, corpora: Path, name: str
) -> None:
    before = place.world.lab.received
    differences = await place.play.run(_folder(corpora) / name)
    by_design = _BY_DESIGN.get(name)
    if by_design is None:
        assert differences == []
    else:
        (found,) = differences
        assert (found.wanted[:3], found.got[:9]) == by_design.replies, found
    verified = _folder(corpora) / f"{name}.verify"
    if verified.exists():
        (*_, record) = await place.world.lab.wait_for(before + 1, 60)
        assert record.raw is not None
        _check_arrived(record.raw.read_bytes(), verified.read_bytes())
    else:  # nothing was smuggled in; what is kept arrives within milliseconds
        assert await place.world.command("queue", "list", "--json") in ("[]\n", "[]")
        assert place.world.lab.received == before


async def test_case_176_no_dialogue_is_left_out(corpora: Path) -> None:
    there = {
        path.relative_to(_folder(corpora)).as_posix()
        for path in _folder(corpora).rglob("*.cmy")
    }
    assert there == {*_DIALOGUES, *_NO_SMTP}


def _check_arrived(arrived: bytes, written: bytes) -> None:
    """The message is the script's, with fields of ours on top."""
    wanted = written.replace(b"horns.com", ACME.encode()).replace(b"\n", b"\r\n")
    header, _, body = wanted.partition(b"\r\n\r\n")
    assert header in arrived.partition(b"\r\n\r\n")[0]
    assert arrived.partition(b"\r\n\r\n")[2].rstrip() == body.rstrip()
