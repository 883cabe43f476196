"""The lab's HTTP API and page, asked as a client asks: what they say and what they refuse."""

import asyncio
import json
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import pytest

from soboo_mta.lab.binding import CannotBind
from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.mailbox import MailboxOptions
from soboo_mta.lab.web.serving import LabWeb

_HOSTILE = (
    '<script>alert(1)</script><img src="cid:logo"><img src="http://x.test/p.gif">'
)


@pytest.fixture
async def lab(world) -> AsyncIterator[Lab]:
    world.publish_customer()
    options = LabOptions(mailbox=MailboxOptions(messages=3))
    async with Lab(world.directory, options) as running:
        yield running


@pytest.fixture
async def client(lab) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        LabWeb(lab) as web,
        httpx.AsyncClient(base_url=web.url, timeout=10) as client,
    ):
        yield client


async def send(lab: Lab, octets: bytes, to: str = "bob@dest.test") -> None:
    await aiosmtplib.send(
        octets,
        hostname="127.0.0.1",
        port=lab.sink_port,
        sender="b-1@bounce.customer.test",
        recipients=[to],
        start_tls=False,
    )


def rich(subject: str = "Hi") -> bytes:
    message = EmailMessage()
    message["From"] = "Ann <ann@customer.test>"
    message["Subject"] = subject
    message.set_content("Confirm at https://customer.test/c?t=1\n")
    message.add_alternative(_HOSTILE, subtype="html")
    html = message.get_payload()[1]
    html.add_related(b"\x89PNG", "image", "png", cid="<logo>")
    message.add_attachment(
        b"<script>", maintype="text", subtype="html", filename="März.html"
    )
    return bytes(message)


async def test_a_mistyped_parameter_finds_and_deletes_nothing(lab, client):
    await send(lab, rich())
    for method, path, said in (
        ("GET", "messages?too=x", "there is no parameter 'too' (did you mean 'to'?)"),
        ("DELETE", "messages?too=x", "(did you mean 'to'?)"),
        ("GET", "messages/wait?too=x", "(did you mean 'to'?)"),
        ("GET", "messages/wait?to=bob&cuont=1", "(did you mean 'count'?)"),
        ("GET", "messages/1?zzz=1", "there is no parameter 'zzz'"),
        ("GET", "refusals?toto=x", "(did you mean 'to'?)"),
        ("DELETE", "rules?to=x", "there is no parameter 'to'"),
        ("GET", "events?to=x", "there is no parameter 'to'"),
    ):
        answer = await client.request(method, f"/api/{path}")
        assert answer.status_code == 422, path
        assert answer.json()["detail"].endswith(said), path
    assert (await client.get("/api/messages?from=ann&q=hi")).json()["total"] == 1


async def test_messages_are_listed_the_newest_first_and_found(lab, client):
    await send(lab, rich("One"))
    await send(lab, rich("Two"), "eve@dest.test")
    listed = (await client.get("/api/messages")).json()
    assert [one["subject"] for one in listed["messages"]] == ["Two", "One"]
    for query, found in {
        "to=eve": ["Two"],
        "from=ann@customer": ["Two", "One"],
        "subject=one": ["One"],
        "q=BOUNCE.customer": ["Two", "One"],
        "since=2999-01-01T00:00:00Z": [],
        "after=1": ["Two"],
        "limit=1&offset=1": ["One"],
    }.items():
        answer = (await client.get(f"/api/messages?{query}")).json()
        assert [one["subject"] for one in answer["messages"]] == found, query


async def test_one_message_has_envelope_verdicts_texts_and_attachments(
    lab, client, world
):
    await send(lab, world.signed(rich()))
    one = (await client.get("/api/messages/1")).json()
    assert one["mail_from"] == "b-1@bounce.customer.test"
    assert one["rcpt_to"] == ["bob@dest.test"]
    assert one["spf"]["mail_from"] == "pass"
    assert "127.0.0.1 by v=spf1 ip4:127.0.0.1" in one["spf"]["reason"]
    assert [(each["d"], each["result"]) for each in one["dkim"]] == [
        ("customer.test", "pass")
    ]
    assert one["dmarc"] == "pass"
    assert one["dmarc_reason"] == (
        "SPF of bounce.customer.test and DKIM d=customer.test align with customer.test"
    )
    assert one["links"] == ["https://customer.test/c?t=1"]
    assert one["html"].strip() == _HOSTILE
    assert [(part["name"], part["size"]) for part in one["attachments"]] == [
        ("unnamed", 4),
        ("März.html", 8),
    ]


