"""Mail by HTTP: the same policy and the same answers as by SMTP."""

import asyncio
import email
import json
import ssl
from base64 import b64encode
from datetime import timedelta
from email.message import EmailMessage
from email.policy import default

import httpx
import pytest
import trustme

from soboo_mta.mail.reply import Reply
from soboo_mta.store.unit import StoreFull, StoreUnavailable
from soboo_mta.submission import replies
from soboo_mta.submission.options import (
    AcceptanceOptions,
    InjectOptions,
    ListenerOptions,
)
from soboo_mta.web.inject import answers
from tests.fakes.http_door import HELLO, TOKEN, injecting
from tests.fakes.submission import ACME as TENANT
from tests.fakes.submission import (
    HOST,
    MESSAGE,
    Client,
    Desk,
    FakeTenant,
    desk,
    listening,
)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def parsed(one: Desk, index: int = -1) -> EmailMessage:
    content = one.spool.kept[index].content
    message = email.message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


async def test_json_becomes_a_message_and_its_id_is_told() -> None:
    one = desk()
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json=HELLO)
    (kept,) = one.spool.kept
    assert answer.status_code == 202
    assert answer.json() == {
        "code": 250,
        "status": "2.0.0",
        "text": f"Accepted as {kept.message_id}",
        "id": str(kept.message_id),
    }
    assert str(kept.reverse_path) == "shop@acme.example"
    assert [str(to) for to in kept.recipients] == ["rcpt@dest.example"]
    assert b"with HTTP id" in kept.content
    assert parsed(one)["Subject"] == "Hello"
    assert parsed(one).get_content() == "Hello\r\n"


async def test_a_raw_message_is_kept_octet_for_octet_with_its_envelope_beside_it() -> (
    None
):
    one = desk()
    raw = {"content-type": "message/rfc822"}
    in_fields = raw | {
        "envelope-from": "",
        "envelope-to": "b@dest.example, c@dest.example",
    }
    async with injecting(one) as client:
        first = await client.post(
            "/v1/messages?from=app@acme.example&to=a@dest.example&to=b@dest.example",
            content=MESSAGE,
            headers=raw,
        )
        second = await client.post("/v1/messages", content=MESSAGE, headers=in_fields)
        third = await client.post(
            "/v1/messages?to=a@dest.example",
            content=MESSAGE.replace(b"\r\n", b"\n"),  # a file, as curl sends it
            headers=raw,
        )
    assert [one.status_code for one in (first, second, third)] == [202] * 3
    assert all(kept.content.endswith(MESSAGE) for kept in one.spool.kept)
    paths = [str(kept.reverse_path) for kept in one.spool.kept]
    assert paths == ["app@acme.example", "", "shop@acme.example"]
    assert [len(kept.recipients) for kept in one.spool.kept] == [2, 2, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"raw": MESSAGE.decode()},
        {"raw": MESSAGE.decode().replace("\r\n", "\n")},
        {"raw_base64": b64encode(MESSAGE).decode()},
    ],
)
async def test_a_raw_message_in_json(change: dict[str, str]) -> None:
    one = desk()
    body = change | {"envelope": {"from": "x@acme.example", "to": ["a@dest.example"]}}
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json=body)
    assert answer.status_code == 202, answer.text
    assert one.spool.kept[0].content.endswith(MESSAGE)


def broken_desk(how: str) -> Desk:
    one = desk()
    match how:
        case "quota":
            one.quota.left = 0
        case "full":
            one.spool.failure = StoreFull("no space")
        case "away":
            one.spool.failure = StoreUnavailable("gone")
        case "suspended":
            one.directory.tenants[TENANT] = FakeTenant(suspended=True)
    return one


def told_by_smtp(reply: str) -> tuple[int, str, str]:
    """Code, enhanced status and text of a reply, its lines joined."""
    lines = [line[4:].partition(" ") for line in reply.splitlines()]
    return int(reply[:3]), lines[0][0], " ".join(text for _, _, text in lines)


