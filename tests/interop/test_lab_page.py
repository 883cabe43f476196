"""The lab as people use it: other people's senders, and its page in a real browser."""

import asyncio
import smtplib
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.mailbox import MailboxOptions
from soboo_mta.lab.sinks.options import SinkOptions
from soboo_mta.lab.web.serving import LabWeb
from tests.interop.browser import Browser, browser

_WIDTHS = (1280, 390)
_HOSTILE = """\
<html><head><meta http-equiv="refresh" content="0;url=http://127.0.0.1:FAR/away">
<link rel="preconnect" href="http://127.0.0.1:FAR"><base href="http://127.0.0.1:FAR/">
<link rel="stylesheet" href="http://127.0.0.1:FAR/style.css">
<style>@import url("http://127.0.0.1:FAR/import.css"); h1 { color: #0b6e4f }
  body { background: url("http://127.0.0.1:FAR/back.png") }</style>
<script>document.body.innerHTML = "OWNED"</script>
<script src="http://127.0.0.1:FAR/far.js"></script></head>
<body onload="document.body.innerHTML='OWNED'"><h1>Spring sale</h1>
<p>All <b>half price</b></p><img id="inside" src="cid:logo" alt="logo">
<img src="http://127.0.0.1:FAR/pixel.gif" onerror="document.body.innerHTML='OWNED'">
<svg onload="parent.document.title='OWNED'"></svg>
<iframe src="http://127.0.0.1:FAR/frame"></iframe>
<object data="http://127.0.0.1:FAR/object"></object>
<video src="http://127.0.0.1:FAR/film"></video>
<a href="javascript:parent.document.title='OWNED'">Go</a>
<form action="/clear" method="post"><button>Clear</button></form></body></html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The running lab, its page, and an HTTP client."""

    lab: Lab
    url: str
    client: httpx.AsyncClient

    async def run(self, *words: str) -> str:
        """Run somebody's program; return what it said."""
        process = await asyncio.create_subprocess_exec(
            *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    async def swaks(self, *words: str) -> str:
        """Send with swaks."""
        return await self.run(
            *("swaks", "--server", f"127.0.0.1:{self.lab.sink_port}", *words)
        )

    async def send(self, *messages: EmailMessage) -> None:
        """Send messages with Python's client."""
        await asyncio.to_thread(self._send, messages)

    def _send(self, messages: Sequence[EmailMessage]) -> None:
        with smtplib.SMTP("127.0.0.1", self.lab.sink_port) as client:
            for message in messages:
                client.send_message(message)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    options = LabOptions(
        sinks=SinkOptions(any_login=True, certificates=True),
        mailbox=MailboxOptions(messages=120),
    )
    async with (
        Lab(tmp_path / "lab", options) as lab,
        LabWeb(lab) as web,
        httpx.AsyncClient(base_url=web.url) as client,
    ):
        yield Place(lab=lab, url=web.url, client=client)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as opened:
        yield opened


def plain(subject: str = "Your order") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <app@shop.test>"
    message["To"] = "you@dest.test"
    message["Subject"] = subject
    message.set_content("Thanks! https://shop.test/orders/1\n")
    return message


def newsletter(far: int = 9) -> EmailMessage:
    """A message that tries to run scripts and to load things from a port."""
    message = plain("Grüße <b>im</b> Frühling")
    message.add_alternative(_HOSTILE.replace("FAR", str(far)), subtype="html")
    html = message.get_payload()[1]
    logo = (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00"
        b"\x00\x00\x90wS\xde\x00\x00\x00\x0cIDATx\x9cc\xe0\xce\xf3\x07\x00\x01\xbc\x00\xe5"
        b"\xbe\xa6\x1c\xea\x00\x00\x00\x00IEND\xaeB`\x82"
    )
    html.add_related(logo, "image", "png", cid="<logo>")
    message.add_attachment(b"x", maintype="text", subtype="html", filename="a<b>.html")
    return message


async def test_swaks_sends_with_a_password_and_over_tls(place: Place) -> None:
    said = await place.swaks(
        *("--from", "app@shop.test", "--to", "you@dest.test", "--auth", "LOGIN"),
        *("--auth-user", "app", "--auth-password", "any", "--tls"),
    )
    assert "235 2.7.0" in said
    one = (await place.client.get("/api/messages/1")).json()
    assert (one["login"], one["tls"], one["rcpt_to"]) == (
        "app",
        True,
        ["you@dest.test"],
    )


async def test_swaks_meets_what_its_address_asks_for(place: Place) -> None:
    with pytest.raises(AssertionError, match=r"450 4\.0\.0 As the address asks"):
        await place.swaks("--from", "a@b.test", "--to", "bob+reply-450-x1@dest.test")
    await place.swaks("--from", "a@b.test", "--to", "bob+reply-450-x1@dest.test")
    assert place.lab.received == 1


async def test_swaks_fails_on_a_certificate_that_has_expired(place: Place) -> None:
    await place.client.post("/api/rules", json={"action": "tls", "fault": "expired"})
    with pytest.raises(AssertionError, match="TLS startup failed"):
        await place.swaks(
            *("--from", "a@b.test", "--to", "bob@dest.test", "--tls", "--tls-verify"),
            *("--tls-ca-path", str(place.lab.authority_file)),
        )


async def test_smtp_sources_load_is_bounded_on_the_page(place: Place) -> None:
    await place.run(
        *("smtp-source", "-s", "10", "-m", "300", "-l", "2000"),
        *("-f", "app@shop.test", "-t", "you@dest.test"),
        f"127.0.0.1:{place.lab.sink_port}",
    )
    assert place.lab.received == 300
    page = (await place.client.get("/")).text
    assert "180 older messages were dropped: at most 120 messages" in page


async def test_the_page_without_one_and_with_many_messages(
    place: Place, tab: Browser, tmp_path: Path
) -> None:
    await asyncio.to_thread(look, tab, place.url, tmp_path / "none")
    assert tab.evaluate("document.title") == "No messages – soboo-mta lab"
    await place.send(*(plain(f"Message {number}") for number in range(110)))
    await asyncio.to_thread(look, tab, place.url, tmp_path / "many")
    assert tab.evaluate("document.querySelectorAll('.messages li').length") == 100
    older = await asyncio.to_thread(follow, tab, "[rel=next]")
    assert older == 10


async def test_a_long_subject_stays_in_its_place(
    place: Place, tab: Browser, tmp_path: Path
) -> None:
    await place.send(plain("A long subject " * 40 + "x" * 300))
    await asyncio.to_thread(look, tab, place.url, tmp_path / "long")
    await asyncio.to_thread(look, tab, f"{place.url}messages/1", tmp_path / "long-one")


async def test_hostile_html_runs_nothing_and_loads_nothing(
    place: Place, tab: Browser, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as far:
        far.setblocking(False)
        await place.send(newsletter(far.getsockname()[1]))
        for path in ("messages/1?view=source", "messages/1?view=headers", "messages/1"):
            await asyncio.to_thread(look, tab, place.url + path, tmp_path / "html")
            title = tab.evaluate("document.title")
            assert title == "Grüße <b>im</b> Frühling – soboo-mta lab"
        text = await asyncio.to_thread(tab.frame_text)
        with pytest.raises(BlockingIOError):  # nobody knocked
            far.accept()
    assert "Spring sale" in text
    assert "OWNED" not in text
    assert len(place.lab.mailbox) == 1


async def test_the_listener_of_that_test_is_reached_without_our_policy(
    tab: Browser, tmp_path: Path
) -> None:
    """So that it proves something: the same HTML, as a page of its own."""
    with socket.create_server(("127.0.0.1", 0)) as far:
        page = tmp_path / "page.html"
        page.write_text(_HOSTILE.replace("FAR", str(far.getsockname()[1])))
        tab.call("Page.navigate", url=page.as_uri())
        far.settimeout(20)
        far.accept()[0].close()


async def test_what_arrives_appears_by_itself_and_focus_stays(
    place: Place, tab: Browser
) -> None:
    await place.send(plain("First"))
    await asyncio.to_thread(tab.open, place.url)
    tab.evaluate("document.getElementById('m1').focus()")
    await place.send(plain("Second"))
    await asyncio.to_thread(tab.until, "document.querySelectorAll('li a').length == 2")
    assert tab.evaluate("document.activeElement.id") == "m1"
    assert tab.evaluate("document.querySelector('[role=status]').textContent") == (
        "2 messages"
    )
    assert tab.evaluate("document.title").startswith("2 messages")


async def test_the_keyboard_is_enough(place: Place, tab: Browser) -> None:
    await place.send(plain())
    await asyncio.to_thread(tab.open, place.url)
    seen = []
    for _ in range(7):
        tab.press("Tab", 9)
        seen.append(tab.evaluate("document.activeElement.innerText.split('\\n')[0]"))
    assert seen == [
        *("Skip to the content", "soboo-mta lab", "", "More fields"),
        *("Search", "Delete all", "Your order"),
    ]
    tab.press("Enter", 13)
    await asyncio.to_thread(tab.until, "location.pathname === '/messages/1'")


async def test_every_control_has_a_name_and_every_text_contrast(
    place: Place, tab: Browser
) -> None:
    await place.send(newsletter())
    for path in ("", "messages/1", "?to=nobody", "messages/7"):
        for dark in (False, True):
            tab.look(1280, dark=dark)
            await asyncio.to_thread(tab.open, place.url + path)
            assert tab.evaluate(_NAMELESS) == [], path
            assert tab.evaluate(_FAINT) == [], (path, dark)


async def test_delete_and_search_work_without_scripts(place: Place) -> None:
    await place.send(plain("One"))
    await place.send(plain("Two"))
    found = (await place.client.get("/?subject=two")).text
    assert "1 message found" in found
    assert "One" not in found
    gone = await place.client.post("/messages/1/delete", follow_redirects=True)
    assert "1 message</h1>" in gone.text
    empty = await place.client.post("/clear", follow_redirects=True)
    assert "Nothing has arrived yet" in empty.text


def look(tab: Browser, url: str, shot: Path) -> None:
    """Open a page at both widths, light and dark; nothing may stick out sideways."""
    for width in _WIDTHS:
        for dark in (False, True):
            tab.look(width, dark=dark)
            tab.open(url)
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{url} is {wide} wide on {width}"
            tab.screenshot(shot.with_name(f"{shot.name}-{width}-{dark:d}.png"))


def follow(tab: Browser, link: str) -> int:
    """Click a link; return how many messages the page then has."""
    tab.evaluate(f"window.isLeft = true; document.querySelector('{link}').click()")
    tab.until("!window.isLeft && document.readyState === 'complete'")
    return int(tab.evaluate("document.querySelectorAll('.messages li').length"))


_NAMELESS = """
[...document.querySelectorAll('a, button, input, iframe, summary')]
  .filter(e => !(e.innerText?.trim() || e.labels?.[0]?.textContent.trim() || e.title
                 || e.getAttribute('aria-label')))
  .map(e => e.outerHTML)
"""
_FAINT = """
(() => {  // WCAG 2.1, 1.4.3: at least 4.5 to 1
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => {
    const [r, g, b] = parts(c).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if ((parts(c)[3] ?? 1) > 0) return c;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  return [...document.querySelectorAll('body *')]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .filter(e => {
      const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5;
    })
    .map(e => e.outerHTML.slice(0, 100));
})()
"""