async def test_octets_and_attachments_are_downloads_and_nothing_else(lab, client):
    octets = rich()
    await send(lab, octets)
    raw = await client.get("/api/messages/1/raw")
    assert raw.content.replace(b"\r\n", b"\n") == octets.replace(b"\r\n", b"\n")
    part = await client.get("/api/messages/1/attachments/2")
    assert part.content == b"<script>"
    assert part.headers["content-type"] == "application/octet-stream"
    disposition = part.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="M_rz.html"; ')
    assert "M%C3%A4rz.html" in disposition
    for answer in (raw, part):
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_html_of_a_message_comes_under_a_policy_that_runs_and_loads_nothing(
    lab, client
):
    await send(lab, rich())
    body = await client.get("/messages/1/body.html")
    policy = body.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data:;")
    assert "script" not in policy
    assert "allow-" not in policy
    assert "data:image/png;base64,iVBORw==" in body.text.replace("\n", "")


async def test_a_page_escapes_what_a_message_says(lab, client):
    await send(lab, rich("<script>alert(2)</script>"), "bob+%3Cb%3E@dest.test")
    for path in (
        "/",
        "/messages/1",
        "/messages/1?view=text",
        "/messages/1?view=source",
    ):
        page = await client.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_waiting_ends_when_the_message_comes(lab, client):
    waiting = asyncio.create_task(
        client.get("/api/messages/wait?to=bob&count=2&timeout=10")
    )
    for _ in range(2):
        await send(lab, rich())
    answer = await waiting
    assert answer.status_code == 200
    assert answer.json()["total"] == 2


async def test_waiting_in_vain_says_what_came_instead(lab, client):
    await send(lab, rich(), "eve@dest.test")
    answer = await client.get("/api/messages/wait?to=bob&timeout=0.05")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "0 of 1 within 0.05 s: the last for eve@dest.test"


async def test_messages_are_deleted_one_or_all(lab, client):
    for _ in range(3):
        await send(lab, rich())
    assert (await client.delete("/api/messages/2")).json() == {"deleted": 1}
    assert (await client.delete("/api/messages/2")).status_code == 404
    assert (await client.get("/messages/2")).status_code == 404
    assert (await client.delete("/api/messages?to=nobody")).json() == {"deleted": 0}
    assert (await client.delete("/api/messages")).json() == {"deleted": 2}


async def test_the_page_says_what_was_dropped(lab, client):
    for _ in range(4):
        await send(lab, rich())
    page = (await client.get("/")).text
    assert "1 older message was dropped: at most 3 messages" in page
    assert "3 messages</h1>" in page
    assert (await client.get("/api/messages")).json()["dropped"] == 1


async def test_the_stream_tells_of_changes_and_ends_with_the_lab(lab):
    async with httpx.AsyncClient(timeout=10) as client:
        async with LabWeb(lab) as web:
            stream = client.stream("GET", f"{web.url}api/events")
            response = await stream.__aenter__()
            lines = response.aiter_lines()
            assert await anext(lines) == "event: change"
            assert json.loads((await anext(lines))[6:])["kept"] == 0
            await send(lab, rich())
            while (line := await anext(lines)) == "" or line.startswith("event"):
                pass
            assert json.loads(line[6:])["kept"] == 1
        assert [line async for line in lines if line] == []
        await stream.__aexit__(None, None, None)