@pytest.mark.parametrize(
    ("how", "author", "http"),
    [
        ("quota", "shop@acme.example", 429),
        ("full", "shop@acme.example", 503),
        ("away", "shop@acme.example", 503),
        ("suspended", "shop@acme.example", 403),
        ("another's", "shop@other.example", 403),
        ("nobody's", "shop@nobody.example", 403),
        ("unverified", "shop@new.example", 403),
    ],
)
async def test_a_refusal_is_smtps_with_the_status_that_means_it(
    how: str, author: str, http: int
) -> None:
    one = broken_desk(how)
    async with injecting(one) as client, listening(one) as (_, port):
        answer = await client.post("/v1/messages", json=HELLO | {"from": author})
        smtp = await Client.connect(port)
        await smtp.open()
        await smtp.envelope()
        text = MESSAGE.replace(b"shop@acme.example", author.encode())
        smtp.write(text + b".\r\n")
        told = await smtp.reply()
        await smtp.close()
    body = answer.json()
    assert answer.status_code == http
    assert told_by_smtp(told) == (body["code"], body["status"], body["text"])
    assert ("retry-after" in answer.headers) == (http in (429, 503))
    assert one.spool.kept == []
    assert [kind for kind, _ in one.log.facts] == ["refused", "refused"]


def test_every_reply_that_http_can_give_has_its_status() -> None:
    expected = {
        replies.accepted: 202,
        replies.QUOTA: 429,
        replies.TOO_MANY_LOGINS: 429,
        replies.TOO_MANY_FROM_CLIENT: 429,
        replies.LOGIN_UNAVAILABLE: 503,
        replies.BUSY: 503,
        replies.FULL: 503,
        replies.INTERNAL: 503,
        replies.BAD_LOGIN: 401,
        replies.REVOKED: 401,
        answers.SEND_OVER_TLS: 403,
        replies.SUSPENDED: 403,
        replies.LONG_LINE: 422,
        replies.NO_FROM: 422,
        replies.KEY_REUSED: 422,
        replies.TOO_MANY_RECIPIENTS: 422,
        replies.TOO_SLOW: 408,
    }
    for told, http in expected.items():
        if isinstance(told, Reply):
            assert answers.http_status(told) == http, told
    assert answers.http_status(replies.too_large(1)) == 413


# ---- who is it


async def test_without_a_right_credential_nothing_is_taken() -> None:
    one = desk()
    async with injecting(one, auth=None) as client:
        for headers, code in (
            ({}, 530),
            ({"authorization": "Digest x"}, 530),
            ({"authorization": "Basic !!!"}, 535),
            ({"authorization": "Basic " + b64encode(b"acme:wrong").decode()}, 535),
            ({"authorization": "Basic " + b64encode(b"acme").decode()}, 535),
            ({"authorization": "Basic " + b64encode(b"\xff:\xff").decode()}, 535),
        ):
            answer = await client.post("/v1/messages", json=HELLO, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert answer.headers["www-authenticate"].startswith("Basic")
        good = {"authorization": f"Bearer {TOKEN}"}
        answer = await client.post("/v1/messages", json=HELLO, headers=good)
        assert answer.status_code == 202
    assert len(one.spool.kept) == 1


async def test_guesses_are_counted_over_all_requests() -> None:
    one = desk()
    few = ListenerOptions(
        failed_login_delay=timedelta(0), max_failed_logins_per_address=3
    )
    async with injecting(one, listener=few, auth=("acme", "guess")) as client:
        codes = [
            (await client.post("/v1/messages", json=HELLO)).status_code
            for _ in range(5)
        ]
    assert codes == [401, 401, 401, 429, 429]


async def test_a_secret_is_taken_in_clear_on_loopback_alone_and_over_tls() -> None:
    one = desk()
    strict = ListenerOptions(clear_login_on_loopback=False)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with injecting(one, listener=strict) as client:
        answer = await client.post("/v1/messages", json=HELLO)
        assert (answer.status_code, answer.json()["code"]) == (403, 538)
    async with injecting(one, listener=strict, tls=tls) as client:
        assert (await client.post("/v1/messages", json=HELLO)).status_code == 202
    assert b"with HTTPS id" in one.spool.kept[0].content


# ---- batches


async def test_a_batch_keeps_each_message_by_itself() -> None:
    one = desk()
    messages = [
        HELLO,
        HELLO | {"from": "x@other.example"},
        HELLO | {"subject": "two\r\nlines"},
        7,
        HELLO | {"to": [f"r{n}@dest.example" for n in range(3)]},
    ]
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json={"messages": messages})
    results = answer.json()["results"]
    assert answer.status_code == 200
    assert [one["http"] for one in results] == [202, 403, 422, 422, 202]
    assert [one.get("field") for one in results] == [
        None,
        None,
        "subject",
        "message",
        None,
    ]
    assert {one.get("id") for one in results} - {None} == {
        str(kept.message_id) for kept in one.spool.kept
    }


