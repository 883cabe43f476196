"""The pytest plugin in suites that are not ours: plain, asynchronous, parallel, killed."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

_HEAD = """\
import smtplib
from email.message import EmailMessage

import pytest


def send(relay, to, author="app@shop.example"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = author, to, "Hello"
    message.set_content("Hello.")
    with smtplib.SMTP(relay.host, relay.port) as client:
        client.login(relay.user, relay.secret)
        client.send_message(message)


"""
_LOADED_LATE = ("sqlalchemy", "pydantic", "dns", "aiosmtpd", "fastapi", "soboo_mta.lab")


async def suite(
    directory: Path, text: str, *options: str, ini: str = "", code: int = 0
) -> str:
    """Run a suite of one file in a process of its own; return what pytest said."""
    process = await start(directory, text, *options, ini=ini)
    out, _ = await process.communicate()
    assert process.returncode == code, out.decode()
    return out.decode()


async def start(
    directory: Path, text: str, *options: str, ini: str = ""
) -> asyncio.subprocess.Process:
    (directory / "test_theirs.py").write_text(_HEAD + text)
    (directory / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    return await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-s",
            *options,
        ),
        cwd=directory,
        env=os.environ | {"SOBOO_STORE__URL": "sqlite:////nowhere/theirs.db"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_tests_are_kept_apart_and_undone(tmp_path: Path) -> None:
    said = await suite(
        tmp_path,
        """\
def test_leaves_mail_waiting_and_dns_changed(soboo_relay, soboo_sinks, soboo_dns):
    soboo_sinks.defer("ann@dest.test")
    soboo_sinks.hide("dest2.test", "STARTTLS")
    soboo_sinks.rule(recipient="hung@dest.test", stage="dot", action="hang")
    send(soboo_relay, "hung@dest.test")
    soboo_sinks.wait_for_refusal(to="hung@dest.test", stage="dot")
    soboo_dns.add("news.shop.example", "TXT", "x" * 300)
    soboo_dns.fail("gone.test", below=True)
    send(soboo_relay, "ann@dest.test")
    waiting = soboo_relay.wait_for_waiting(to="ann@dest.test", state="deferred")
    assert "451 4.3.0 Try again later" in waiting.explanation
    send(soboo_relay, "eve@dest2.test")
    assert not soboo_sinks.wait_for(to="eve@dest2.test").is_tls


def test_finds_nothing_of_it(soboo_relay, soboo_sinks, soboo_dns):
    assert soboo_relay.waiting() == []
    assert soboo_sinks.messages == [] and soboo_sinks.refusals == []
    assert soboo_dns.records("news.shop.example") == []
    soboo_sinks.hide("shop.example", "STARTTLS")
    assert soboo_dns.records("_dmarc.shop.example")
    send(soboo_relay, "eve@dest2.test")
    assert soboo_sinks.wait_for(to="eve@dest2.test").is_tls
    send(soboo_relay, "bob@x.gone.test")
    soboo_sinks.wait_for(to="bob@x.gone.test")
    soboo_sinks.assert_nothing_for("ann@dest.test")


@pytest.mark.soboo(domains=["other.example"])
def test_a_marker_adds_domains(soboo_relay, soboo_sinks):
    send(soboo_relay, "ann@dest.test", "a@other.example")
    soboo_sinks.wait_for(to="ann@dest.test").assert_dmarc()


def test_domains_can_be_added_while_it_runs(soboo_relay, soboo_sinks):
    with pytest.raises(smtplib.SMTPDataError):
        send(soboo_relay, "ann@dest.test", "a@late.example")
    soboo_relay.add_domain("late.example")
    send(soboo_relay, "ann@dest.test", "a@late.example")
    soboo_sinks.wait_for(to="ann@dest.test").assert_dmarc()
""",
        *("-W", "error", "-p", "no:asyncio"),
    )
    assert "4 passed" in said


async def test_what_fails_says_why(tmp_path: Path) -> None:
    said = await suite(
        tmp_path,
        """\
def test_not_aligned(soboo_sinks, soboo_verdicts):
    with smtplib.SMTP(soboo_sinks.host, soboo_sinks.port) as client:
        client.sendmail("a@b.test", ["x@y.test"], "From: a@shop.example\\n\\nHi")
    message = soboo_sinks.wait_for(sender="a@b.test")
    message.assert_aligned()


def test_nothing_came(soboo_sinks):
    soboo_sinks.wait_for(to="nobody@y.test", timeout=0.1)


def test_bad_rule(soboo_sinks):
    soboo_sinks.rule(recipent="a@b.test", reply="550 No")


def test_bad_record(soboo_dns):
    soboo_dns.add("shop.test", "MX", "not a preference")


def test_nothing_to_remove(soboo_dns):
    soboo_dns.remove("shop.test", "MX")
""",
        "-p",
        "no:asyncio",
        code=1,
    )
    assert "5 failed" in said
    for sentence in (
        "AssertionError: the message is not aligned:",
        "SPF none of b.test: no v=spf1 record for b.test",
        "DKIM none: no signature",
        "no message with to='nobody@y.test': 0 of 1 within 0.1 s: the last for x@y.test",
        "there is no key 'recipent' (did you mean 'recipient'?)",
        "ValueError: shop.test: ",
        "LookupError: there are no MX at shop.test",
    ):
        assert sentence in said, sentence


async def test_asynchronous_tests_use_the_same_fixtures(tmp_path: Path) -> None:
    said = await suite(
        tmp_path,
        """\
import asyncio


async def test_the_loop_goes_on_while_waiting(soboo_relay, soboo_sinks):
    async def later():
        await asyncio.to_thread(send, soboo_relay, "ann@dest.test")

    sending = asyncio.create_task(later())
    message = await soboo_sinks.wait_for_async(to="ann@dest.test")
    await sending
    message.assert_dmarc()


def test_plain_beside_it(soboo_relay, soboo_sinks):
    send(soboo_relay, "bob@dest.test")
    soboo_sinks.wait_for(to="bob@dest.test").assert_tls()
""",
        *("-W", "error"),
        ini="asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function",
    )
    assert "2 passed" in said


async def test_the_example_of_the_documentation_passes(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "testing.md"
    (example,) = re.findall(r"```python\n(.+?)```", page.read_text(), re.DOTALL)
    receipt = "RECEIPT = 'From: app@shop.example\\nSubject: Your order 17\\n\\nHi'\n"
    assert "1 passed" in await suite(tmp_path, receipt + example, "-p", "no:asyncio")


async def test_workers_of_xdist_have_a_world_each(tmp_path: Path) -> None:
    said = await suite(
        tmp_path,
        """\
import os
from pathlib import Path


@pytest.mark.parametrize("number", range(4))
def test_same_recipient_everywhere(soboo_relay, soboo_sinks, number):
    send(soboo_relay, "ann@dest.test")
    soboo_sinks.wait_for(to="ann@dest.test")
    assert len(soboo_sinks.messages) == 1
    Path(f"{os.environ['PYTEST_XDIST_WORKER']}.port").write_text(str(soboo_relay.port))
""",
        *("-n", "2", "-p", "no:asyncio"),
    )
    assert "4 passed" in said
    ports = [file.read_text() for file in tmp_path.glob("*.port")]
    assert len(ports) == len(set(ports)) == 2


async def test_each_test_can_have_a_world_of_its_own(tmp_path: Path) -> None:
    said = await suite(
        tmp_path,
        """\
seen = set()


@pytest.mark.parametrize("number", range(2))
def test_new(soboo_lab, number):
    assert soboo_lab.page not in seen
    seen.add(soboo_lab.page)
""",
        *("-p", "no:asyncio"),
        ini="soboo_scope = function",
    )
    assert "2 passed" in said


@pytest.mark.parametrize(
    ("text", "ini", "sentence", "code"),
    [
        (
            "@pytest.mark.soboo(domain='x.example')\ndef test_x(soboo_relay): ...",
            "",
            "@pytest.mark.soboo takes domains=[...] alone, not {'domain'}",
            1,
        ),
        (
            "@pytest.mark.soboo(domains='x.example')\ndef test_x(soboo_relay): ...",
            "",
            "domains='x.example': write a list of names",
            1,
        ),
        (
            "def test_x(soboo_relay): ...",
            "soboo_scope = forever",
            "soboo_scope = forever: one of session, package",
            4,
        ),
        (
            "def test_x(soboo_relay): ...",
            "soboo_settings = [dns]",
            "is not TOML",
            1,
        ),
        (
            "def test_x(soboo_sinks): ...",
            "soboo_timeout = ten",
            "soboo_timeout = ten: write seconds",
            4,
        ),
    ],
)
async def test_a_wrong_setting_says_what_to_write(
    tmp_path: Path, text: str, ini: str, sentence: str, code: int
) -> None:
    said = await suite(tmp_path, text, "-p", "no:asyncio", ini=ini, code=code)
    assert sentence in said


async def test_a_suite_that_does_not_use_it_loads_nothing(tmp_path: Path) -> None:
    said = await suite(
        tmp_path,
        f"""\
import sys


def test_nothing(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("soboo")
    assert [name for name in {_LOADED_LATE} if name in sys.modules] == []
    assert sorted(n for n in sys.modules if n.startswith("soboo_mta")) == [
        "soboo_mta", "soboo_mta.testing", "soboo_mta.testing.plugin",
    ]
""",
        *("-W", "error", "--strict-markers", "-p", "no:asyncio"),
    )
    assert "1 passed" in said


async def test_a_killed_run_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await start(
        tmp_path,
        """\
import os
import time


def test_for_ever(soboo_relay):
    parent = str(os.getpid())
    children = [
        pid for pid in filter(str.isdecimal, os.listdir("/proc"))
        if open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1] == parent
    ]
    print("children", *children, flush=True)
    time.sleep(600)
""",
        *("-p", "no:asyncio"),
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while not (line := (await process.stdout.readline()).decode()).count(
            "children"
        ):
            assert line, "it ended"
    children = [int(word) for word in line.split("children")[1].split()]
    assert len(children) == 3
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    async with asyncio.timeout(20):
        while any(Path(f"/proc/{child}").exists() for child in children):
            await asyncio.sleep(0.05)