async def test_rules_are_added_listed_and_taken_away(lab, client, world):
    world.write_file("sinks.toml", '[[rule]]\nreply = "550 File"\nstage = "mail"\n')
    number = (
        await client.post(
            "/api/rules", json={"reply": "450 4.2.0 No", "domain": "a.test"}
        )
    ).json()["numbers"][0]
    rules = (await client.get("/api/rules")).json()
    assert rules["added"][str(number)]["domain"] == "a.test"
    assert rules["file"][0]["reply"] == "550 File"
    with pytest.raises(aiosmtplib.SMTPSenderRefused, match="File"):
        await send(lab, rich())
    refused = (await client.get("/api/refusals")).json()
    assert [(one["stage"], one["reply"]) for one in refused] == [("mail", "550 File")]
    assert (await client.delete(f"/api/rules/{number}")).status_code == 204
    assert (await client.delete(f"/api/rules/{number}")).status_code == 404


async def test_rules_come_as_toml_too_and_replace_those_added(client):
    await client.post("/api/rules", json={"reply": "450 No"})
    toml = '[[rule]]\nreply = "451 A"\n[[rule]]\naction = "drop"\n'
    put = await client.put(
        "/api/rules", content=toml, headers={"content-type": "application/toml"}
    )
    assert len(put.json()["numbers"]) == 2
    assert len((await client.get("/api/rules")).json()["added"]) == 2
    assert (await client.delete("/api/rules")).status_code == 204


async def test_a_rule_that_makes_no_sense_says_why(client):
    answer = await client.post("/api/rules", json={"recipent": "a@b.test"})
    assert answer.status_code == 422
    assert "did you mean 'recipient'?" in answer.json()["detail"]
    answer = await client.put(
        "/api/rules",
        content="[[rule]]\nreply = 'no'",
        headers={"content-type": "application/toml"},
    )
    assert "rules line 1: a reply is a code" in answer.json()["detail"]
    answer = await client.get("/api/messages?since=yesterday")
    assert answer.json()["detail"].startswith("since: ")


async def test_connections_are_cut_on_request(lab, client):
    open_one = aiosmtplib.SMTP(
        hostname="127.0.0.1", port=lab.sink_port, start_tls=False
    )
    await open_one.connect()
    assert (await client.delete("/api/connections")).status_code == 204
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await open_one.noop()


async def test_octets_are_judged_on_request(client, world):
    answer = await client.post(
        "/api/verdicts?peer=127.0.0.1&mail_from=b@bounce.customer.test",
        content=world.signed(rich()) + b"x" * 2_000_000,
        headers={"content-type": "message/rfc822"},
    )
    verdict = answer.json()
    assert verdict["dkim"][0]["result"] == "fail"
    assert verdict["dmarc"] == "pass"
    assert verdict["aligned_by"] == ["SPF of bounce.customer.test"]


async def test_status_names_files_in_error(client, world):
    world.write_file("sinks.toml", "[[rule]]\nx = 1\n")
    status = (await client.get("/api/status")).json()
    (problem,) = status["problems"].values()
    assert "line 2: there is no key 'x'" in problem
    assert "there is no key" in (await client.get("/")).text


async def test_the_api_describes_itself(client):
    paths = (await client.get("/api/openapi.json")).json()["paths"]
    assert {"/api/messages", "/api/messages/wait", "/api/rules"} <= paths.keys()
    assert not any(path.startswith("/messages") for path in paths)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.test"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_another_sites_page_changes_nothing(lab, client, headers):
    await send(lab, rich())
    for method, path in (("POST", "/clear"), ("DELETE", "/api/messages")):
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code == 403
    assert len(lab.mailbox) == 1


async def test_a_name_that_is_not_ours_reads_nothing(client):
    for host in ("evil.test:80", "127.0.0.1.evil.test", "[::1", ""):
        answer = await client.get("/api/messages", headers={"host": host})
        assert answer.status_code == 403, host
    assert (await client.get("/", headers={"host": "localhost:1"})).status_code == 200


async def test_a_port_in_use_is_named(lab):
    async with LabWeb(lab) as web:
        with pytest.raises(
            CannotBind, match=f"the page at 127.0.0.1, TCP port {web.port}"
        ):
            await LabWeb(lab, port=web.port).__aenter__()
        taken = LabOptions(dns_port=lab.dns_port)
        with pytest.raises(CannotBind, match="the name server at"):
            async with Lab(Path(lab.records_file.parent / "other"), taken):
                pass