async def test_a_batch_is_bounded() -> None:
    one = desk()
    async with injecting(one, options=InjectOptions(max_batch=2)) as client:
        for messages in ([HELLO] * 3, [], "x", {}, None):
            answer = await client.post("/v1/messages", json={"messages": messages})
            assert (answer.status_code, answer.json()["field"]) == (422, "messages")
    assert one.spool.kept == []


# ---- idempotency


async def test_case_168_a_repeated_key_makes_one_message_with_one_answer() -> None:
    one = desk()
    key = {"idempotency-key": "order-4711"}
    spaced = json.dumps(HELLO, indent=4, sort_keys=True)
    async with injecting(one) as client:
        several = await asyncio.gather(
            *(client.post("/v1/messages", json=HELLO, headers=key) for _ in range(3))
        )
        again = await client.post(
            "/v1/messages",
            content=spaced,
            headers=key | {"content-type": "application/json"},
        )
        other = await client.post(
            "/v1/messages", json=HELLO | {"subject": "Other"}, headers=key
        )
    # The fakes' spool takes all that come before the first is kept: the store's does not.
    assert {one.status_code for one in (*several, again)} == {202}
    assert again.json() == several[0].json()
    assert other.status_code == 422
    assert other.json()["text"] == replies.KEY_REUSED.text


async def test_case_168_in_a_batch_each_message_has_its_key() -> None:
    one = desk()
    batch = {"messages": [HELLO, HELLO | {"idempotency_key": "own"}, HELLO]}
    key = {"idempotency-key": "batch-1"}
    async with injecting(one) as client:
        first = await client.post("/v1/messages", json=batch, headers=key)
        again = await client.post("/v1/messages", json=batch, headers=key)
        alone = await client.post(
            "/v1/messages", json=HELLO | {"idempotency_key": "own"}
        )
    assert again.json() == first.json()
    assert len(one.spool.kept) == 3
    assert alone.json()["id"] == first.json()["results"][1]["id"]
    keys = [kept.once.key for kept in one.spool.kept if kept.once]
    assert sorted(keys) == ["batch-1 0", "batch-1 2", "own"]


async def test_a_key_has_its_form() -> None:
    async with injecting(desk()) as client:
        for key in ("", "a b", "x" * 201):
            answer = await client.post(
                "/v1/messages", json=HELLO, headers={"idempotency-key": key}
            )
            assert (answer.status_code, answer.json()["code"]) == (422, 501)


# ---- bounds


async def begun(
    client: httpx.AsyncClient, *lines: bytes, host: bytes = b"x"
) -> Connection:
    """A request whose head was sent, on a connection of its own."""
    url = httpx.URL(client.base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = (
        b"POST /v1/messages HTTP/1.1",
        b"Host: " + host,
        b"Content-Type: application/json",
        b"Authorization: Basic " + TOKEN.encode(),
    )
    writer.write(b"\r\n".join((*head, *lines)) + b"\r\n\r\n")
    return reader, writer


async def test_case_090_a_body_announced_as_too_large_is_refused_unread() -> None:
    one = desk()
    async with injecting(one, options=InjectOptions(max_body_octets=1 << 20)) as client:
        reader, writer = await begun(client, b"Content-Length: 104857600")
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"}")
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":552' in answer


async def test_case_090_a_body_without_an_end_is_refused_at_the_limit() -> None:
    one = desk()
    async with injecting(one, options=InjectOptions(max_body_octets=1 << 20)) as client:
        reader, writer = await begun(client, b"Transfer-Encoding: chunked")
        answer = asyncio.create_task(reader.readuntil(b"}"))
        chunks = 0
        async with asyncio.timeout(10):
            while not answer.done():
                writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                await writer.drain()
                chunks += 1
        assert (await answer).startswith(b"HTTP/1.1 413 ")
        writer.close()
    assert 16 <= chunks < 160  # the limit, and what the kernel holds


