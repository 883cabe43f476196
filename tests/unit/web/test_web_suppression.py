"""Suppressed recipients and streams by HTTP: as by SMTP, and with the stream known."""

from typing import Any

import pytest

from soboo_mta.mail.ids import NO_STREAM, Stream
from soboo_mta.store.unit import StoreUnavailable
from tests.fakes.http_door import HELLO, injecting
from tests.fakes.submission import ACME, MESSAGE, Desk, desk

GONE, ANN = "gone@dest.example", "ann@dest.example"
RAW = {"content-type": "message/rfc822"}


@pytest.fixture
def one() -> Desk:
    one = desk()
    one.directory.tenants[ACME].refuses_suppressed = True
    one.suppressions.entries = {
        (GONE, NO_STREAM): "by hand",
        (ANN, Stream("news")): "unsubscribed",
    }
    return one


async def test_suppressed_recipients_are_left_out_and_told(one: Desk) -> None:
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json={**HELLO, "to": [GONE, ANN]})
    (kept,) = one.spool.kept
    assert answer.status_code == 202
    assert answer.json()["refused"] == [
        {
            "recipient": GONE,
            "code": 550,
            "status": "5.7.1",
            "text": "The recipient is suppressed: by hand",
        }
    ]
    assert list(map(str, kept.recipients)) == [ANN]


async def test_a_message_to_suppressed_recipients_alone_is_refused(one: Desk) -> None:
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json={**HELLO, "to": [GONE]})
    assert answer.status_code == 403
    assert answer.json()["text"] == "The recipient is suppressed: by hand"
    assert one.spool.kept == []


@pytest.mark.parametrize("by", ["key", "field", "raw"])
async def test_the_stream_is_known_whichever_way_it_is_named(
    one: Desk, by: str
) -> None:
    asked: dict[str, Any] = {
        "key": {"json": {**HELLO, "to": [ANN], "stream": "news"}},
        "field": {
            "json": {**HELLO, "to": [ANN], "headers": {"X-Soboo-Stream": "news"}}
        },
        "raw": {
            "content": b"X-Soboo-Stream: news\r\n" + MESSAGE,
            "headers": RAW,
            "params": {"to": ANN},
        },
    }
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", **asked[by])
        assert answer.status_code == 403, answer.text
        one.suppressions.entries.clear()
        await client.post("/v1/messages", **asked[by])
    (kept,) = one.spool.kept
    assert kept.stream == "news"
    assert b"x-soboo" not in kept.content.lower()


async def test_where_release_is_asked_everything_is_taken(one: Desk) -> None:
    one.directory.tenants[ACME].refuses_suppressed = False
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json={**HELLO, "to": [GONE, ANN]})
    assert answer.status_code == 202
    assert "refused" not in answer.json()
    assert len(one.spool.kept[0].recipients) == 2


async def test_a_list_that_cannot_be_read_defers_the_message(one: Desk) -> None:
    one.suppressions.broken = StoreUnavailable("away")
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json=HELLO)
    assert answer.status_code == 503
    assert one.spool.kept == []


async def test_a_stream_that_is_none_is_a_wrong_field(one: Desk) -> None:
    async with injecting(one) as client:
        answer = await client.post("/v1/messages", json={**HELLO, "stream": "News!"})
    assert (answer.status_code, answer.json()["field"]) == (422, "stream")