async def test_a_message_over_the_size_limit_is_refused_however_it_comes() -> None:
    one = desk(AcceptanceOptions(host_name=HOST, max_message_octets=2_000))
    large = "x\n" * 1_000
    async with injecting(one) as client:
        for body in (
            {"json": HELLO | {"text": large}},
            {
                "content": MESSAGE + large.encode(),
                "headers": {"content-type": "message/rfc822"},
            },
        ):
            answer = await client.post("/v1/messages", **body)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["code"]) == (413, 552)
    assert one.spool.kept == []


async def test_too_many_recipients_are_refused() -> None:
    one = desk()
    to = [f"r{n}@dest.example" for n in range(1_001)]
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json=HELLO | {"bcc": to})
    assert (answer.status_code, answer.json()["code"]) == (422, 452)


async def test_a_slow_body_ends_with_408() -> None:
    one = desk()
    slow = ListenerOptions(data_block_timeout=timedelta(milliseconds=100))
    async with injecting(one, listener=slow) as client:
        reader, writer = await begun(client, b"Content-Length: 100")
        writer.write(b"{")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_octets_in_memory_are_bounded_over_all_requests() -> None:
    one = desk()
    little = ListenerOptions(max_buffered_octets=20)
    async with injecting(one, listener=little) as client:
        answer = await client.post("/v1/messages", json=HELLO)
    assert (answer.status_code, answer.json()["code"]) == (503, 452)


async def test_a_client_that_leaves_in_its_body_leaves_nothing() -> None:
    one = desk()
    async with injecting(one) as client:
        _, writer = await begun(client, b"Content-Length: 100")
        writer.write(b"{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await client.get("/v1/openapi.json")).status_code == 200
    assert (one.spool.kept, one.log.errors) == ([], [])


# ---- case 90: nothing that is sent makes an error of ours

_DEEP = b"[" * 100_000
_BODIES = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"subject": "\xff"}',
    "a lone surrogate": b'{"subject": "\\ud800"}',
    "deep": _DEEP,
    "deep and closed": _DEEP + b"]" * 100_000,
    "deep within": b'{"headers": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "NaN": b"NaN",
    "huge number": b'{"subject": ' + b"9" * 5_000 + b"}",
}
_FIELDS = {
    "a NUL in the subject": {"subject": "a\0b"},
    "a NUL in the text": {"text": "a\0b"},
    "a number for text": {"text": 7},
    "a list for text": {"text": ["a"]},
    "null for from": {"from": None},
    "an object for to": {"to": {"a": 1}},
    "numbers for to": {"to": [1, 2]},
    "lists of lists for to": {"to": [[["a@b.example"]]]},
    "no address": {"to": "nobody"},
    "a list of addresses in one": {"to": "a@dest.example, b@dest.example"},
    "nobody": {"to": []},
    "an unknown key": {"tpyo": 1},
    "an own header field": {"headers": {"From": "x@acme.example"}},
    "a header name with a colon": {"headers": {"X:Y": "z"}},
    "an empty header name": {"headers": {"": "z"}},
    "a header name with a space": {"headers": {"X Y": "z"}},
    "a number for a header": {"headers": {"X-Y": 1}},
    "no base64": {"attachments": [{"content": "%%%"}]},
    "no content": {"attachments": [{"filename": "a"}]},
    "no media type": {"attachments": [{"content": "", "content_type": "pdf"}]},
    "a message attached": {
        "attachments": [{"content": "", "content_type": "message/rfc822"}]
    },
    "raw beside text": {"raw": "From: x\r\n\r\n"},
    "a bad key": {"idempotency_key": "a b"},
    "a separator in an address": {"to": "a\u2028b@dest.example"},
    "a long subject without a space": {"subject": "x" * 5_000},
}


@pytest.mark.parametrize("name", _BODIES)
async def test_case_090_a_body_that_is_no_message_is_422(name: str) -> None:
    one = desk()
    async with injecting(one) as client:
        answer = await client.post(
            "/v1/messages",
            content=_BODIES[name],
            headers={"content-type": "application/json"},
        )
    assert answer.status_code == 422, answer.text
    assert set(answer.json()) >= {"code", "status", "text"}
    assert (one.spool.kept, one.log.errors) == ([], [])


@pytest.mark.parametrize("name", _FIELDS)
async def test_case_090_a_wrong_field_is_422_and_named(name: str) -> None:
    one = desk()
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json=HELLO | _FIELDS[name])
    assert answer.status_code == 422, answer.text
    assert (one.spool.kept, one.log.errors) == ([], [])
    assert len(answer.json()["text"]) < 300


@pytest.mark.parametrize(
    ("method", "path", "headers", "http"),
    [
        ("GET", "/", {}, 404),
        ("GET", "/v1", {}, 404),
        ("POST", "/v1/messages/", {}, 404),
        ("DELETE", "/v1/messages", {}, 405),
        ("POST", "/v1/messages", {"content-type": "text/plain"}, 415),
        ("POST", "/v1/messages", {"content-type": "multipart/form-data"}, 415),
        ("POST", "/v1/messages", {"content-encoding": "gzip"}, 415),
        ("POST", "/v1/messages?foo=1", {"content-type": "message/rfc822"}, 422),
    ],
)
async def test_case_090_what_http_gets_wrong_has_the_same_shape(
    method: str, path: str, headers: dict[str, str], http: int
) -> None:
    one = desk()
    headers = {"content-type": "application/json"} | headers
    async with injecting(one) as client:
        answer = await client.request(
            method, path, headers=headers, content=MESSAGE, follow_redirects=False
        )
    assert answer.status_code == http
    assert set(answer.json()) >= {"code", "status", "text"}


@pytest.mark.parametrize("host", [b"[", b"[::1", b"a b", b"\xff", b"x:99999999", b""])
async def test_case_090_an_odd_host_field_breaks_nothing(host: bytes) -> None:
    one = desk()
    async with injecting(one) as client:
        reader, writer = await begun(client, b"Content-Length: 2", host=host)
        writer.write(b"{}")
        async with asyncio.timeout(10):
            answer = await reader.readline()
        writer.close()
    assert answer.split()[1] in (b"400", b"422")
    assert one.log.errors == []


async def test_case_090_an_envelope_in_fields_is_read_as_utf_8() -> None:
    one = desk()
    kind = {b"content-type": b"message/rfc822", b"envelope-from": b"app@acme.example"}
    async with injecting(one) as client:
        for to, http in (("bü@dest.example".encode(), 202), (b"b\xff@d.example", 422)):
            answer = await client.post(
                "/v1/messages", content=MESSAGE, headers=kind | {b"envelope-to": to}
            )
            assert answer.status_code == http
    assert str(one.spool.kept[0].recipients[0]) == "bü@dest.example"


async def test_case_090_a_flood_of_values_is_refused_before_it_is_parsed() -> None:
    one = desk()
    kind = {"content-type": "application/json"}
    flood = b"[" + b"0," * 2_000_001 + b"0]"
    async with injecting(one) as client:
        many = await client.post("/v1/messages", content=flood, headers=kind)
        listed = await client.post(
            "/v1/messages", json=HELLO | {"to": ["a@dest.example"] * 10_001}
        )
    assert (many.status_code, listed.status_code) == (422, 422)
    assert listed.json()["field"] == "to"


async def test_refused_requests_are_told_to_the_log() -> None:
    one = desk()
    async with injecting(one) as client:
        await client.post("/v1/messages", content=b"{", headers={"content-type": "x/y"})
        await client.post("/v1/messages", json=HELLO | {"subject": "a\nb"})
    assert [kind for kind, _ in one.log.facts] == ["refused", "refused"]


async def test_the_counters_of_clients_are_those_of_smtp() -> None:
    few = ListenerOptions(max_connections_per_address=1)
    one = desk()
    async with injecting(one, listener=few) as client:
        assert (await client.post("/v1/messages", json=HELLO)).status_code == 202
        url = httpx.URL(client.base_url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()


async def test_rates_and_connections_of_a_credential_hold_as_by_smtp() -> None:
    for listener, told in (
        (
            ListenerOptions(messages_per_minute_per_credential=2),
            replies.SENDING_TOO_OFTEN,
        ),
        (
            ListenerOptions(recipients_per_minute_per_address=2),
            replies.RECIPIENTS_TOO_OFTEN,
        ),
        (
            ListenerOptions(max_connections_per_credential=0),
            replies.TOO_MANY_OF_CREDENTIAL,
        ),
    ):
        one = desk()
        async with injecting(one, listener=listener) as client:
            answers = [await client.post("/v1/messages", json=HELLO) for _ in range(3)]
        last = answers[-1]
        assert (last.status_code, last.json()["text"]) == (429, told.text)
        few = 0 if told is replies.TOO_MANY_OF_CREDENTIAL else 2
        assert len(one.spool.kept) == few
